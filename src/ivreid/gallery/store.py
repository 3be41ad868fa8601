"""What every store of crops can do, whether a folder on this machine or a database on others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from ivreid.gallery.record import Crop
from ivreid.gallery.vectors import HalfArray
from ivreid.gallery.where import EVERYTHING, Where
from ivreid.types import Progress


@dataclass(frozen=True)
class Binding:
    """The model whose vectors a store holds.

    Attributes:
        fingerprint: Of what the weights compute, see `weights_fingerprint`.
        dimension: Of its vectors.
        name: What people call it: its method, and where it came from.
    """

    fingerprint: str
    dimension: int
    name: str

    def to_json(self) -> dict[str, Any]:
        """The model as plain JSON values."""
        return {"model": self.name, "weights_fingerprint": self.fingerprint, "dimension": self.dimension}


@dataclass(frozen=True)
class Added:
    """What became of crops that were given, by id.

    Attributes:
        added: New, and durable now.
        known: There already; they stay as they were.
        erased: Refused, for their pixels were erased.
    """

    added: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hit:
    """A crop, and its cosine distance from a query."""

    crop: Crop
    distance: float


@dataclass(frozen=True)
class Approximate:
    """That an index proposed what was compared, and how many of the nearest crops it finds.

    Attributes:
        index: Its kind: hnsw.
        recall: Which share of the nearest it found when measured against exact search; of all kinds of search that
            were measured the lowest.
        measured: When that was.
        ef: How many candidates a search keeps at a time: more find more, and take longer.
        sample: With how many of the gallery's own crops was searched.
        crops: How many the gallery held then.
    """

    index: str
    recall: float
    measured: datetime
    ef: int
    sample: int
    crops: int

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {**asdict(self), "measured": self.measured.isoformat()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Approximate:
        """From what `to_json` gave."""
        return cls(**{**values, "measured": datetime.fromisoformat(values["measured"])})

    def __str__(self) -> str:
        return (
            f"APPROXIMATE ANSWER, from an index ({self.index}, ef {self.ef}): it found {self.recall:.2%} of the nearest "
            f"when measured on {self.measured:%Y-%m-%d} with {self.sample:,} of then {self.crops:,} crops"
        )


def least_sure(parts: Iterable[Approximate | None]) -> Approximate | None:
    """Of parts of one answer what holds for all: the lowest recall, None where all are exact."""
    return min((one for one in parts if one is not None), key=lambda one: one.recall, default=None)


@dataclass(frozen=True)
class Found:
    """The answer to a search.

    Attributes:
        hits: For each query its nearest crops, nearest first, ties by id.
        searched: How many crops passed the filter, and were all compared, unless the answer is approximate.
        notes: What is to be said of the answer: a part that did not answer, and why.
        approximate: The index that proposed them; None where the answer is exact.
        partial: The parts that did not answer, by their addresses.
    """

    hits: tuple[tuple[Hit, ...], ...]
    searched: int
    notes: tuple[str, ...] = ()
    approximate: Approximate | None = None
    partial: tuple[str, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """What an erasure did, and what it cannot reach.

    Attributes:
        action: erase or expire.
        crops: How many crops went.
        time: When it was done.
        done: What was removed where, in words.
        beyond: What it cannot reach, in words.
        left: What could not be done now, in words; empty when all is done.
        id: Under which the audit keeps it, see `receipts.keep`; empty where it does not.
    """

    action: str
    crops: int
    time: datetime
    done: tuple[str, ...]
    beyond: tuple[str, ...]
    left: tuple[str, ...] = ()
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """The receipt as plain JSON values."""
        return {
            "id": self.id,
            "action": self.action,
            "crops": self.crops,
            "time": self.time.isoformat(),
            "done": list(self.done),
            "beyond": list(self.beyond),
            "left": list(self.left),
        }


@dataclass(frozen=True)
class Erasures:
    """What a store refuses: marks of erased pixels under a secret key, see `record.erased_mark`."""

    key: bytes
    marks: frozenset[bytes]


@dataclass(frozen=True)
class Report:
    """What a verification found.

    Attributes:
        crops: How many were looked at.
        problems: What is not as it was written; empty when all is well.
        notes: What else is to be said, a cache that was rebuilt for instance.
    """

    crops: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {"crops": self.crops, "problems": list(self.problems), "notes": list(self.notes)}


@dataclass(frozen=True)
class Summary:
    """What a store holds.

    Attributes:
        crops: How many.
        cameras: Crops of every camera, by its name.
        modalities: Crops of every modality.
        tracklets: How many.
        first: Time of the earliest crop.
        last: Time of the latest.
        bytes: What it takes on disk.
    """

    crops: int
    cameras: Mapping[str, int]
    modalities: Mapping[str, int]
    tracklets: int
    first: datetime | None
    last: datetime | None
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {
            "crops": self.crops,
            "cameras": dict(self.cameras),
            "modalities": dict(self.modalities),
            "tracklets": self.tracklets,
            "first": None if self.first is None else self.first.isoformat(),
            "last": None if self.last is None else self.last.isoformat(),
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class AuditRow:
    """Something that was done with a store: when, what, why, and its figures; never a picture or a vector."""

    number: int
    time: datetime
    action: str
    purpose: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON values, its figures beside the rest."""
        return {
            "number": self.number,
            "time": self.time.isoformat(),
            "action": self.action,
            "purpose": self.purpose,
            **self.detail,
        }


