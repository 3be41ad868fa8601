"""Looks for bytes in every file of a folder, however they lie."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

PIECE = 24
"""Bytes of a needle: a part of a vector or picture is found as well as all of it."""


def needles(picture_or_vector: bytes) -> list[bytes]:
    """Parts from all over, so that a copy of which most was overwritten is found."""
    last = max(0, len(picture_or_vector) - PIECE)
    return [picture_or_vector[at : at + PIECE] for at in sorted({*range(0, last + 1, PIECE), last})]


def forms(vector: np.ndarray) -> list[bytes]:
    """A vector's bytes in every number format and byte order."""
    return [
        vector.astype(kind).astype(order + kind).tobytes() for kind in ("f2", "f4", "f8") for order in "<>"
    ]


def remains(
    folder: Path, things: Sequence[bytes], ids: Sequence[str] = (), *, since: float = 0.0
) -> list[str]:
    """The files, of those changed since a time, that hold a part of any of these, or an id as text or bytes."""
    wanted = [part for one in things for part in needles(one)]
    wanted += [part for one in ids for part in (one.encode(), bytes.fromhex(one))]
    by_start: dict[int, list[bytes]] = {}
    for part in wanted:
        by_start.setdefault(int.from_bytes(part[:8], sys.byteorder), []).append(part)
    starts = np.array(list(by_start), dtype=np.uint64)
    found = []
    for path in sorted(folder.rglob("*")):
        looked_at = path.is_file() and path.stat().st_mtime >= since
        data = path.read_bytes() if looked_at else b""
        for shift in range(8):  # every offset, eight bytes at a time
            words = np.frombuffer(data[shift:], dtype=np.uint64, count=max(0, len(data) - shift) // 8)
            for at in np.flatnonzero(np.isin(words, starts)):
                place = shift + 8 * int(at)
                parts = by_start[int(words[at])]
                found += [
                    f"{path.name} at {place}: {part!r}" for part in parts if data.startswith(part, place)
                ]
    return found
