"""Everything in a local store, compared with what was written."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from ivreid.gallery.local.cache import Cache
from ivreid.gallery.local.database import Catalogue
from ivreid.gallery.local.view import Views
from ivreid.gallery.rows import SELECT, row_problem
from ivreid.gallery.store import Report
from ivreid.types import Progress

CHUNK = 1000
MOST = 50
"""Problems told one by one."""


def verify(
    catalogue: Catalogue, cache: Cache, views: Views, dimension: int, progress: Progress | None
) -> Report:
    """Check the catalogue's structure, every row, vector and picture, and the cache byte by byte.

    A cache that differs is built anew and told in the notes.
    """
    problems: list[str] = []
    with catalogue.reading() as db:
        problems += [
            f"{catalogue.path}: {row[0]}"
            for row in db.execute("PRAGMA integrity_check(20)")
            if row[0] != "ok"
        ]
        (total,) = db.execute("SELECT count(*) FROM crop").fetchone()
        for table in ("vector", "picture"):
            (orphans,) = db.execute(
                f"SELECT count(*) FROM {table} WHERE seq NOT IN (SELECT seq FROM crop)"
            ).fetchone()
            if orphans:
                problems.append(f"{orphans:,} {table}(s) belong to no crop")
    for done, found in enumerate(_rows(catalogue, dimension), start=1):
        if found and len(problems) < MOST:
            problems.append(found)
        if progress is not None and done % CHUNK == 0:
            progress(done, total)
    notes = [] if problems else _check_cache(catalogue, cache, views)
    return Report(total, tuple(problems), tuple(notes))


def _rows(catalogue: Catalogue, dimension: int) -> Iterator[str]:
    sql = (
        f"SELECT crop.seq, crop.digest, vector.data, picture.data, picture.digest, {SELECT} FROM crop "
        "LEFT JOIN vector USING (seq) LEFT JOIN picture USING (seq) WHERE crop.seq > ? ORDER BY crop.seq LIMIT ?"
    )
    after = 0
    while True:
        with catalogue.reading() as db:
            rows = db.execute(sql, (after, CHUNK)).fetchall()
        if not rows:
            return
        after = rows[-1][0]
        for seq, digest, vector, picture, picture_digest, *row in rows:
            yield _problem(seq, tuple(row), (vector, digest), (picture, picture_digest), dimension)


def _problem(
    seq: int,
    row: tuple[object, ...],
    vector: tuple[bytes | None, int],
    picture: tuple[bytes | None, int | None],
    dimension: int,
) -> str:
    name = f"crop {row[0]} (row {seq})"
    data, digest = vector
    if data is None or len(data) != 2 * dimension:
        return f"{name} has no vector of {dimension} dimensions"
    if problem := row_problem(name, row, data, digest):
        return problem
    image, expected = picture
    if image is not None and zlib.crc32(image) != expected:
        return f"the picture of {name} is not as it was written: its checksum differs"
    return ""


def _check_cache(catalogue: Catalogue, cache: Cache, views: Views) -> list[str]:
    if not cache.path.is_file():
        return ["there is no cache of vectors; the next search builds it"]
    views.forget()
    view = views.newest()
    for block in view.blocks:
        seq, matrix = np.delete(block.seq, block.dead), np.delete(block.matrix, block.dead, axis=0)
        order = np.argsort(seq)
        for at in range(0, len(seq), CHUNK):
            rows = order[at : at + CHUNK]
            with catalogue.reading() as db:
                found = db.execute(
                    "SELECT seq, data FROM vector WHERE seq BETWEEN ? AND ? ORDER BY seq",
                    (int(seq[rows[0]]), int(seq[rows[-1]])),
                ).fetchall()
            expected = dict(found)
            truth = b"".join(expected.get(int(number), b"") for number in seq[rows])
            if truth != matrix[rows].tobytes():
                cache.remove()
                views.forget()
                views.newest(compact=True)
                return [f"{cache.path} differed from the catalogue and was built anew"]
    return []
