"""Which ranked lists a report shows: a fair spread over all queries, and the hardest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError
from ivreid.metrics import Outcomes, rank_queries
from ivreid.metrics.distances import pairwise
from ivreid.report.inputs import AllQueries, Hit, RankedLists, RankedQuery, ShownImage
from ivreid.types import BoolArray, Embeddings, ImageTable, IntArray

BLOCK = 512
"""Queries ranked at a time: bounds memory at BLOCK x gallery distances."""
TOP = 10
MOST_QUERIES = 5000
"""Queries that a page lists; of more, an even share from the hardest to the easiest."""


def choose_lists(
    query: Embeddings,
    gallery: Embeddings,
    excluded: BoolArray | None,
    *,
    title: str,
    metric: str = "cosine",
    shown: int = 8,
) -> RankedLists:
    """Rank every query and choose the lists to show.

    Args:
        query: Query embeddings of one trial.
        gallery: Gallery embeddings of that trial.
        excluded: (Q, G) True where a gallery image does not count for a query, or None.
        title: The protocol setting, for the caption.
        metric: "cosine" or "euclidean".
        shown: Lists in the fair sample, and lists among the worst.

    Raises:
        DataError: No query has a true match in its gallery, or the mask does not fit.
        UsageError: Unknown metric.
    """
    ranker = _Ranker(query, gallery, excluded, metric)
    outcomes, hits, near = ranker.rank_all()
    valid = np.flatnonzero(outcomes.valid)
    if not len(valid):
        raise DataError("no query has a true match in its gallery, so there is no ranked list to show")
    first = outcomes.first_image
    ordered = valid[np.lexsort((valid, first[valid], -outcomes.ap[valid]))]
    # the middles of equal shares of the queries, from the easiest to the hardest
    middles = (
        ((np.arange(shown) + 0.5) / shown * len(valid)).astype(np.int64)
        if shown < len(valid)
        else slice(None)
    )
    return RankedLists(
        title=title,
        queries=len(valid),
        missed=int((first[valid] > 1).sum()),
        sample=tuple(ranker.list(int(row), outcomes) for row in ordered[middles]),
        everyone=_everyone(ranker, outcomes, ordered[::-1], hits, near),
        worst=tuple(ranker.list(row, outcomes) for row in _worst(ordered, first, query.images, shown)),
    )


def rank_heads(
    query: Embeddings, gallery: Embeddings, excluded: BoolArray | None, metric: str = "cosine"
) -> tuple[Outcomes, IntArray, NDArray[np.float64]]:
    """What became of every query, the heads of their lists as rows of the gallery, and the distances there.

    Args and errors as for `choose_lists`; a list that ends early is filled with -1.
    """
    return _Ranker(query, gallery, excluded, metric).rank_all()


def _everyone(
    ranker: _Ranker,
    outcomes: Outcomes,
    hardest_first: IntArray,
    hits: IntArray,
    distances: NDArray[np.float64],
) -> AllQueries:
    rows = hardest_first
    if len(rows) > MOST_QUERIES:
        rows = rows[np.arange(MOST_QUERIES) * len(rows) // MOST_QUERIES]
    query, gallery = ranker.query.images, ranker.gallery.images
    return AllQueries(
        queries=tuple(shown_image(query, int(row)) for row in rows),
        gallery=tuple(shown_image(gallery, row) for row in range(len(gallery))),
        average_precision=outcomes.ap[rows],
        first_match=outcomes.first_image[rows],
        hits=hits[rows],
        distances=distances[rows],
        left_out=len(hardest_first) - len(rows),
    )


def _worst(ordered: IntArray, first: IntArray, images: ImageTable, shown: int) -> Iterator[int]:
    """The hardest missed queries, one an identity: ten pictures of one difficult coat would teach little."""
    seen: set[int] = set()
    for row in ordered[::-1]:
        pid = int(images.pids[row])
        if len(seen) < shown and first[row] > 1 and pid not in seen:
            seen.add(pid)
            yield int(row)


@dataclass(frozen=True)
class _Ranker:
    """Distances and true matches of any query rows against one gallery."""

    query: Embeddings
    gallery: Embeddings
    excluded: BoolArray | None
    metric: str

    def __post_init__(self) -> None:
        shape = (len(self.query), len(self.gallery))
        if self.excluded is not None and self.excluded.shape != shape:
            raise DataError(f"the exclusion mask has shape {self.excluded.shape}, expected {shape}")

    def distances(self, rows: IntArray) -> NDArray[np.float64]:
        """(R, G) distances."""
        return pairwise(self.query.vectors[rows], self.gallery.vectors, self.metric)

    def rank_all(self) -> tuple[Outcomes, IntArray, NDArray[np.float64]]:
        """`rank` of every query."""
        blocks = [np.arange(at, min(at + BLOCK, len(self.query))) for at in range(0, len(self.query), BLOCK)]
        outcomes, hits, near = zip(*map(self.rank, blocks), strict=True)
        return Outcomes.concatenate(outcomes), np.concatenate(hits), np.concatenate(near)

    def rank(self, rows: IntArray) -> tuple[Outcomes, IntArray, NDArray[np.float64]]:
        """What became of some queries, the heads of their lists (-1 beyond the end), and the distances there."""
        excluded = None if self.excluded is None else self.excluded[rows]
        distances = self.distances(rows)
        pids = self.query.images.pids[rows], self.gallery.images.pids
        outcomes = rank_queries(distances, *pids, excluded)
        allowed = distances if excluded is None else np.where(excluded, np.inf, distances)
        # ties at the last place may fall either way, within the head they stand in gallery order
        most = min(TOP, allowed.shape[1])
        head = np.sort(np.argpartition(allowed, most - 1, axis=1)[:, :most], axis=1)
        near = np.take_along_axis(allowed, head, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        head, near = np.take_along_axis(head, order, axis=1), np.take_along_axis(near, order, axis=1)
        return outcomes, np.where(np.isfinite(near), head, -1), near

    def list(self, row: int, outcomes: Outcomes) -> RankedQuery:
        """The head of one query's list, and its first true match."""
        distances = self.distances(np.array([row]))[0]
        order = np.argsort(distances, kind="stable")
        if self.excluded is not None:
            order = order[~self.excluded[row][order]]
        right = self.gallery.images.pids[order] == self.query.images.pids[row]

        def hit(place: int) -> Hit:
            at = int(order[place])
            return Hit(
                place + 1, shown_image(self.gallery.images, at), float(distances[at]), bool(right[place])
            )

        return RankedQuery(
            query=shown_image(self.query.images, row),
            hits=tuple(hit(place) for place in range(min(TOP, len(order)))),
            first_match=hit(int(outcomes.first_image[row]) - 1),
            average_precision=float(outcomes.ap[row]),
            matches=int(right.sum()),
        )


def shown_image(images: ImageTable, row: int) -> ShownImage:
    """One row of an image table as a page names it."""
    path = images.paths[row] if images.paths else ""
    return ShownImage(path, int(images.pids[row]), int(images.camids[row]), bool(images.infrared[row]))
