"""An index (HNSW) built on request, and how many of the nearest crops it finds, measured against exact search."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime

from ivreid.errors import DataError, UsageError
from ivreid.gallery.postgres.audit import write_audit
from ivreid.gallery.postgres.connections import Connections, Session
from ivreid.gallery.postgres.hnsw import DEEPEST, META, broad, measured, proposals
from ivreid.gallery.postgres.nearest import by_index, exact
from ivreid.gallery.postgres.rows import VECTOR, count_of, to_vector
from ivreid.gallery.store import Approximate, Hit
from ivreid.gallery.vectors import HalfArray
from ivreid.gallery.where import EVERYTHING, Where
from ivreid.types import Modality

INDEX = "crop_hnsw"
OLDEST_VECTOR = (0, 8)
LONGEST = 4_000
"""Values of a halfvec that pgvector indexes."""
EF, MOST_EF = 200, 1000
SAMPLE = 100
DEPTHS = (10, DEEPEST - 1)
"""Hits that are compared, beside the crop that is searched with."""
Sample = list[tuple[Modality, str, HalfArray]]
"""Modality, id and stored vector of crops to search with."""


def build(connections: Connections, dimension: int, ef: int | None) -> Approximate:
    """Make the index where it is not there, and measure it; adding waits meanwhile, searching does not.

    Raises:
        UsageError: Vectors that are too long, or no `ef`.
        DataError: A pgvector that is too old, or another process that writes.
    """
    server = connections.server
    if dimension > LONGEST:
        raise UsageError(
            f"{server} holds vectors of {dimension:,} values, and pgvector indexes {LONGEST:,}: its searches stay exact"
        )
    _checked(ef)
    with connections.writing() as session:
        ((version,),) = session.run("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VECTOR:
            raise DataError(
                f"{server}: this is pgvector {version}; an index needs {'.'.join(map(str, OLDEST_VECTOR))} or newer: "
                "ALTER EXTENSION vector UPDATE"
            )
        session.run(f"CREATE INDEX IF NOT EXISTS {INDEX} ON crop USING hnsw (vector halfvec_ip_ops)")
    return measure(connections, ef)


def measure(connections: Connections, ef: int | None) -> Approximate:
    """Measure the recall anew, with this or the former `ef`, and have searches use and tell it from now on.

    Raises:
        UsageError: No index, too few crops to measure with, or no `ef`.
    """
    _checked(ef)
    with connections.reading() as session:
        _check_there(connections, session)
        before = measured(session)
        used = ef or (before.ef if before else EF)
        crops, sample = count_of(session, EVERYTHING), _sample(session)
        shares = [
            share for where in _kinds(session, crops) for share in _recalls(session, where, sample, used)
        ]
    if not shares:
        raise UsageError(
            f"{connections.server} holds {crops:,} crop(s), too few to measure an index with: their searches are exact; "
            "add more first"
        )
    lowest = math.floor(min(shares) * 10_000) / 10_000  # told with four digits, never more than it was
    found = Approximate("hnsw", lowest, datetime.now(UTC), used, len(sample), crops)
    with connections.writing() as session:
        _check_there(connections, session)
        session.run(
            "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value",
            name=META,
            value=json.dumps(found.to_json()),
        )
        write_audit(session, "index", "", found.to_json())
    return found


def drop(connections: Connections) -> bool:
    """Remove the index: every search is exact again. Says whether there was one."""
    with connections.writing() as session:
        there = _is_there(session)
        session.run(f"DROP INDEX IF EXISTS {INDEX}")
        session.run("DELETE FROM meta WHERE name = :name", name=META)
        if there:
            write_audit(session, "index", "", {"dropped": True})
    return there


def _checked(ef: int | None) -> None:
    if ef is not None and not 1 <= ef <= MOST_EF:
        raise UsageError(f"ef is {ef}; pgvector takes 1 to {MOST_EF:,}")


def _is_there(session: Session) -> bool:
    ((found,),) = session.run("SELECT to_regclass(:name) IS NOT NULL", name=INDEX)
    return bool(found)


def _check_there(connections: Connections, session: Session) -> None:
    if not _is_there(session):
        raise UsageError(
            f"{connections.server} has no index, its searches are exact; `ivreid gallery index --hnsw` makes one"
        )


def _sample(session: Session) -> Sample:
    """Crops of both modalities alike, as far as there are any; ids are digests, so the first of them are chosen blindly."""
    sql = f"SELECT crop.id, {VECTOR} FROM crop WHERE crop.modality = :modality ORDER BY crop.id LIMIT :limit"
    rows = {one: session.run(sql, modality=one.value, limit=SAMPLE) for one in Modality}
    each = max(SAMPLE // 2, *(SAMPLE - len(found) for found in rows.values()))
    return [(one, name, to_vector(sent)) for one, found in rows.items() for name, sent in found[:each]]


def _kinds(session: Session, crops: int) -> Iterator[Where]:
    """Searches for which an index may serve: without a filter, in one modality, and without the fullest camera."""
    yield EVERYTHING
    fullest = session.run("SELECT camera FROM crop GROUP BY camera ORDER BY count(*) DESC, camera LIMIT 1")
    without = (Where(not_cameras=frozenset(row)) for row in fullest)
    for where in (*(Where(modality=one) for one in Modality), *without):
        passing = count_of(session, where)
        if passing < crops and broad(passing, crops):
            yield where


def _recalls(session: Session, where: Where, sample: Sample, ef: int) -> Iterator[float]:
    """The mean share of the nearest that were found, for queries of each modality, by how many are asked for."""
    count = count_of(session, where)
    depths = [depth for depth in DEPTHS if count > proposals(depth + 1)]  # else such a search is exact
    shares: dict[tuple[int, Modality], list[float]] = {}
    for modality, name, query in sample if depths else ():
        true = _others(exact(session, where, query, depths[-1] + 1, count), name)
        for depth in depths:
            found = by_index(session, where, query, depth + 1, ef)
            if found is not None:  # else this one is exact
                near = sum(hit.distance <= true[depth - 1].distance for hit in _others(found, name)[:depth])
                shares.setdefault((depth, modality), []).append(near / depth)
    yield from (sum(found) / len(found) for found in shares.values())


def _others(hits: tuple[Hit, ...], name: str) -> list[Hit]:
    """Hits without the query itself, which is found too easily."""
    return [hit for hit in hits if hit.crop.id != name]
