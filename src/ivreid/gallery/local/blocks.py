"""Vectors in the order that filters ask for: by day, camera and modality, and by time within."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivreid.gallery.record import microseconds
from ivreid.gallery.vectors import HalfArray
from ivreid.gallery.where import Where
from ivreid.types import IntArray

DAY = 86_400_000_000
"""Microseconds."""
Place = tuple[int, str, str]
"""A day (of UTC, since 1970), a camera and a modality."""
Run = tuple[int, int]
"""Rows from the first to before the second."""


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of one matrix.

    Attributes:
        matrix: (N, D) float16, possibly mapped from disk; torch wants it writable, nobody writes to it.
        seq: (N,) their numbers in the catalogue.
        time: (N,) microseconds since 1970, ascending within a place.
        places: The rows of each place, in the order of rows; they hold all rows.
        dead: (d,) ascending rows that are no longer in the catalogue.
    """

    matrix: HalfArray
    seq: IntArray
    time: IntArray
    places: Mapping[Place, Run]
    dead: IntArray

    def __len__(self) -> int:
        return len(self.seq)

    def runs(self, where: Where) -> list[Run]:
        """The rows that pass the filter's cameras, times and modality, as runs that do not touch."""
        start = -(2**63) if where.start is None else microseconds(where.start)
        stop = 2**63 - 1 if where.stop is None else microseconds(where.stop)
        return _without(self.dead, _joined(self._found(where, start, stop)))

    def _found(self, where: Where, start: int, stop: int) -> Iterator[Run]:
        for (day, camera, modality), (first, last) in self.places.items():
            if where.cameras is not None and camera not in where.cameras:
                continue
            if where.not_cameras is not None and camera in where.not_cameras:
                continue
            if where.modality is not None and modality != where.modality.value:
                continue
            if (day + 1) * DAY <= start or day * DAY >= stop:
                continue
            if start > day * DAY or stop < (day + 1) * DAY:
                times = self.time[first:last]
                low, high = np.searchsorted(times, [start, stop], side="left").tolist()
                yield first + low, first + high
            else:
                yield first, last


def arrange(
    seq: IntArray, time: IntArray, cameras: Sequence[str], modalities: Sequence[str]
) -> tuple[IntArray, dict[Place, Run]]:
    """The order of rows in a block, and their places.

    Args:
        seq: (N,) numbers in the catalogue.
        time: (N,) microseconds since 1970.
        cameras: Of every row.
        modalities: Of every row.
    """
    names, camera = np.unique(np.array(cameras, dtype=np.str_), return_inverse=True)
    kinds, modality = np.unique(np.array(modalities, dtype=np.str_), return_inverse=True)
    day = time // DAY
    order = np.lexsort((seq, time, modality, camera, day))
    keys = np.stack([day, camera, modality])[:, order]
    new = np.ones(len(seq), dtype=np.bool_)
    new[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    starts = np.flatnonzero(new)
    ends = np.append(starts, len(seq))[1:]
    places = {
        (int(keys[0, a]), str(names[keys[1, a]]), str(kinds[keys[2, a]])): (int(a), int(b))
        for a, b in zip(starts, ends, strict=True)
    }
    return order, places


def rows_of(runs: Sequence[Run]) -> IntArray:
    """All rows of runs."""
    return np.concatenate([np.arange(a, b) for a, b in runs]) if runs else np.empty(0, dtype=np.int64)


def as_runs(rows: NDArray[np.int64]) -> list[Run]:
    """The runs of ascending rows."""
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) > 1)
    firsts, lasts = rows[np.r_[0, breaks + 1]], rows[np.r_[breaks, len(rows) - 1]] + 1
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def _joined(runs: Iterator[Run]) -> list[Run]:
    out: list[Run] = []
    for first, last in runs:
        if first == last:
            continue
        if out and out[-1][1] == first:
            out[-1] = out[-1][0], last
        else:
            out.append((first, last))
    return out


def _without(dead: IntArray, runs: list[Run]) -> list[Run]:
    if not len(dead):
        return runs
    out: list[Run] = []
    for first, last in runs:
        low, high = np.searchsorted(dead, [first, last])
        holes = dead[low:high].tolist()
        out += [
            (a, b) for a, b in zip([first, *(h + 1 for h in holes)], [*holes, last], strict=True) if a < b
        ]
    return out
