"""Receipts of erasures: the audit keeps them, and they can be asked for by their ids."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ivreid.gallery.store import Receipt, Store

ACTION = "receipt"


def keep(store: Store, receipt: Receipt, purpose: str = "") -> Receipt:
    """Write a receipt into the audit of its store; gives it with the random id that it is kept under."""
    kept = replace(receipt, id=secrets.token_hex(16))
    store.record(ACTION, purpose=purpose, detail=kept.to_json())
    return kept


def kept(store: Store, name: str) -> Mapping[str, Any] | None:
    """The receipt of an id, as `Receipt.to_json` gave it; None where there is none."""
    rows = store.audit(action=ACTION)
    return next((row.detail for row in reversed(rows) if name and row.detail.get("id") == name), None)
