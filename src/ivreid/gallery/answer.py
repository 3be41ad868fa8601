"""What a search answers: hits with what is known of them, and words for what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ivreid.analysis.decisions import Decision
from ivreid.gallery.record import Crop
from ivreid.gallery.store import Approximate, Store
from ivreid.gallery.topology import Travel
from ivreid.gallery.where import EVERYTHING, Where


@dataclass(frozen=True)
class Match:
    """A crop that a search found; where hits are tracklets, the nearest crop of one.

    Attributes:
        crop: What is known of it.
        distance: 1 - cosine.
        decision: What it is said to be, with the interval and why.
        travel: Whether there was time to come from the query's camera; None where no travel times were given.
    """

    crop: Crop
    distance: float
    decision: Decision
    travel: Travel | None = None

    def to_json(self) -> dict[str, Any]:
        """The hit as plain JSON values."""
        return {
            "id": self.crop.id,
            "distance": self.distance,
            "camera": self.crop.camera,
            "time": self.crop.time.isoformat(),
            "modality": self.crop.modality.value,
            "source": self.crop.source,
            "decision": self.decision.decision,
            "interval": self.decision.to_json()["fpir"],
            "why": self.decision.why,
            **({} if self.travel is None else {"travel": self.travel.to_json()}),
        }


@dataclass(frozen=True)
class Answered:
    """The answer to one query.

    Attributes:
        query: Its name.
        hits: The nearest, nearest first, ties by id.
        searched: How many crops were compared with it.
        units: How many tracklets those are where hits are tracklets, else `searched`.
    """

    query: str
    hits: tuple[Match, ...]
    searched: int
    units: int


@dataclass(frozen=True)
class Answer:
    """The answer to a search.

    Attributes:
        results: One a query, or a single one where several crops of one person were fused.
        by_tracklet: Whether hits are tracklets.
        notes: What is to be said of all: which filter left nothing, a partial answer.
        approximate: The index that proposed hits, with its measured recall; None where the answer is exact.
        partial: The shards that did not answer, by their addresses: what lies there was not searched.
    """

    results: tuple[Answered, ...]
    by_tracklet: bool = False
    notes: tuple[str, ...] = ()
    approximate: Approximate | None = None
    partial: tuple[str, ...] = ()

    @property
    def searched(self) -> int:
        """How many crops were compared; where queries had different filters, the most."""
        return max((one.searched for one in self.results), default=0)

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values; `approximate`, `partial` and `notes` only where there are any."""
        results = [{"query": one.query, "hits": [hit.to_json() for hit in one.hits]} for one in self.results]
        return {
            "searched": self.searched,
            "results": results,
            **({} if self.approximate is None else {"approximate": self.approximate.to_json()}),
            **({"partial": list(self.partial)} if self.partial else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }


def why_empty(store: Store, where: Where) -> str:
    """Which condition of a filter leaves nothing to search."""
    before = store.count(EVERYTHING)
    if not before:
        return f"the gallery {store.address} is empty; `ivreid gallery add` fills it"
    for said, so_far in where.conditions():
        count = store.count(so_far)
        if not count:
            return f"nothing was searched: of {before:,} crops that passed so far, none is left by: {said}"
        before = count
    return ""
