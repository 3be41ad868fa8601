"""What a ranking says beyond its figures: people who are absent, mixed galleries, galleries of other sizes.

Blocks of plain JSON that stand in a result's `extra`, and a note in words for each:

    open_set       of an `OpenSet`: {"absent_queries", "present_queries", "rates": {"0.01": {"rank1": {"mean", "std"}}}}
    modality       of a `MixedGallery`: [{"k", "own", "expected", "own_strangers", "expected_strangers"}]
    gallery_sizes  [{"size", "rank1", "rank5", "rank10", "rank20"}]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ivreid.analysis.full_evaluation import evaluate_in_full
from ivreid.metrics import rank_queries
from ivreid.metrics.bootstrap import DoubleArray
from ivreid.metrics.distances import Distances
from ivreid.metrics.verification import threshold_at_fpr
from ivreid.protocols.base import Protocol, Trial
from ivreid.protocols.fixed_trial import DistanceMatrix, Scored
from ivreid.protocols.mixed_gallery import MixedGallery
from ivreid.protocols.open_set import OpenSet
from ivreid.protocols.result import Result
from ivreid.protocols.trials import Distance, distance_blocks
from ivreid.types import ImageTable

FPIRS = (0.01, 0.05, 0.1, 0.3)
RANKS = (1, 5, 10, 20)
SIZES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
PLACES = (1, 10, 20)
_BLOCK = 1 << 22
"""Distances held at a time."""


@dataclass(frozen=True, eq=False)
class _Block:
    """Some queries of a trial: distances are infinite where a pair is excluded."""

    query: ImageTable
    gallery: ImageTable
    distances: NDArray[Any]
    excluded: NDArray[np.bool_]


def variants(protocol: Protocol, *, open_set: bool, mixed: bool = False) -> list[Protocol]:
    """The protocol, or what was asked for in its place."""
    found: list[Protocol] = [OpenSet.of(protocol)] if open_set else []
    found += [MixedGallery.of(protocol)] if mixed else []
    return found or [protocol]


def evaluate_beyond(
    embeddings: Scored,
    protocol: Protocol,
    *,
    metric: str = "cosine",
    distance: Distance | None = None,
    gallery_sizes: bool = False,
    **settings: Any,
) -> Result:
    """`evaluate_in_full`, with the blocks that the protocol calls for.

    Args:
        embeddings: What is evaluated.
        protocol: Any; an `OpenSet` or a `MixedGallery` gets a block of its own.
        metric: "cosine" or "euclidean".
        distance: A re-ranking instead.
        gallery_sizes: Whether to say how the ranks would be in smaller galleries.
        **settings: Of `evaluate_in_full`.

    Raises:
        ProtocolError: Images that do not fit the protocol, or no query with a true match.
        UsageError: An unknown metric.
    """
    result = evaluate_in_full(embeddings, protocol, metric=metric, distance=distance, **settings)
    wanted: list[_Open | _Modality | _Sizes] = []
    if isinstance(protocol, OpenSet):
        wanted.append(_Open(protocol))
    if isinstance(protocol, MixedGallery):
        wanted.append(_Modality())
    if gallery_sizes:
        wanted.append(_Sizes(protocol))
    for trial in protocol.trials(embeddings.images) if wanted else ():
        for block in _blocks(embeddings, protocol, trial, metric, distance):
            for one in wanted:
                one.add(block)
        for one in wanted:
            one.end_trial()
    extra = {one.key: one.to_json() for one in wanted}
    notes = tuple(note for one in wanted if (note := one.note()))
    return replace(result, extra={**result.extra, **extra}, notes=(*result.notes, *notes))


def _blocks(
    embeddings: Scored, protocol: Protocol, trial: Trial, metric: str, distance: Distance | None
) -> Iterator[_Block]:
    gallery = embeddings.images.take(trial.gallery)
    if isinstance(embeddings, DistanceMatrix) or distance is not None:
        parts = distance_blocks(embeddings, trial, distance)
    else:
        measure = Distances(embeddings.vectors[trial.gallery], metric, allow_zero=True)
        height = max(1, _BLOCK // max(1, len(gallery)))
        vectors = embeddings.vectors
        parts = (
            (slice(start, start + height), measure(vectors[trial.query[start : start + height]]))
            for start in range(0, len(trial.query), height)
        )
    for rows, distances in parts:
        query = embeddings.images.take(trial.query[rows])
        excluded = protocol.excluded(query, gallery)
        if excluded is None:
            excluded = np.zeros((len(query), len(gallery)), dtype=np.bool_)
        yield _Block(query, gallery, np.where(excluded, np.inf, distances), excluded)


def _first_ranks(block: _Block, protocol: Protocol) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(Q,) whether there is a true match, and the rank of the first one."""
    finite = np.where(block.excluded, 0.0, block.distances)
    outcomes = rank_queries(finite, block.query.pids, block.gallery.pids, block.excluded)
    return outcomes.valid, outcomes.first(protocol.cmc)