class Store(Protocol):
    """Crops with their vectors.

    Every store gives equal answers to the last tie: distances are those of `vectors.distances`, on vectors as
    `vectors.stored` makes them. What is acknowledged, by returning, is durable; what is not happened whole or not
    at all. A store may be used from several threads. Errors are `IvreidError`s that name the store.
    """

    @property
    def address(self) -> str:
        """The folder or URL it was opened by, without passwords."""
        ...

    @property
    def binding(self) -> Binding:
        """The model whose vectors it holds."""
        ...

    def weights(self) -> Path:
        """A local file with the model's weights."""
        ...

    def add(
        self, crops: Sequence[Crop], vectors: Any, pictures: Sequence[bytes | None] | None = None
    ) -> Added:
        """Add crops with their vectors (N, D), and their encoded pictures if any; one that is there stays as it was.

        Raises:
            DataError: Unequal numbers, vectors of another dimension, or no space: nothing was added.
        """
        ...

    def search(self, queries: Any, where: Where = EVERYTHING, k: int = 20) -> Found:
        """The k nearest crops of each query (Q, D) among those that pass the filter."""
        ...

    def get(self, ids: Collection[str]) -> dict[str, Crop]:
        """The crops of these ids, as far as they are there."""
        ...

    def known(self, crops: Sequence[Crop]) -> Added:
        """What `add` would say of these crops, without adding any (`added` are those that are new)."""
        ...

    def picture(self, address: str) -> bytes | None:
        """The encoded picture of a crop by its random address; None where there is none."""
        ...

    def iterate(
        self, where: Where = EVERYTHING, *, batch: int = 1000
    ) -> Iterator[tuple[tuple[Crop, ...], HalfArray, tuple[bytes | None, ...]]]:
        """Every crop that passes, with its stored vector and picture, in batches and in no particular order."""
        ...

    def count(self, where: Where = EVERYTHING, *, tracklets: bool = False) -> int:
        """How many crops pass; or how many tracklets they make, a crop without one counting as one."""
        ...

    def cameras(self) -> tuple[str, ...]:
        """The names of all cameras of which it holds a crop."""
        ...

    def has_tracklets(self) -> bool:
        """Whether any crop belongs to a tracklet."""
        ...

    def summary(self) -> Summary:
        """What it holds."""
        ...

    def delete(self, where: Where) -> int:
        """Take crops out of every answer; says how many. They may be added again."""
        ...

    def erase(self, where: Where) -> Receipt:
        """Remove crops so that no file of the store holds their vectors or pictures; their pixels are refused ever after."""
        ...

    def erasures(self) -> tuple[Erasures, ...]:
        """What it refuses, its own first, so that a copy refuses it too."""
        ...

    def inherit(self, erasures: Sequence[Erasures]) -> None:
        """Refuse from now on what another store refuses."""
        ...

    def expire(self, older_than: datetime) -> Receipt:
        """Remove crops taken before a time, as `erase` does; they may be added again."""
        ...

    def verify(self, *, progress: Progress | None = None) -> Report:
        """Compare everything that is held with what was written."""
        ...

    def compact(self) -> None:
        """Make the next opening and search as fast as they can be."""
        ...

    def record(self, action: str, *, purpose: str = "", detail: Mapping[str, Any] | None = None) -> None:
        """Write a row into the audit, which no verb removes."""
        ...

    def audit(self, *, last: int | None = None, action: str | None = None) -> tuple[AuditRow, ...]:
        """The audit's rows, all or of one action, or the last of them, oldest first."""
        ...

    def close(self) -> None:
        """Let go of files and connections; a second time does nothing."""
        ...
