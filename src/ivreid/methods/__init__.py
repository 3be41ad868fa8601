"""Methods: one file per published method."""

from ivreid.catalogue import METHODS
from ivreid.methods.base import Method, MethodSettings
from ivreid.methods.building import build, get_method, parse_settings, rebuild, register_method, restore

__all__ = [
    "METHODS",
    "Method",
    "MethodSettings",
    "build",
    "get_method",
    "parse_settings",
    "rebuild",
    "register_method",
    "restore",
]