class _Open:
    """The rate of detection and identification at rates of false acceptance (Liao et al., arXiv:1408.0872).

    A threshold is the largest distance at which no more than this share of the queries of absent people have an
    image within it. A query whose person is there counts where its true match stands among the first k and within it.
    """

    key = "open_set"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._nearest: list[DoubleArray] = []
        self._present: list[tuple[DoubleArray, NDArray[np.int64]]] = []
        self._rates: dict[float, list[list[float]]] = {fpir: [] for fpir in FPIRS}
        self._counts: list[tuple[int, int]] = []

    def add(self, block: _Block) -> None:
        absent = ~np.isin(block.query.pids, block.gallery.pids)
        self._nearest.append(block.distances[absent].min(axis=1))
        valid, first = _first_ranks(block, self._protocol)
        own = np.where(block.query.pids[:, None] == block.gallery.pids, block.distances, np.inf).min(axis=1)
        self._present.append((own[valid], first[valid]))

    def end_trial(self) -> None:
        nearest = np.concatenate(self._nearest)
        nearest = nearest[np.isfinite(nearest)]
        own, first = (np.concatenate([part[i] for part in self._present]) for i in (0, 1))
        self._counts.append((len(nearest), len(own)))
        for fpir, rates in self._rates.items():
            if len(nearest) * fpir >= 1 and len(own):
                within = own <= threshold_at_fpr(nearest, fpir)
                rates.append([float((within & (first <= rank)).mean()) for rank in RANKS])
        self._nearest, self._present = [], []

    def to_json(self) -> dict[str, Any]:
        absent, present = np.mean(self._counts, axis=0)
        rates = {
            f"{fpir:g}": {
                f"rank{rank}": {
                    "mean": float(np.mean([trial[i] for trial in trials])),
                    "std": float(np.std([trial[i] for trial in trials])),
                }
                for i, rank in enumerate(RANKS)
            }
            for fpir, trials in self._rates.items()
            if len(trials) == len(self._counts)
        }
        return {"absent_queries": float(absent), "present_queries": float(present), "rates": rates}

    def note(self) -> str:
        found = self.to_json()
        parts = [
            f"{100 * rates['rank1']['mean']:.1f} ± {100 * rates['rank1']['std']:.1f}% where {float(fpir):.0%} of "
            "the absent are taken for somebody"
            for fpir, rates in found["rates"].items()
        ]
        listed = "; ".join(parts) or "too few queries of absent people to show any rate"
        return (
            f"open set (Liao et al., arXiv:1408.0872), {found['present_queries']:,.0f} queries of people in the gallery and "
            f"{found['absent_queries']:,.0f} of absent ones; detected and identified at rank 1: {listed}. The table's "
            "figures are those of people in the gallery, without a threshold"
        )


