"""Everything in a gallery in PostgreSQL, compared with what was written."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ivreid.gallery.postgres.connections import Connections
from ivreid.gallery.postgres.rows import VECTOR, to_vector
from ivreid.gallery.rows import SELECT, Row, row_problem
from ivreid.gallery.store import Report
from ivreid.types import Progress

CHUNK = 1000
MOST = 50
"""Problems told one by one."""


def verify(connections: Connections, dimension: int, progress: Progress | None) -> Report:
    """Check every row, vector and picture, and whether the server keeps what it acknowledges."""
    with connections.reading() as session:
        ((total,),) = session.run("SELECT count(*) FROM crop")
        settings = session.run(
            "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"
        )
    problems: list[str] = []
    done = 0
    for done, found in enumerate(_rows(connections, dimension), start=1):
        if found and len(problems) < MOST:
            problems.append(found)
        if progress is not None and done % CHUNK == 0:
            progress(done, max(done, total))
    notes = [
        f"the server runs with {name} = off: a power cut may cost what it acknowledged"
        for (name,) in settings
    ]
    return Report(done, tuple(problems), tuple(notes))


def _rows(connections: Connections, dimension: int) -> Iterator[str]:
    sql = (
        f"SELECT crop.digest, {VECTOR}, crop.picture, crop.picture_digest, {SELECT} FROM crop "
        "WHERE crop.time >= :time AND (crop.time, crop.id) > (:time, :id) ORDER BY crop.time, crop.id LIMIT :limit"
    )
    time, last = -(2**63), ""
    while True:
        with connections.reading() as session:
            rows = session.run(sql, time=time, id=last, limit=CHUNK)
        if not rows:
            return
        for digest, sent, picture, picture_digest, *row in rows:
            time, last = row[4], row[0]
            yield _problem(tuple(row), digest, sent, dimension) or _picture_problem(
                last, picture, picture_digest
            )


def _problem(row: Row, digest: int, sent: bytes, dimension: int) -> str:
    vector = to_vector(sent)
    if len(vector) != dimension:
        return f"crop {row[0]} has a vector of {len(vector)} dimensions, not of {dimension}"
    return row_problem(f"crop {row[0]}", row, vector.tobytes(), digest)


def _picture_problem(name: str, picture: bytes | None, digest: int | None) -> str:
    expected = None if picture is None else zlib.crc32(picture)
    return (
        ""
        if expected == digest
        else f"the picture of crop {name} is not as it was written: its checksum differs"
    )
