"""Between crops and the rows that every store keeps of them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from ivreid.errors import IvreidError
from ivreid.gallery.record import Crop, from_microseconds, microseconds
from ivreid.gallery.store import AuditRow
from ivreid.types import Modality

COLUMNS = (
    "id", "address", "pixels", "camera", "time", "zone", "modality", "tracklet", "pid", "source", "quality"
)  # fmt: skip
SELECT = ", ".join(f"crop.{name}" for name in COLUMNS)

Row = tuple[Any, ...]


def to_row(crop: Crop) -> Row:
    """The values of `COLUMNS`."""
    offset = crop.time.utcoffset()
    assert offset is not None  # a crop's time has a zone
    return (
        crop.id,
        crop.address,
        crop.pixels,
        crop.camera,
        microseconds(crop.time),
        int(offset.total_seconds()),
        crop.modality.value,
        crop.tracklet,
        crop.pid,
        crop.source,
        None
        if crop.quality is None
        else float(crop.quality) + 0.0,  # as it comes back: no whole number, no -0.0
    )


def to_crop(row: Row) -> Crop:
    """The crop of a row; its id is computed again, see `row_digest` for what else is proved."""
    _, address, pixels, camera, time, zone, modality, tracklet, pid, source, quality = row
    return Crop(
        pixels=pixels,
        camera=camera,
        time=from_microseconds(time, zone),
        modality=Modality(modality),
        tracklet=tracklet,
        pid=pid,
        source=source,
        quality=quality,
        address=address,
    )


def row_problem(name: str, row: Row, vector: bytes, digest: int) -> str:
    """What is wrong with a row and its vector; empty where both are as they were written."""
    if row_digest(row, vector) != digest:
        return f"{name} is not as it was written: its checksum differs"
    try:
        if to_crop(row).id != row[0]:
            return f"{name} has another id than its pixels, camera, time and modality make"
    except (IvreidError, ValueError, TypeError, OverflowError) as error:
        return f"{name} cannot be read: {error}"
    return ""


def audit_rows(newest_first: Sequence[Row]) -> tuple[AuditRow, ...]:
    """Rows of the audit's table (number, time, action, purpose, detail), oldest first."""
    return tuple(
        AuditRow(number, from_microseconds(time), action, purpose, json.loads(detail))
        for number, time, action, purpose, detail in reversed(newest_first)
    )


def row_digest(row: Row, vector: bytes) -> int:
    """A checksum of everything a row says, and of its vector."""
    return zlib.crc32(repr(row).encode("utf-8", "surrogatepass"), zlib.crc32(vector))
