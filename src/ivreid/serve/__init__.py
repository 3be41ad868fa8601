"""A gallery over HTTP: an interface for programs and a page for people (extra `serve`)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ivreid.serve.limits import Limits

if TYPE_CHECKING:
    from ivreid.serve.app import make_app
    from ivreid.serve.server import serve
    from ivreid.serve.service import Service
    from ivreid.serve.tokens import Tokens, read_tokens

__all__ = ["Limits", "Service", "Tokens", "make_app", "read_tokens", "serve"]

_HOMES = {
    "Service": "ivreid.serve.service",
    "Tokens": "ivreid.serve.tokens",
    "make_app": "ivreid.serve.app",
    "read_tokens": "ivreid.serve.tokens",
    "serve": "ivreid.serve.server",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ivreid.serve' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
