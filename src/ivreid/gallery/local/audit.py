"""A row of the audit, written in the transaction of what it tells of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ivreid.gallery.record import microseconds


def write_audit(db: sqlite3.Connection, action: str, purpose: str, detail: Mapping[str, Any]) -> None:
    """Add a row within the transaction at hand."""
    text = json.dumps(detail, ensure_ascii=False, allow_nan=False)
    sql = "INSERT INTO audit (time, action, purpose, detail) VALUES (?, ?, ?, ?)"
    db.execute(sql, (microseconds(datetime.now(UTC)), action, purpose, text))
