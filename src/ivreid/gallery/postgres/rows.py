"""Rows on their way to PostgreSQL and back: exact bytes of vectors, and filters as conditions."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ivreid.gallery.postgres.connections import Session
from ivreid.gallery.record import Crop, microseconds
from ivreid.gallery.rows import COLUMNS, row_digest, to_row
from ivreid.gallery.vectors import HalfArray
from ivreid.gallery.where import Where

COPY = f"COPY crop ({', '.join(COLUMNS)}, digest, vector, picture, picture_digest) FROM STDIN WITH (FORMAT binary)"
VECTOR = "halfvec_send(crop.vector)"
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = struct.pack(">h", -1)
_LONG, _INT, _DOUBLE = struct.Struct(">q"), struct.Struct(">i"), struct.Struct(">d")
_FIELDS = struct.pack(">h", len(COLUMNS) + 4)
_PIECE = 1 << 16


def condition(where: Where) -> tuple[str, dict[str, Any]]:
    """A filter as an SQL condition, and the values of its parameters."""
    parts: list[str] = []
    values: dict[str, Any] = {}

    def one_of(name: str, wanted: frozenset[Any] | None, test: str) -> None:
        if wanted is not None:
            parts.append(test)
            values[name] = sorted(wanted)

    one_of("cameras", where.cameras, "crop.camera = ANY(:cameras)")
    one_of("not_cameras", where.not_cameras, "crop.camera <> ALL(:not_cameras)")
    one_of("tracklets", where.tracklets, "crop.tracklet = ANY(:tracklets)")
    one_of("pids", where.pids, "crop.pid = ANY(CAST(:pids AS bigint[]))")
    one_of("ids", where.ids, "crop.id = ANY(:ids)")
    if where.modality is not None:
        parts.append("crop.modality = :modality")
        values["modality"] = where.modality.value
    if where.start is not None:
        parts.append("crop.time >= :start")
        values["start"] = microseconds(where.start)
    if where.stop is not None:
        parts.append("crop.time < :stop")
        values["stop"] = microseconds(where.stop)
    return " AND ".join(parts) or "true", values


def count_of(session: Session, where: Where) -> int:
    """How many rows pass."""
    wanted, values = condition(where)
    ((count,),) = session.run(f"SELECT count(*) FROM crop WHERE {wanted}", **values)
    return int(count)


def copied(rows: Iterable[tuple[Crop, HalfArray, bytes | None]]) -> Iterable[bytes]:
    """What `COPY` takes: crops with their stored vectors (D,) and pictures, in pieces."""
    piece = bytearray(_HEAD)
    for crop, vector, picture in rows:
        row = to_row(crop)
        piece += _FIELDS
        for name, value in zip(COLUMNS, row, strict=True):
            piece += _field(value, _INT if name == "zone" else _LONG)
        piece += _field(row_digest(row, vector.tobytes()), _LONG)
        piece += _field(struct.pack(">hh", len(vector), 0) + vector.astype(">f2").tobytes(), _LONG)
        piece += _field(picture, _LONG)
        piece += _field(None if picture is None else zlib.crc32(picture), _LONG)
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece) + _END


def _field(value: str | bytes | float | None, whole: struct.Struct) -> bytes:
    if value is None:
        return _INT.pack(-1)
    if isinstance(value, str):
        data = value.encode()
    elif isinstance(value, bytes):
        data = value
    else:
        data = _DOUBLE.pack(value) if isinstance(value, float) else whole.pack(value)
    return _INT.pack(len(data)) + data


def to_vector(sent: bytes) -> HalfArray:
    """(D,) float16 from what `VECTOR` gives."""
    return np.frombuffer(sent, dtype=">f2", offset=4).astype(np.float16)


def to_vectors(sent: Iterable[bytes], dimension: int) -> HalfArray:
    """(N, D) float16 from what `VECTOR` gives."""
    data = b"".join(one[4:] for one in sent)
    return np.frombuffer(data, dtype=">f2").astype(np.float16).reshape(-1, dimension)


def to_text(vector: HalfArray) -> str:
    """A vector as pgvector reads it; every float16 has a short exact decimal."""
    return "[" + ",".join(map(repr, vector.astype(np.float64).tolist())) + "]"
