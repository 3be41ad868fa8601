"""The store in a PostgreSQL database: one schema with tables by day."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ivreid.errors import DataError
from ivreid.gallery.adding import fates, new_rows, one_each
from ivreid.gallery.postgres import recall, removal
from ivreid.gallery.postgres.address import Server, parse
from ivreid.gallery.postgres.audit import read_audit, write_audit
from ivreid.gallery.postgres.connections import Connections, Session
from ivreid.gallery.postgres.hnsw import measured
from ivreid.gallery.postgres.model import read_weights, write_weights
from ivreid.gallery.postgres.nearest import nearest
from ivreid.gallery.postgres.refusals import erasures, inherit, refused
from ivreid.gallery.postgres.rows import COPY, VECTOR, condition, copied, count_of, to_vectors
from ivreid.gallery.postgres.schema import (
    DAY,
    FORMAT,
    check_dimension,
    check_extension,
    check_server,
    days_there,
    make_days,
    make_tables,
)
from ivreid.gallery.postgres.verify import verify
from ivreid.gallery.record import Crop, from_microseconds, microseconds
from ivreid.gallery.rows import SELECT, to_crop
from ivreid.gallery.store import (
    Added,
    Approximate,
    AuditRow,
    Binding,
    Erasures,
    Found,
    Receipt,
    Report,
    Summary,
)
from ivreid.gallery.vectors import HalfArray, asked
from ivreid.gallery.where import EVERYTHING, Where
from ivreid.types import Modality, Progress


class PostgresStore:
    """A store in a schema of a PostgreSQL database; many machines may use it at once.

    Args:
        url: As `address.FORM` says; the gallery was made by `PostgresStore.create`.

    Raises:
        UsageError: No such URL, or no driver.
        DataError: The server does not answer, is too old, or holds no gallery there, or one of a newer version.
    """

    def __init__(self, url: str) -> None:
        self.server: Server = parse(url)
        self._connections = Connections(self.server)
        try:
            with self._connections.plain() as session:
                self.meta = self._read_meta(session)
            self.binding = Binding(self.meta["fingerprint"], int(self.meta["dimension"]), self.meta["model"])
        except (KeyError, ValueError) as error:
            self._connections.close()
            raise DataError(f"{self.server} is damaged: it does not say {error}; take a copy") from error
        except BaseException:
            self._connections.close()
            raise

    def _read_meta(self, session: Session) -> dict[str, str]:
        check_server(session, self.server)
        ((there,),) = session.run(
            "SELECT to_regclass(:name) IS NOT NULL", name=f'"{self.server.schema}".meta'
        )
        if not there:
            raise DataError(
                f"{self.server}: the database holds no gallery in the schema {self.server.schema}; see `ivreid gallery "
                "create`"
            )
        check_extension(session, self.server)
        meta = dict(session.run("SELECT name, value FROM meta"))
        if int(meta["format"]) > FORMAT:
            raise DataError(
                f"{self.server} is a gallery of format {meta['format']}, this version of ivreid knows {FORMAT}: use a "
                "newer one"
            )
        return meta

    @classmethod
    def create(
        cls, url: str, binding: Binding, weights: Path | str, extra: Mapping[str, str] | None = None
    ) -> PostgresStore:
        """Make a gallery whole or not at all, and open it.

        Args:
            url: A database that is there, and a schema that is not.
            binding: The model.
            weights: Its file, which is copied into the database.
            extra: What else to remember of it.

        Raises:
            UsageError: Something is there, or no such URL.
            CheckpointError: Vectors that are too long.
            DataError: The server does not answer, or lacks something.
        """
        server, weights = parse(url), Path(weights)
        check_dimension(binding, str(server))
        connections = Connections(server)
        try:
            with connections.plain() as session:
                session.run("BEGIN")
                make_tables(session, server, binding.dimension)
                meta = {
                    "format": str(FORMAT),
                    "fingerprint": binding.fingerprint,
                    "dimension": str(binding.dimension),
                    "model": binding.name,
                    **write_weights(session, weights),
                    **(extra or {}),
                }
                for name, value in meta.items():
                    session.run(
                        "INSERT INTO meta (name, value) VALUES (:name, :value)", name=name, value=value
                    )
                session.run("INSERT INTO secret (key) VALUES (:key)", key=secrets.token_bytes(32))
                session.run("COMMIT")
        finally:
            connections.close()
        return cls(url)

    @property
    def address(self) -> str:
        """The URL, without a password."""
        return str(self.server)

    def weights(self) -> Path:
        """The model's weights, fetched once for each machine."""
        return read_weights(self._connections, self.meta)

    def add(
        self, crops: Sequence[Crop], vectors: Any, pictures: Sequence[bytes | None] | None = None
    ) -> Added:
        """Add crops, see `Store.add`."""
        if not crops:
            return Added()
        half, pictures = one_each(crops, vectors, pictures, self.binding.dimension)
        while True:
            with self._connections.writing() as session:
                fate = _fate(session, crops)
                new = new_rows(crops, half, pictures, fate)
                missing = {microseconds(crop.time) // DAY for crop, _, _ in new} - days_there(session)
                if not missing:
                    if new:
                        session.run(COPY, stream=copied(new))
                    return fate
            make_days(self._connections, missing)

    def known(self, crops: Sequence[Crop]) -> Added:
        """What `add` would say, see `Store.known`."""
        with self._connections.reading() as session:
            return _fate(session, crops)

    def search(self, queries: Any, where: Where = EVERYTHING, k: int = 20) -> Found:
        """The nearest crops, see `Store.search`."""
        return self.search_stored(asked(queries, self.binding.dimension, k), where, k)

    def search_stored(self, queries: HalfArray, where: Where, k: int) -> Found:
        """As `search`, for queries (Q, D) that `vectors.stored` has made already."""
        with self._connections.reading() as session:
            return nearest(session, where, queries, k)

    def get(self, ids: Collection[str]) -> dict[str, Crop]:
        """Crops by id, see `Store.get`."""
        with self._connections.reading() as session:
            rows = session.run(f"SELECT {SELECT} FROM crop WHERE crop.id = ANY(:ids)", ids=sorted(ids))
        return {row[0]: to_crop(row) for row in map(tuple, rows)}

    def picture(self, address: str) -> bytes | None:
        """A picture by its crop's address, see `Store.picture`."""
        with self._connections.reading() as session:
            rows = session.run("SELECT picture FROM crop WHERE address = :address", address=address)
        return rows[0][0] if rows else None

    def iterate(
        self, where: Where = EVERYTHING, *, batch: int = 1000
    ) -> Iterator[tuple[tuple[Crop, ...], HalfArray, tuple[bytes | None, ...]]]:
        """Every crop that passes, see `Store.iterate`."""
        wanted, values = condition(where)
        sql = (
            f"SELECT {VECTOR}, crop.picture, {SELECT} FROM crop WHERE {wanted} AND crop.time >= :after AND "
            "(crop.time, crop.id) > (:after, :last) ORDER BY crop.time, crop.id LIMIT :batch"
        )
        after, last = -(2**63), ""
        while True:
            with self._connections.reading() as session:
                rows = session.run(sql, after=after, last=last, batch=batch, **values)
            if not rows:
                return
            crops = tuple(to_crop(tuple(row[2:])) for row in rows)
            after, last = microseconds(crops[-1].time), crops[-1].id
            vectors = to_vectors([row[0] for row in rows], self.binding.dimension)
            yield crops, vectors, tuple(row[1] for row in rows)

    def count(self, where: Where = EVERYTHING, *, tracklets: bool = False) -> int:
        """How many pass, see `Store.count`."""
        if tracklets:
            names, loose = self.tracklets(where)
            return len(names) + loose
        with self._connections.reading() as session:
            return count_of(session, where)

    def tracklets(self, where: Where = EVERYTHING) -> tuple[set[str], int]:
        """The names of the tracklets of all crops that pass, and how many have none."""
        wanted, values = condition(where)
        with self._connections.reading() as session:
            rows = session.run(
                f"SELECT tracklet, count(*) FROM crop WHERE {wanted} GROUP BY tracklet", **values
            )
        names = {name for name, _ in rows if name is not None}
        return names, sum(count for name, count in rows if name is None)

    def cameras(self) -> tuple[str, ...]:
        """The cameras' names, sorted."""
        with self._connections.reading() as session:
            return tuple(sorted(row[0] for row in session.run("SELECT DISTINCT camera FROM crop")))

    def has_tracklets(self) -> bool:
        """Whether any crop has a tracklet."""
        with self._connections.reading() as session:
            ((found,),) = session.run("SELECT EXISTS (SELECT 1 FROM crop WHERE tracklet IS NOT NULL)")
        return bool(found)

    def summary(self) -> Summary:
        """What it holds, see `Store.summary`."""
        with self._connections.reading() as session:
            cameras = dict(session.run("SELECT camera, count(*) FROM crop GROUP BY camera ORDER BY camera"))
            kinds = dict(session.run("SELECT modality, count(*) FROM crop GROUP BY modality"))
            ((tracklets,),) = session.run("SELECT count(DISTINCT tracklet) FROM crop")
            ends = [
                session.run(f"SELECT crop.time, zone FROM crop ORDER BY crop.time {order} LIMIT 1")
                for order in ("ASC", "DESC")
            ]
            ((size,),) = session.run(
                "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
                "CAST(:schema AS regnamespace)",
                schema=self.server.schema,
            )
        first, last = (from_microseconds(*end[0]) if end else None for end in ends)
        modalities = {kind.value: kinds.get(kind.value, 0) for kind in Modality}
        return Summary(sum(cameras.values()), cameras, modalities, tracklets, first, last, int(size))

    def delete(self, where: Where, *, step: str = "") -> int:
        """Take crops out of every answer, see `Store.delete`."""
        return removal.delete(self._connections, where, step)

    def erase(self, where: Where, *, step: str = "") -> Receipt:
        """Remove crops and their bytes for good, see `Store.erase`."""
        return removal.erase(self._connections, where, step)

    def erasures(self) -> tuple[Erasures, ...]:
        """What it refuses, see `Store.erasures`."""
        with self._connections.reading() as session:
            return erasures(session)

    def inherit(self, erasures: Sequence[Erasures]) -> None:
        """Refuse what another store refuses."""
        with self._connections.writing() as session:
            inherit(session, erasures)

    def expire(self, older_than: datetime, *, step: str = "") -> Receipt:
        """Remove old crops and their bytes, see `Store.expire`."""
        return removal.expire(self._connections, older_than, step)

    def verify(self, *, progress: Progress | None = None) -> Report:
        """Compare everything with what was written, see `Store.verify`."""
        return verify(self._connections, self.binding.dimension, progress)

    def compact(self) -> None:
        """Have the server look at what is new: counts are then taken from indexes alone."""
        with self._connections.plain() as session:
            session.run("VACUUM (ANALYZE) crop")

    def index(self) -> Approximate | None:
        """What was measured of its index; None without one, and then every search is exact."""
        with self._connections.reading() as session:
            return measured(session)

    def build_index(self, ef: int | None = None) -> Approximate:
        """Make an index (HNSW) where there is none, and measure its recall, see `recall.build`."""
        return recall.build(self._connections, self.binding.dimension, ef)

    def measure_index(self, ef: int | None = None) -> Approximate:
        """Measure the index's recall anew, see `recall.measure`."""
        return recall.measure(self._connections, ef)

    def drop_index(self) -> bool:
        """Make every search exact again; says whether there was an index."""
        return recall.drop(self._connections)

    def record(self, action: str, *, purpose: str = "", detail: Mapping[str, Any] | None = None) -> None:
        """Write a row into the audit."""
        with self._connections.plain() as session:
            write_audit(session, action, purpose, detail or {})

    def audit(self, *, last: int | None = None, action: str | None = None) -> tuple[AuditRow, ...]:
        """The audit's rows, oldest first."""
        with self._connections.reading() as session:
            return read_audit(session, last, action)

    def drop(self) -> None:
        """Remove the gallery with everything in it; for one that was just made in vain."""
        with self._connections.writing() as session:
            session.run(f'DROP SCHEMA "{self.server.schema}" CASCADE')

    def close(self) -> None:
        """Let go of the connections."""
        self._connections.close()


def _fate(session: Session, crops: Sequence[Crop]) -> Added:
    times = sorted({microseconds(crop.time) for crop in crops})
    ids = [crop.id for crop in crops]
    sql = "SELECT id FROM crop WHERE crop.time = ANY(CAST(:times AS bigint[])) AND id = ANY(:ids)"
    there = {row[0] for row in session.run(sql, times=times, ids=ids)} if crops else set()
    return fates(crops, there, refused(session, {crop.pixels for crop in crops}))
