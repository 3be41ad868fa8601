"""A row of the audit, written in the transaction of what it tells of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ivreid.gallery.postgres.connections import Session
from ivreid.gallery.record import microseconds
from ivreid.gallery.rows import audit_rows
from ivreid.gallery.store import AuditRow


def write_audit(session: Session, action: str, purpose: str, detail: Mapping[str, Any]) -> None:
    """Add a row within the transaction at hand."""
    session.run(
        "INSERT INTO audit (time, action, purpose, detail) VALUES (:time, :action, :purpose, :detail)",
        time=microseconds(datetime.now(UTC)),
        action=action,
        purpose=purpose,
        detail=json.dumps(detail, ensure_ascii=True, allow_nan=False),
    )


def read_audit(session: Session, last: int | None, action: str | None) -> tuple[AuditRow, ...]:
    """The rows, all or of one action, oldest first."""
    sql = (
        "SELECT number, time, action, purpose, detail FROM audit WHERE CAST(:action AS text) IS NULL OR "
        "action = CAST(:action AS text) ORDER BY number DESC LIMIT CAST(:last AS bigint)"
    )
    return audit_rows(session.run(sql, last=last, action=action))
