"""The nearest crops, exactly: products in single precision propose rows, the catalogue's own vectors decide."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ivreid.gallery.local.blocks import Block, Run, as_runs, rows_of
from ivreid.gallery.local.kernels import Part, candidates
from ivreid.gallery.vectors import HalfArray, closest, distances, rounding
from ivreid.gallery.where import Where
from ivreid.types import IntArray

MANY_RUNS, SHORT_RUN = 256, 128
SPARE = 32
"""Rows proposed beyond the k asked for: enough for rounding to be ruled out, unless very many are alike."""
Decided = list[tuple[int, float]]
"""Numbers of rows in the catalogue and their distances, nearest first, ties by id."""


class Changed(Exception):
    """A row was removed while it was looked at."""


def runs_of(blocks: Sequence[Block], where: Where, among: IntArray | None) -> list[tuple[Block, Run]]:
    """The rows that pass a filter, in all blocks.

    Args:
        blocks: Of one view.
        where: Its cameras, times and modality are looked at.
        among: Numbers of the rows that meet the other conditions; None without any.
    """
    out = []
    for block in blocks:
        runs = block.runs(where)
        if among is not None:
            rows = rows_of(runs)
            runs = as_runs(rows[np.isin(block.seq[rows], among)])
        out += [(block, run) for run in runs]
    return out


def nearest(
    db: sqlite3.Connection, parts: Sequence[tuple[Block, Run]], queries: HalfArray, k: int
) -> list[Decided]:
    """The k nearest rows of each stored query (Q, D).

    Raises:
        Changed: A row is no longer in the catalogue.
    """
    if not parts:
        return [[] for _ in queries]
    numbers = np.concatenate([block.seq[start:stop] for block, (start, stop) in parts])
    pieces = _pieces(parts)
    error, deviation = rounding(queries.shape[1])
    found: list[Decided] = [[] for _ in queries]
    left, wanted = list(range(len(queries))), k + SPARE
    while left:
        proposed = candidates(pieces, queries[left].astype(np.float32), wanted)
        rows = _fetched(db, np.unique(numbers[np.concatenate([rows for rows, _ in proposed])]))
        unproven = []
        for query, (places, floor) in zip(left, proposed, strict=True):
            decided, last = _decided(rows, numbers[places], queries[query], k)
            found[query] = decided
            if floor > -np.inf and not last < closest(floor + error, deviation, queries[query]):
                unproven.append(query)
        left, wanted = unproven, wanted * 8
    return found


def _pieces(parts: Sequence[tuple[Block, Run]]) -> list[Part]:
    """What products are taken of: the runs themselves, or one copy of many short ones."""
    rows = sum(stop - start for _, (start, stop) in parts)
    if len(parts) < MANY_RUNS or rows / len(parts) > SHORT_RUN:
        return [(block.matrix, run) for block, run in parts]
    return [(np.concatenate([block.matrix[start:stop] for block, (start, stop) in parts]), (0, rows))]


class _Rows:
    """Ids and vectors of rows of the catalogue."""

    def __init__(self, seq: IntArray, ids: NDArray[np.str_], matrix: HalfArray) -> None:
        self.seq, self.ids, self.matrix = seq, ids, matrix


def _fetched(db: sqlite3.Connection, seq: IntArray) -> _Rows:
    """Rows by their ascending numbers."""
    sql = (
        "SELECT crop.seq, crop.id, vector.data FROM json_each(?) AS wanted "
        "JOIN crop ON crop.seq = wanted.value JOIN vector ON vector.seq = crop.seq ORDER BY crop.seq"
    )
    found = db.execute(sql, (json.dumps(seq.tolist()),)).fetchall()
    if len(found) < len(seq):
        raise Changed
    data = np.frombuffer(b"".join(row[2] for row in found), dtype=np.float16)
    return _Rows(seq, np.array([row[1] for row in found]), data.reshape(len(found), -1))


def _decided(rows: _Rows, seq: IntArray, query: HalfArray, k: int) -> tuple[Decided, float]:
    """The k nearest of some rows, and the distance of the last of them."""
    places = np.searchsorted(rows.seq, seq)
    gaps = distances(query, rows.matrix[places])
    order = np.lexsort((rows.ids[places], gaps))[:k]
    decided = [(int(seq[i]), float(gaps[i])) for i in order]
    return decided, decided[-1][1] if len(decided) == k else np.inf
