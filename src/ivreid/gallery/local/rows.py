"""Between crops and rows of the catalogue, and from a filter to a condition."""

from __future__ import annotations

import json
import zlib
from typing import Any

from ivreid.gallery.record import Crop, from_microseconds, microseconds
from ivreid.gallery.where import Where
from ivreid.types import Modality

COLUMNS = (
    "id", "address", "pixels", "camera", "time", "zone", "modality", "tracklet", "pid", "source", "quality"
)  # fmt: skip
SELECT = ", ".join(f"crop.{name}" for name in COLUMNS)
INSERT = (
    f"INSERT INTO crop (seq, {', '.join(COLUMNS)}, digest) VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"
)

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
        crop.quality,
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


def row_digest(row: Row, vector: bytes) -> int:
    """A checksum of everything a row says, and of its vector."""
    return zlib.crc32(repr(row).encode("utf-8", "surrogatepass"), zlib.crc32(vector))


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
