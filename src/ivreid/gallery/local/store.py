"""The store in a folder: `catalogue.sqlite`, `weights.*` and a cache that can be built anew."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ivreid.errors import DataError, UsageError
from ivreid.gallery.adding import NewRow, fates, new_rows, one_each
from ivreid.gallery.local.audit import write_audit
from ivreid.gallery.local.cache import Cache
from ivreid.gallery.local.database import FILE, Catalogue, note_change
from ivreid.gallery.local.nearest import Changed, Decided, nearest, runs_of
from ivreid.gallery.local.refusals import erasures, inherit, refused
from ivreid.gallery.local.removal import Removal
from ivreid.gallery.local.rows import INSERT, condition
from ivreid.gallery.local.verify import verify
from ivreid.gallery.local.view import Views
from ivreid.gallery.record import Crop, from_microseconds
from ivreid.gallery.rows import SELECT, audit_rows, row_digest, to_crop, to_row
from ivreid.gallery.store import Added, AuditRow, Binding, Erasures, Found, Hit, Receipt, Report, Summary
from ivreid.gallery.vectors import HalfArray, asked
from ivreid.gallery.where import EVERYTHING, Where
from ivreid.io import atomic_write
from ivreid.types import Modality, Progress

WEIGHTS = "weights"
TRIES = 20


class LocalStore:
    """A store in one folder, for one machine; several processes may use it at once.

    Args:
        root: The folder, made by `LocalStore.create`.

    Raises:
        DataError: No gallery there, a damaged one, or one of a newer version.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._catalogue = Catalogue(self.root / FILE)
        with self._catalogue.reading() as db:
            meta = dict(db.execute("SELECT name, value FROM meta"))
        try:
            self.binding = Binding(meta["fingerprint"], int(meta["dimension"]), meta["model"])
        except (KeyError, TypeError, ValueError) as error:
            self._catalogue.close()
            raise DataError(f"{self.root / FILE} is damaged: it does not say {error}; take a copy") from error
        cache = Cache(self.root, self.binding.dimension)
        self._views = Views(self._catalogue, cache, self.binding.dimension)
        self._removal = Removal(self._catalogue, cache, self._views)
        self._cache = cache
        if meta["unfinished"]:
            self._removal.finish()

    @classmethod
    def create(cls, root: Path | str, binding: Binding, weights: Path | str) -> LocalStore:
        """Make a gallery whole or not at all, and open it.

        Args:
            root: A folder that is not there, or is empty.
            binding: The model.
            weights: Its file, which is copied.

        Raises:
            UsageError: Something is there.
            DataError: The folder cannot be written.
        """
        root, weights = Path(root), Path(weights)
        if root.exists() and not (root.is_dir() and not any(root.iterdir())):
            raise UsageError(f"{root} is there already; give a new name, or use it with `ivreid gallery add`")
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as scratch:
                made = Path(scratch) / "gallery"
                made.mkdir()
                with weights.open("rb") as given, atomic_write(made / f"{WEIGHTS}{weights.suffix}") as kept:
                    shutil.copyfileobj(given, kept)
                catalogue = Catalogue(made / FILE, create=True)
                meta = {
                    "fingerprint": binding.fingerprint,
                    "dimension": binding.dimension,
                    "model": binding.name,
                    "unfinished": 0,
                }
                with catalogue.writing() as db:
                    db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
                    db.execute("INSERT INTO secret (key) VALUES (?)", (secrets.token_bytes(32),))
                    note_change(db)
                catalogue.close()
                made.replace(root)
        except OSError as error:
            raise DataError(f"cannot make the gallery {root}: {error.strerror or error}") from error
        return cls(root)

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def weights(self) -> Path:
        """The model's weights in the folder."""
        found = sorted(self.root.glob(f"{WEIGHTS}.*"))
        if not found:
            raise DataError(f"{self.root} holds no weights; put its model back as {WEIGHTS}.safetensors")
        return found[0]

    def add(
        self, crops: Sequence[Crop], vectors: Any, pictures: Sequence[bytes | None] | None = None
    ) -> Added:
        """Add crops, see `Store.add`."""
        if not crops:
            return Added()
        half, pictures = one_each(crops, vectors, pictures, self.binding.dimension)
        with self._catalogue.writing() as db:
            fate = self._fate(db, crops)
            if new := new_rows(crops, half, pictures, fate):
                self._insert(db, new)
                note_change(db)
        return fate

    def _insert(self, db: Any, new: Sequence[NewRow]) -> None:
        (last,) = db.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'crop'"
        ).fetchone()
        rows, datas, images = [], [], []
        for seq, (crop, vector, picture) in enumerate(new, start=last + 1):
            row, data = to_row(crop), vector.tobytes()
            rows.append((seq, *row, row_digest(row, data)))
            datas.append((seq, data))
            if picture is not None:
                images.append((seq, picture, zlib.crc32(picture)))
        db.executemany(INSERT, rows)
        db.executemany("INSERT INTO vector VALUES (?, ?)", datas)
        db.executemany("INSERT INTO picture VALUES (?, ?, ?)", images)

    def known(self, crops: Sequence[Crop]) -> Added:
        """What `add` would say, see `Store.known`."""
        with self._catalogue.reading() as db:
            return self._fate(db, crops)

    def _fate(self, db: Any, crops: Sequence[Crop]) -> Added:
        ids = json.dumps([crop.id for crop in crops])
        rows = db.execute("SELECT id FROM crop WHERE id IN (SELECT value FROM json_each(?))", (ids,))
        there = {row[0] for row in rows}
        return fates(crops, there, refused(db, {crop.pixels for crop in crops}))

    def search(self, queries: Any, where: Where = EVERYTHING, k: int = 20) -> Found:
        """The nearest crops, see `Store.search`."""
        half = asked(queries, self.binding.dimension, k)
        for _ in range(TRIES):
            view = self._views.newest()
            with self._catalogue.reading() as db:
                among = self._among(db, where)
            parts = runs_of(view.blocks, where, among)
            searched = sum(stop - start for _, (start, stop) in parts)
            try:
                with self._catalogue.reading() as db:
                    decided = nearest(db, parts, half, k)
                    return Found(self._hits(db, decided), searched)
            except Changed:
                continue
        raise DataError(f"{self.root} is changing faster than it can be searched; try again")

    def _among(self, db: Any, where: Where) -> Any:
        if where.tracklets is None and where.pids is None and where.ids is None:
            return None
        sql, values = condition(where)
        return np.array([row[0] for row in db.execute(f"SELECT seq FROM crop WHERE {sql}", values)], np.int64)

    def _hits(self, db: Any, decided: Sequence[Decided]) -> tuple[tuple[Hit, ...], ...]:
        wanted = json.dumps(sorted({seq for hits in decided for seq, _ in hits}))
        sql = f"SELECT crop.seq, {SELECT} FROM json_each(?) AS w JOIN crop ON crop.seq = w.value"
        crops = {row[0]: to_crop(row[1:]) for row in db.execute(sql, (wanted,))}
        return tuple(tuple(Hit(crops[seq], gap) for seq, gap in hits) for hits in decided)

    def get(self, ids: Collection[str]) -> dict[str, Crop]:
        """Crops by id, see `Store.get`."""
        sql = f"SELECT {SELECT} FROM crop WHERE id IN (SELECT value FROM json_each(?))"
        with self._catalogue.reading() as db:
            crops = [to_crop(row) for row in db.execute(sql, (json.dumps(sorted(ids)),))]
        return {crop.id: crop for crop in crops}

    def picture(self, address: str) -> bytes | None:
        """A picture by its crop's address, see `Store.picture`."""
        sql = "SELECT picture.data FROM crop JOIN picture USING (seq) WHERE address = ?"
        with self._catalogue.reading() as db:
            row = db.execute(sql, (address,)).fetchone()
        return None if row is None else bytes(row[0])

    def iterate(
        self, where: Where = EVERYTHING, *, batch: int = 1000
    ) -> Iterator[tuple[tuple[Crop, ...], HalfArray, tuple[bytes | None, ...]]]:
        """Every crop that passes, see `Store.iterate`."""
        wanted, values = condition(where)
        sql = (
            f"SELECT crop.seq, vector.data, picture.data, {SELECT} FROM crop JOIN vector USING (seq) "
            f"LEFT JOIN picture USING (seq) WHERE crop.seq > ? AND {wanted} ORDER BY crop.seq LIMIT ?"
        )
        after = 0
        while True:
            with self._catalogue.reading() as db:
                rows = db.execute(sql, (after, *values, batch)).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            data = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float16)
            yield (
                tuple(to_crop(row[3:]) for row in rows),
                data.reshape(len(rows), self.binding.dimension),
                tuple(row[2] for row in rows),
            )

    def count(self, where: Where = EVERYTHING, *, tracklets: bool = False) -> int:
        """How many pass, see `Store.count`."""
        wanted, values = condition(where)
        what = "count(DISTINCT tracklet) + count(*) - count(tracklet)" if tracklets else "count(*)"
        with self._catalogue.reading() as db:
            (count,) = db.execute(f"SELECT {what} FROM crop WHERE {wanted}", values).fetchone()
        return int(count)

    def cameras(self) -> tuple[str, ...]:
        """The cameras' names, sorted."""
        sql = (
            "WITH RECURSIVE name (camera) AS (SELECT min(camera) FROM crop UNION ALL "
            "SELECT (SELECT min(camera) FROM crop WHERE crop.camera > name.camera) FROM name WHERE camera NOT NULL) "
            "SELECT camera FROM name WHERE camera NOT NULL"
        )  # one look into the index for each
        with self._catalogue.reading() as db:
            return tuple(row[0] for row in db.execute(sql))

    def has_tracklets(self) -> bool:
        """Whether any crop has a tracklet."""
        with self._catalogue.reading() as db:
            (found,) = db.execute("SELECT EXISTS (SELECT 1 FROM crop WHERE tracklet NOT NULL)").fetchone()
        return bool(found)

    def summary(self) -> Summary:
        """What it holds, see `Store.summary`."""
        with self._catalogue.reading() as db:
            cameras = dict(db.execute("SELECT camera, count(*) FROM crop GROUP BY camera ORDER BY camera"))
            kinds = dict(db.execute("SELECT modality, count(*) FROM crop GROUP BY modality"))
            (tracklets,) = db.execute("SELECT count(DISTINCT tracklet) FROM crop").fetchone()
            ends = [
                db.execute(f"SELECT time, zone FROM crop ORDER BY time {order} LIMIT 1").fetchone()
                for order in ("ASC", "DESC")
            ]
        first, last = (None if end is None else from_microseconds(*end) for end in ends)
        size = sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())
        modalities = {kind.value: kinds.get(kind.value, 0) for kind in Modality}
        return Summary(sum(cameras.values()), cameras, modalities, tracklets, first, last, size)

    def delete(self, where: Where) -> int:
        """Take crops out of every answer, see `Store.delete`."""
        return self._removal.delete(where)

    def erase(self, where: Where) -> Receipt:
        """Remove crops and their bytes for good, see `Store.erase`."""
        return self._removal.erase(where)

    def erasures(self) -> tuple[Erasures, ...]:
        """What it refuses, see `Store.erasures`."""
        with self._catalogue.reading() as db:
            return erasures(db)

    def inherit(self, erasures: Sequence[Erasures]) -> None:
        """Refuse what another store refuses."""
        with self._catalogue.writing() as db:
            inherit(db, erasures)

    def expire(self, older_than: datetime) -> Receipt:
        """Remove old crops and their bytes, see `Store.expire`."""
        return self._removal.expire(older_than)

    def verify(self, *, progress: Progress | None = None) -> Report:
        """Compare everything with what was written, see `Store.verify`."""
        return verify(self._catalogue, self._cache, self._views, self.binding.dimension, progress)

    def compact(self) -> None:
        """Bring the cache up to date."""
        self._views.newest(compact=True)

    def record(self, action: str, *, purpose: str = "", detail: Mapping[str, Any] | None = None) -> None:
        """Write a row into the audit."""
        with self._catalogue.writing() as db:
            write_audit(db, action, purpose, detail or {})

    def audit(self, *, last: int | None = None, action: str | None = None) -> tuple[AuditRow, ...]:
        """The audit's rows, oldest first."""
        sql = (
            "SELECT number, time, action, purpose, detail FROM audit WHERE ?1 IS NULL OR action = ?1 "
            "ORDER BY number DESC LIMIT ?2"
        )
        with self._catalogue.reading() as db:
            return audit_rows(db.execute(sql, (action, -1 if last is None else last)).fetchall())

    def close(self) -> None:
        """Close the catalogue."""
        self._views.forget()
        self._catalogue.close()
