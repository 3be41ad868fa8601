"""Rows of the catalogue, and from a filter to a condition."""

from __future__ import annotations

import json
from typing import Any

from ivreid.gallery.record import microseconds
from ivreid.gallery.rows import COLUMNS
from ivreid.gallery.where import Where

INSERT = (
    f"INSERT INTO crop (seq, {', '.join(COLUMNS)}, digest) VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"
)


def condition(where: Where) -> tuple[str, list[Any]]:
    """A filter as an SQL condition whose values are parameters."""
    parts: list[str] = []
    values: list[Any] = []

    def one_of(column: str, names: frozenset[Any] | None, word: str = "IN") -> None:
        if names is not None:
            parts.append(f"crop.{column} {word} (SELECT value FROM json_each(?))")
            values.append(json.dumps(sorted(names)))

    one_of("camera", where.cameras)
    one_of("camera", where.not_cameras, "NOT IN")
    one_of("tracklet", where.tracklets)
    one_of("pid", where.pids)
    one_of("id", where.ids)
    if where.modality is not None:
        parts.append("crop.modality = ?")
        values.append(where.modality.value)
    if where.start is not None:
        parts.append("crop.time >= ?")
        values.append(microseconds(where.start))
    if where.stop is not None:
        parts.append("crop.time < ?")
        values.append(microseconds(where.stop))
    return " AND ".join(parts) or "1", values
