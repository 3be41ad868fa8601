"""Crops of many cameras, their vectors, and search among them. What needs no model loads no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ivreid.gallery.answer import Answer, Answered, Match
from ivreid.gallery.record import Crop, pixel_digest
from ivreid.gallery.store import (
    Added,
    AuditRow,
    Binding,
    Erasures,
    Found,
    Hit,
    Receipt,
    Report,
    Store,
    Summary,
)
from ivreid.gallery.taken import Taken
from ivreid.gallery.where import EVERYTHING, Where

if TYPE_CHECKING:
    from ivreid.gallery.asking import named_queries
    from ivreid.gallery.gallery import Gallery
    from ivreid.gallery.intake import NewCrop

__all__ = [
    "EVERYTHING",
    "Added",
    "Answer",
    "Answered",
    "AuditRow",
    "Binding",
    "Crop",
    "Erasures",
    "Found",
    "Gallery",
    "Hit",
    "Match",
    "NewCrop",
    "Receipt",
    "Report",
    "Store",
    "Summary",
    "Taken",
    "Where",
    "named_queries",
    "pixel_digest",
]

_HOMES = {
    "Gallery": "ivreid.gallery.gallery",
    "NewCrop": "ivreid.gallery.intake",
    "named_queries": "ivreid.gallery.asking",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ivreid.gallery' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
