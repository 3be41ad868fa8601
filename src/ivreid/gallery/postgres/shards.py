"""A gallery over several databases: each holds the crops whose pixels fall to it, all are asked at once."""

from __future__ import annotations

import heapq
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ivreid.errors import DataError, UsageError
from ivreid.gallery.adding import one_each
from ivreid.gallery.postgres.address import parse
from ivreid.gallery.postgres.away import Away
from ivreid.gallery.postgres.merging import added_up, lowest, merged, ordered
from ivreid.gallery.postgres.store import PostgresStore
from ivreid.gallery.record import Crop
from ivreid.gallery.store import (
    Added,
    Approximate,
    AuditRow,
    Binding,
    Erasures,
    Found,
    Hit,
    Receipt,
    Report,
    Summary,
    least_sure,
)
from ivreid.gallery.vectors import HalfArray, asked
from ivreid.gallery.where import EVERYTHING, Where
from ivreid.types import Progress, as_array

T = TypeVar("T")


def urls_of(address: str) -> list[str]:
    """The URLs of an address, which commas separate."""
    return [url.strip() for url in address.split(",")]


class ShardedStore:
    """A store whose crops lie in several databases.

    A crop's pixels decide where it lies, so that what refuses erased pixels is beside them. A shard that does not
    answer is an error that names it. What is added or removed is whole on each shard, not over all of them: after an
    error the call may be repeated.

    Args:
        address: The URLs of all shards, in any order, with commas between.
        allow_partial: Answer from the shards that do, and say so in the answer's notes; nothing can be changed then.

    Raises:
        DataError: A shard does not answer, is missing, or is of another gallery.
    """

    def __init__(self, address: str, *, allow_partial: bool = False) -> None:
        self._allow_partial = allow_partial
        self._away = Away(urls_of(address) if allow_partial else ())
        opened: list[PostgresStore] = []
        try:
            for url in urls_of(address):
                try:
                    opened.append(PostgresStore(url))
                except DataError as error:
                    if not allow_partial:
                        raise
                    self._away.note(str(parse(url)), error)
            if not opened:
                raise DataError(f"no shard answers: {next(iter(self._away.reasons().values()))}")
            self._shards = ordered(opened, len(self._away.reasons()))
        except BaseException:
            for shard in opened:
                shard.close()
            raise
        self.binding: Binding = self._shards[0].binding
        self._closed = False
        self._guard = threading.Lock()
        self._pool = ThreadPoolExecutor(len(urls_of(address)), thread_name_prefix="shard")

    @classmethod
    def create(cls, address: str, binding: Binding, weights: Path | str) -> ShardedStore:
        """Make a gallery on all shards or on none, and open it.

        Raises:
            UsageError: Something is there, or one address twice.
            DataError: A shard does not answer, or lacks something.
        """
        urls, name = urls_of(address), secrets.token_hex(8)
        made: list[PostgresStore] = []
        try:
            for number, url in enumerate(urls):
                extra = {"gallery": name, "shard": str(number), "shards": str(len(urls))}
                made.append(PostgresStore.create(url, binding, weights, extra))
        except BaseException:
            for shard in made:
                with suppress(DataError):
                    shard.drop()
            raise
        finally:
            for shard in made:
                shard.close()
        return cls(address)

    @property
    def address(self) -> str:
        """All URLs, without passwords."""
        return ",".join(shard.address for shard in self._shards)

    def weights(self) -> Path:
        """The model's weights, fetched once for each machine."""
        return self._shards[0].weights()

    def _all(self, ask: Callable[[PostgresStore], T]) -> list[T]:
        """What every shard says; the first error only after all have finished."""
        if self._allow_partial:
            raise UsageError(f"{self.address} was opened to be read in part; open it whole for this")
        said, silent = self._asked(ask, self._shards)
        if silent:
            raise next(iter(silent.values()))
        return said

    def _some(self, ask: Callable[[PostgresStore], T]) -> tuple[list[T], dict[str, str]]:
        """What every shard says, or where that is allowed those that do, and of the others by address why not."""
        if not self._allow_partial:
            return self._all(ask), {}
        self._look_again()
        resting = self._away.reasons(resting=True)
        said, silent = self._asked(ask, [shard for shard in self._shards if shard.address not in resting])
        for name, error in silent.items():
            self._away.note(name, error)
        reasons = {**resting, **{name: str(error) for name, error in silent.items()}}
        if not said:
            raise DataError(f"no shard answers: {next(iter(reasons.values()))}")
        return said, reasons

    def _asked(
        self, ask: Callable[[PostgresStore], T], shards: Sequence[PostgresStore]
    ) -> tuple[list[T], dict[str, DataError]]:
        if self._closed:
            raise DataError(f"{self.address}: the gallery is closed; open it again")
        futures = {shard.address: self._pool.submit(ask, shard) for shard in shards}
        silent = {name: error for name, one in futures.items() if (error := one.exception()) is not None}
        for error in silent.values():
            if not isinstance(error, DataError):
                raise error
        said = [one.result() for name, one in futures.items() if name not in silent]
        return said, {name: error for name, error in silent.items() if isinstance(error, DataError)}

    def _look_again(self) -> None:
        """Open shards that were away when the gallery was opened, now and then."""
        if not self._guard.acquire(blocking=False):
            return  # somebody else is at it, who may have to wait
        try:
            known = {shard.address for shard in self._shards}
            missing = [url for url in self._away.urls if str(parse(url)) not in known]
            resting = self._away.reasons(resting=True)
            for url in missing:
                if (name := str(parse(url))) in resting:
                    continue
                shard: PostgresStore | None = None
                try:
                    shard = PostgresStore(url)
                    self._shards = ordered(
                        [*self._shards, shard], len(self._away.urls) - len(self._shards) - 1
                    )
                except DataError as error:
                    self._away.note(name, error)
                    if shard is not None:
                        shard.close()
        finally:
            self._guard.release()

    def _of(self, pixels: str) -> int:
        return int(pixels[-8:], 16) % len(self._shards)

    def add(
        self, crops: Sequence[Crop], vectors: Any, pictures: Sequence[bytes | None] | None = None
    ) -> Added:
        """Add crops, each to its shard, see `Store.add`."""
        if not crops:
            return Added()
        _, images = one_each(crops, vectors, pictures, self.binding.dimension)  # before any is added
        raw = np.atleast_2d(as_array(vectors, "vectors"))
        rows = self._rows(crops)
        chosen = [[images[at] for at in mine] for mine in rows]

        def add(shard: PostgresStore) -> Added:
            number = self._shards.index(shard)
            mine = rows[number]
            return shard.add([crops[at] for at in mine], raw[mine], chosen[number]) if mine else Added()

        return merged(crops, self._all(add))

    def _rows(self, crops: Sequence[Crop]) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in self._shards]
        for at, crop in enumerate(crops):
            rows[self._of(crop.pixels)].append(at)
        return rows

    def known(self, crops: Sequence[Crop]) -> Added:
        """What `add` would say, see `Store.known`."""
        rows = self._rows(crops)
        return merged(
            crops, self._all(lambda shard: shard.known([crops[at] for at in rows[self._shards.index(shard)]]))
        )

    def search(self, queries: Any, where: Where = EVERYTHING, k: int = 20) -> Found:
        """The nearest crops of all shards, by distance and id, see `Store.search`."""
        half = asked(queries, self.binding.dimension, k)
        found, silent = self._some(lambda shard: shard.search_stored(half, where, k))

        def best(query: int) -> tuple[Hit, ...]:
            hits = (hit for one in found for hit in one.hits[query])
            return tuple(heapq.nsmallest(k, hits, key=lambda hit: (hit.distance, hit.crop.id)))

        notes = tuple(f"PARTIAL ANSWER, what lies there was not searched: {why}" for why in silent.values())
        approximate = least_sure(one.approximate for one in found)
        searched = sum(one.searched for one in found)
        return Found(tuple(map(best, range(len(half)))), searched, notes, approximate, tuple(silent))

    def get(self, ids: Collection[str]) -> dict[str, Crop]:
        """Crops by id, see `Store.get`."""
        return {
            name: crop for part in self._some(lambda shard: shard.get(ids))[0] for name, crop in part.items()
        }

    def picture(self, address: str) -> bytes | None:
        """A picture by its crop's address, see `Store.picture`."""
        found = self._some(lambda shard: shard.picture(address))[0]
        return next((one for one in found if one is not None), None)

    def iterate(
        self, where: Where = EVERYTHING, *, batch: int = 1000
    ) -> Iterator[tuple[tuple[Crop, ...], HalfArray, tuple[bytes | None, ...]]]:
        """Every crop that passes, one shard after the other, see `Store.iterate`; in parts of those that answer."""
        for shard in self._shards:
            try:
                yield from shard.iterate(where, batch=batch)
            except DataError:
                if not self._allow_partial:
                    raise

    def count(self, where: Where = EVERYTHING, *, tracklets: bool = False) -> int:
        """How many pass, see `Store.count`."""
        if not tracklets:
            return sum(self._some(lambda shard: shard.count(where))[0])
        parts = self._some(lambda shard: shard.tracklets(where))[0]
        return len(set().union(*(names for names, _ in parts))) + sum(loose for _, loose in parts)

    def cameras(self) -> tuple[str, ...]:
        """The cameras' names, sorted."""
        return tuple(sorted(set().union(*self._some(lambda shard: shard.cameras())[0])))

    def has_tracklets(self) -> bool:
        """Whether any crop has a tracklet."""
        return any(self._some(lambda shard: shard.has_tracklets())[0])

    def summary(self) -> Summary:
        """What all hold, see `Store.summary`."""
        parts = self._some(lambda shard: shard.summary())[0]
        names = self._some(lambda shard: shard.tracklets()[0])[0]
        return Summary(
            sum(one.crops for one in parts),
            added_up([one.cameras for one in parts]),
            added_up([one.modalities for one in parts]),
            len(set().union(*names)),
            min((one.first for one in parts if one.first is not None), default=None),
            max((one.last for one in parts if one.last is not None), default=None),
            sum(one.bytes for one in parts),
        )

    def delete(self, where: Where) -> int:
        """Take crops out of every answer, see `Store.delete`."""
        step = secrets.token_hex(8)
        return sum(self._all(lambda shard: shard.delete(where, step=step)))

    def erase(self, where: Where) -> Receipt:
        """Remove crops and their bytes for good on every shard, see `Store.erase`."""
        step = secrets.token_hex(8)
        return self._joined(self._all(lambda shard: shard.erase(where, step=step)))

    def expire(self, older_than: datetime) -> Receipt:
        """Remove old crops and their bytes on every shard, see `Store.expire`."""
        step = secrets.token_hex(8)
        return self._joined(self._all(lambda shard: shard.expire(older_than, step=step)))

    def _joined(self, receipts: Sequence[Receipt]) -> Receipt:
        done = tuple(
            f"{shard.address}: {line}"
            for shard, one in zip(self._shards, receipts, strict=True)
            for line in one.done
        )
        first = receipts[0]
        crops, time = sum(one.crops for one in receipts), max(one.time for one in receipts)
        return Receipt(first.action, crops, time, done, first.beyond)

    def erasures(self) -> tuple[Erasures, ...]:
        """What all refuse, see `Store.erasures`."""
        return tuple(one for part in self._all(lambda shard: shard.erasures()) for one in part)

    def inherit(self, erasures: Sequence[Erasures]) -> None:
        """Refuse on every shard what another store refuses."""
        self._all(lambda shard: shard.inherit(erasures))

    def verify(self, *, progress: Progress | None = None) -> Report:
        """Compare everything with what was written, and whether it lies on its shard, see `Store.verify`."""
        crops, problems, notes = 0, [], []
        for number, shard in enumerate(self._shards):
            report = shard.verify(progress=progress)
            crops += report.crops
            problems += [f"{shard.address}: {line}" for line in report.problems]
            notes += [f"{shard.address}: {line}" for line in report.notes]
            strays = [c.id for part, _, _ in shard.iterate() for c in part if self._of(c.pixels) != number]
            problems += [f"{shard.address}: crop {name} belongs on another shard" for name in strays[:50]]
        return Report(crops, tuple(problems), tuple(notes))

    def compact(self) -> None:
        """Have every server look at what is new."""
        self._all(lambda shard: shard.compact())

    def index(self) -> Approximate | None:
        """The index with the lowest recall of all shards'; None where none has any."""
        return least_sure(self._some(lambda shard: shard.index())[0])

    def build_index(self, ef: int | None = None) -> Approximate:
        """Make an index on every shard, each measured with its own crops; gives the lowest recall."""
        return lowest(self._all(lambda shard: shard.build_index(ef)))

    def measure_index(self, ef: int | None = None) -> Approximate:
        """Measure every shard's index anew; gives the lowest recall."""
        return lowest(self._all(lambda shard: shard.measure_index(ef)))

    def drop_index(self) -> bool:
        """Make every search exact again; says whether there was an index."""
        return any(self._all(lambda shard: shard.drop_index()))

    def record(self, action: str, *, purpose: str = "", detail: Mapping[str, Any] | None = None) -> None:
        """Write a row into the audit, which is kept on the first shard; in parts on the first that answers."""
        first, *others = self._shards
        try:
            first.record(action, purpose=purpose, detail=detail)
        except DataError:
            for shard in others if self._allow_partial else ():
                with suppress(DataError):
                    return shard.record(action, purpose=purpose, detail=detail)
            raise

    def audit(self, *, last: int | None = None, action: str | None = None) -> tuple[AuditRow, ...]:
        """The audit's rows of all shards by time; a removal is one row."""
        rows: dict[object, AuditRow] = {}
        for number, part in enumerate(self._all(lambda shard: shard.audit(action=action))):
            for row in part:
                step = row.detail.get("step", (number, row.number))
                before = rows.get(step)
                crops = row.detail["crops"] + before.detail["crops"] if before else 0
                rows[step] = replace(before, detail={**before.detail, "crops": crops}) if before else row
        ordered = sorted(rows.values(), key=lambda row: row.time)
        numbered = tuple(replace(row, number=number) for number, row in enumerate(ordered, start=1))
        return numbered if last is None else numbered[max(0, len(numbered) - last) :]

    def close(self) -> None:
        """Let go of all connections."""
        self._closed = True
        self._pool.shutdown()
        for shard in self._shards:
            shard.close()
