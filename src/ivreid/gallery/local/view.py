"""What a search goes through: blocks of vectors that follow the catalogue's changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ivreid.gallery.local.blocks import Block, arrange
from ivreid.gallery.local.cache import Cache, Stamp
from ivreid.gallery.local.database import Catalogue
from ivreid.gallery.vectors import HalfArray
from ivreid.types import IntArray

CHUNK = 4096
MANY_BLOCKS = 16
LOOSE = 16_384
"""Rows in memory or dead before a search writes a new file; an eighth of a larger gallery."""


@dataclass(frozen=True, eq=False)
class View:
    """A state of the catalogue, and its vectors in blocks: the first from the cache, the others from memory."""

    stamp: Stamp
    blocks: tuple[Block, ...]

    @property
    def loose(self) -> int:
        """Rows that the first block lacks, or has too many."""
        return sum(len(block.dead) for block in self.blocks) + sum(len(block) for block in self.blocks[1:])


class Views:
    """Keeps the newest view of a catalogue; a view once given stays as it is."""

    def __init__(self, catalogue: Catalogue, cache: Cache, dimension: int) -> None:
        self._catalogue, self._cache, self._dimension = catalogue, cache, dimension
        self._view: View | None = None

    def newest(self, *, compact: bool = False) -> View:
        """The view of the catalogue as it is now.

        Args:
            compact: Have all but a few rows in the cache's file.
        """
        with self._catalogue.reading() as db:
            stamp = _stamp(db)
            view = self._view
            if view is None and (loaded := self._cache.load()):
                view = View(loaded[0], (loaded[1],))
            if view is None or not _is_past(db, view.stamp):
                view = self._built(db, stamp)
            few = _few(len(view.blocks[0]), compact)
            if view.stamp != stamp:
                much = stamp.last - view.stamp.last > few
                view = self._built(db, stamp) if much else self._followed(db, view, stamp)
            if view.loose > few or (compact and not self._cache.path.is_file()):
                view = self._built(db, stamp)
            self._view = view
            return view

    def forget(self) -> None:
        """Read everything anew the next time."""
        self._view = None

    def _built(self, db: sqlite3.Connection, stamp: Stamp) -> View:
        seq, time, cameras, modalities = _columns(db, 0)
        order, places = arrange(seq, time, cameras, modalities)
        place_of = np.empty_like(order)
        place_of[order] = np.arange(len(order))

        def fill(matrix: HalfArray) -> None:
            done = 0
            for chunk in _vectors(db, 0, self._dimension):
                matrix[place_of[done : done + len(chunk)]] = chunk
                done += len(chunk)

        block = self._cache.build(stamp, seq[order], time[order], places, fill)
        return View(stamp, (block,))

    def _followed(self, db: sqlite3.Connection, view: View, stamp: Stamp) -> View:
        """The view after what was added and removed since."""
        blocks = list(view.blocks)
        if stamp.removed != view.stamp.removed:
            live = np.fromiter(chain.from_iterable(db.execute("SELECT seq FROM crop")), dtype=np.int64)
            blocks = [replace(b, dead=np.flatnonzero(~np.isin(b.seq, live))) for b in blocks]
            blocks = [blocks[0], *(b for b in blocks[1:] if len(b.dead) < len(b))]
        covered = max((int(b.seq.max()) for b in blocks if len(b)), default=0)
        covered = max(covered, view.stamp.last)
        if stamp.last > covered:
            if len(blocks) > MANY_BLOCKS:  # small ones become one again
                first = min(int(b.seq.min()) for b in blocks[1:])
                blocks, covered = blocks[:1], first - 1
            blocks.append(self._in_memory(db, covered))
        return View(stamp, tuple(blocks))

    def _in_memory(self, db: sqlite3.Connection, after: int) -> Block:
        seq, time, cameras, modalities = _columns(db, after)
        order, places = arrange(seq, time, cameras, modalities)
        matrix = np.concatenate(list(_vectors(db, after, self._dimension)))[order]
        return Block(matrix, seq[order], time[order], places, np.empty(0, dtype=np.int64))


def _few(rows: int, compact: bool) -> int:
    """How many rows may lie beside a file of so many, before it is written anew."""
    if compact:
        return rows // 32 if rows > LOOSE else 0
    return max(LOOSE, rows // 8)


def _stamp(db: sqlite3.Connection) -> Stamp:
    sql = "SELECT generation, token, removed FROM change ORDER BY generation DESC LIMIT 1"
    generation, token, removed = db.execute(sql).fetchone()
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM crop").fetchone()
    return Stamp(generation, token, removed, last)


def _is_past(db: sqlite3.Connection, stamp: Stamp) -> bool:
    """Whether this catalogue was in that state: not so where it was put back from a copy and went another way."""
    row = db.execute("SELECT token FROM change WHERE generation = ?", (stamp.generation,)).fetchone()
    return row is not None and bool(row[0] == stamp.token)


def _columns(db: sqlite3.Connection, after: int) -> tuple[IntArray, IntArray, list[str], list[str]]:
    rows = db.execute("SELECT seq, time, camera, modality FROM crop WHERE seq > ? ORDER BY seq", (after,))
    found = rows.fetchall()
    seq = np.array([row[0] for row in found], dtype=np.int64)
    time = np.array([row[1] for row in found], dtype=np.int64)
    return seq, time, [row[2] for row in found], [row[3] for row in found]


def _vectors(db: sqlite3.Connection, after: int, dimension: int) -> Iterator[HalfArray]:
    """Vectors in the order of their numbers, in chunks."""
    rows = db.execute("SELECT data FROM vector WHERE seq > ? ORDER BY seq", (after,))
    while found := rows.fetchmany(CHUNK):
        yield np.frombuffer(b"".join(row[0] for row in found), dtype=np.float16).reshape(-1, dimension)
