"""What became of every query in every trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import UsageError
from ivreid.machine import available_cores
from ivreid.metrics.distances import GalleryProducts, MatrixProduct, check_metric, product_on_cpu
from ivreid.metrics.identities import Identities
from ivreid.metrics.outcomes import Outcomes, rank_block, rank_queries
from ivreid.metrics.ties import TieExpectations, expect_ties, expect_ties_of_matrix
from ivreid.protocols.base import Protocol, Trial, canonical_order, in_order_of
from ivreid.protocols.fixed_trial import DistanceMatrix, Scored
from ivreid.types import Embeddings, FloatArray, IntArray, Progress

Precision = Literal["double", "single"]
Distance = Callable[[FloatArray, FloatArray], NDArray[Any]]
"""Maps query vectors (Q, D) and gallery vectors (G, D) to distances (Q, G)."""

_WIDE = 1 << 24  # bytes of products made at a time, kept in the level-3 cache until every trial has used them
_LEAST_QUERIES = 256  # a narrower product would leave the processor idle
_NARROW = 1 << 20  # bytes of distances ranked at a time, in a level-2 cache
_MOST_THREADS = 8


@dataclass(frozen=True, eq=False)
class TrialOutcomes:
    """One trial and what became of each of its queries.

    Attributes:
        trial: The rows of queries and gallery.
        outcomes: One entry per query, in the order of `trial.query`.
        ties: What the order of tied images decided, for the queries where it did.
    """

    trial: Trial
    outcomes: Outcomes
    ties: TieExpectations


class Ids(NamedTuple):
    """The identities and cameras of some images."""

    pids: IntArray
    camids: IntArray

    def take(self, rows: Any) -> Ids:
        """Those of the given rows."""
        return Ids(self.pids[rows], self.camids[rows])


def run_trials(
    embeddings: Scored,
    protocol: Protocol,
    *,
    metric: str = "cosine",
    precision: Precision = "double",
    distance: Distance | None = None,
    product: MatrixProduct = product_on_cpu,
    progress: Progress | None = None,
) -> tuple[TrialOutcomes, ...]:
    """Rank every query of every trial.

    Trials that share their queries share one matrix product, to the union of their galleries.

    Args:
        embeddings: All images the protocol may draw from; or their distances, and then metric, precision and
            product have no say.
        protocol: Who queries whom.
        metric: "cosine", or "euclidean" on the vectors as given.
        precision: "double" computes distances in float64. "single" takes half the time; distances that agree
            in about six digits may then change places, as they do in code that works in float32.
        distance: Replaces metric and precision, e.g. by a re-ranking of whole lists; called once per trial.
        product: Computes the products, on a GPU for instance.
        progress: Called with (queries done, queries in all); trials that share their queries count once.

    Raises:
        UsageError: An unknown metric or precision, or a re-ranking of ready distances.
        ProtocolError: Images that do not fit the protocol.
    """
    if isinstance(embeddings, DistanceMatrix):
        if distance is not None:
            raise UsageError("a re-ranking needs the embeddings, not their distances")
    else:
        check_metric(metric)
    if precision not in ("double", "single"):
        raise UsageError(f"unknown precision {precision!r}; it is double or single")
    trials = protocol.trials(embeddings.images)
    ids = Ids(embeddings.images.pids, embeddings.images.camids)
    ranked: dict[Trial, tuple[Outcomes, TieExpectations]] = {}
    whole = distance is not None or isinstance(embeddings, DistanceMatrix)
    groups = [[trial] for trial in trials] if whole else _sharing_queries(trials)
    total, done = sum(len(group[0].query) for group in groups), 0
    for group in groups:

        def tick(queries: int, before: int = done) -> None:
            if progress is not None:
                progress(before + queries, total)

        if isinstance(embeddings, DistanceMatrix) or distance is not None:
            blocks = distance_blocks(embeddings, group[0], distance)
            ranked[group[0]] = _rank_blocks(blocks, protocol, ids, group[0], tick)
        else:
            products = _products(embeddings, group, metric, precision, product)
            ranked |= _rank_group(products, protocol, ids, group, tick)
        done += len(group[0].query)
    return tuple(TrialOutcomes(trial, *ranked[trial]) for trial in trials)


def _sharing_queries(trials: Sequence[Trial]) -> list[list[Trial]]:
    groups: dict[bytes, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.query.tobytes(), []).append(trial)
    return list(groups.values())


def distance_blocks(
    source: Scored, trial: Trial, distance: Distance | None
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The trial's distances: as they were given, some queries at a time, or by `distance`, which needs whole lists."""
    if not isinstance(source, DistanceMatrix):
        assert distance is not None
        found = distance(source.vectors[trial.query], source.vectors[trial.gallery])
        yield slice(0, len(trial.query)), np.asarray(found)
        return
    height = max(1, _WIDE // (8 * len(trial.gallery)))
    for start in range(0, len(trial.query), height):
        rows = slice(start, min(start + height, len(trial.query)))
        yield rows, source.between(trial.query[rows], trial.gallery)


def _rank_blocks(
    blocks: Iterator[tuple[slice, NDArray[Any]]],
    protocol: Protocol,
    ids: Ids,
    trial: Trial,
    tick: Callable[[int], None],
) -> tuple[Outcomes, TieExpectations]:
    gallery = ids.take(trial.gallery)
    parts, ties = [], []
    for rows, distances in blocks:
        query = ids.take(trial.query[rows])
        excluded = protocol.excluded(query, gallery)
        outcomes = rank_queries(distances, query.pids, gallery.pids, excluded)
        parts.append(outcomes)
        found = expect_ties_of_matrix(distances, query.pids, gallery.pids, excluded, outcomes)
        ties.append(replace(found, rows=found.rows + rows.start))
        tick(rows.stop)
    return Outcomes.concatenate(parts), TieExpectations.concatenate(ties)


def _products(
    embeddings: Embeddings, group: Sequence[Trial], metric: str, precision: Precision, product: MatrixProduct
) -> GalleryProducts:
    needed = np.concatenate([trial.gallery for trial in group])
    union = in_order_of(canonical_order(embeddings.images), needed)
    dtype = np.float64 if precision == "double" else np.float32
    return GalleryProducts(embeddings.vectors, union, metric, dtype, product)


class _Ranker:
    """Ranks blocks of queries against one trial's gallery."""

    def __init__(self, protocol: Protocol, ids: Ids, trial: Trial, products: GalleryProducts) -> None:
        self._protocol, self._query = protocol, ids.take(trial.query)
        self._gallery = ids.take(trial.gallery)
        self._places = products.places(trial.gallery)
        self._identities = Identities.of(self._gallery.pids)
        self._wanted = self._identities.find(self._query.pids)
        self.height = max(16, _NARROW // (len(trial.gallery) * products.itemsize))

    def rank(self, distances: NDArray[Any], start: int, block: slice) -> tuple[Outcomes, TieExpectations]:
        """Outcomes of the queries `start + block`, from the columns `block` of `distances` (U', B)."""
        own = distances[self._places, block]
        queries = slice(start + block.start, start + block.start + own.shape[1])
        forbidden = self._protocol.excluded(self._query.take(queries), self._gallery)
        if forbidden is not None:
            own[forbidden.T] = np.inf
        outcomes = rank_block(own.T, self._wanted[queries], self._identities)
        ties = expect_ties(own.T, self._wanted[queries], self._identities, outcomes)
        return outcomes, replace(ties, rows=ties.rows + queries.start)


def _rank_group(
    products: GalleryProducts,
    protocol: Protocol,
    ids: Ids,
    group: Sequence[Trial],
    tick: Callable[[int], None],
) -> dict[Trial, tuple[Outcomes, TieExpectations]]:
    rankers = [_Ranker(protocol, ids, trial, products) for trial in group]
    parts: list[list[tuple[Outcomes, TieExpectations]]] = [[] for _ in group]
    query = group[0].query
    height = max(_LEAST_QUERIES, _WIDE // products.row_bytes)
    with ThreadPoolExecutor(min(_MOST_THREADS, available_cores())) as pool:
        for start in range(0, len(query), height):
            distances = products.distances(query[start : start + height])
            running = [
                [
                    pool.submit(ranker.rank, distances, start, slice(at, at + ranker.height))
                    for at in range(0, distances.shape[1], ranker.height)
                ]
                for ranker in rankers
            ]
            for part, futures in zip(parts, running, strict=True):
                part.extend(future.result() for future in futures)
            tick(min(start + height, len(query)))
    return {
        trial: (
            Outcomes.concatenate([one for one, _ in part]),
            TieExpectations.concatenate([t for _, t in part]),
        )
        for trial, part in zip(group, parts, strict=True)
    }