class _Modality:
    """How much a mixed gallery's list prefers the query's own modality."""

    key = "modality"

    def __init__(self) -> None:
        self._sums = np.zeros((len(PLACES), 4))
        self._queries = np.zeros((len(PLACES), 2))

    def add(self, block: _Block) -> None:
        own = block.gallery.infrared == block.query.infrared[:, None]
        other = block.query.pids[:, None] != block.gallery.pids
        for column, counted in ((0, ~block.excluded), (2, ~block.excluded & other)):
            distances = np.where(counted, block.distances, np.inf)
            order = np.argsort(distances, axis=1, kind="stable")[:, : max(PLACES)]
            nearest = np.take_along_axis(own, order, axis=1)
            there = np.take_along_axis(counted, order, axis=1)
            total = counted.sum(axis=1)
            share = (own & counted).sum(axis=1) / np.maximum(total, 1)
            for row, place in enumerate(PLACES):
                whole = total > 0
                among = there[:, :place].sum(axis=1)
                hits = (nearest & there)[:, :place].sum(axis=1) / np.maximum(among, 1)
                self._sums[row, column] += hits[whole].sum()
                self._sums[row, column + 1] += share[whole].sum()
                self._queries[row, column // 2] += whole.sum()

    def end_trial(self) -> None:
        """Nothing is kept apart by trial."""

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {
                "k": place,
                "own": float(self._sums[row, 0] / self._queries[row, 0]),
                "expected": float(self._sums[row, 1] / self._queries[row, 0]),
                "own_strangers": float(self._sums[row, 2] / max(1, self._queries[row, 1])),
                "expected_strangers": float(self._sums[row, 3] / max(1, self._queries[row, 1])),
            }
            for row, place in enumerate(PLACES)
        ]

    def note(self) -> str:
        first = self.to_json()[0]
        return (
            f"mixed gallery (Alehdaghi et al., arXiv:2501.13307): {first['own']:.1%} of first places show the query's own "
            f"modality, which is {first['expected']:.1%} of the gallery; the nearest stranger is of it for "
            f"{first['own_strangers']:.1%}"
        )


class _Sizes:
    """The ranks expected where only some of the wrong entries stood in the gallery, all draws of them counted alike.

    Entries are images under the CMC rule `image`, people under `identity`. With h of D wrong entries before the first
    match, and n of the D kept, fewer than k of the h are among them with the hypergeometric probability.
    """

    key = "gallery_sizes"

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._ahead: list[NDArray[np.int64]] = []
        self._wrong: list[NDArray[np.int64]] = []

    def add(self, block: _Block) -> None:
        valid, first = _first_ranks(block, self._protocol)
        wrong = ~block.excluded & (block.query.pids[:, None] != block.gallery.pids)
        wrong |= ~block.excluded & (block.gallery.pids < 0)
        if self._protocol.cmc == "identity":
            pids = np.where(block.gallery.pids < 0, -1 - np.arange(len(block.gallery)), block.gallery.pids)
            order = np.argsort(pids, kind="stable")
            starts = np.flatnonzero(np.r_[True, np.diff(pids[order]) != 0])
            count = np.logical_or.reduceat(wrong[:, order], starts, axis=1).sum(axis=1)
        else:
            count = wrong.sum(axis=1)
        self._ahead.append(first[valid] - 1)
        self._wrong.append(count[valid])

    def end_trial(self) -> None:
        """Nothing is kept apart by trial."""

    def to_json(self) -> list[dict[str, Any]]:
        ahead, wrong = np.concatenate(self._ahead), np.concatenate(self._wrong)
        most = int(wrong.min())
        sizes = [size for size in SIZES if size <= most]
        sizes = sizes if sizes and sizes[-1] == most else [*sizes, most]
        return [
            {"size": size, **{f"rank{rank}": _kept(ahead, wrong, size, rank) for rank in RANKS}}
            for size in sizes
        ]

    def note(self) -> str:
        unit = "people" if self._protocol.cmc == "identity" else "images"
        listed = ", ".join(f"{one['size']:,}: {one['rank1']:.1%}" for one in self.to_json())
        return f"Rank-1 expected among so many wrong {unit}: {listed}"


def _kept(ahead: NDArray[np.int64], wrong: NDArray[np.int64], size: int, rank: int) -> float:
    """The mean chance that fewer than `rank` of the `ahead` wrong entries are among `size` of all `wrong`."""

    def log_choose(n: NDArray[Any], k: NDArray[Any]) -> NDArray[Any]:
        fits = (k >= 0) & (k <= n)
        safe = np.where(fits, k, 0)
        log = special.gammaln(n + 1) - special.gammaln(safe + 1) - special.gammaln(n - safe + 1)
        return np.where(fits, log, -np.inf)

    whole = log_choose(wrong, np.full_like(wrong, size))
    chance = np.zeros(len(ahead))
    for j in range(rank):
        chance += np.exp(
            log_choose(ahead, np.full_like(ahead, j))
            + log_choose(wrong - ahead, size - np.full_like(ahead, j))
            - whole
        )
    return float(np.minimum(chance, 1).mean())
