"""Re-ranking by k-reciprocal encoding among the queries: no gallery image is anybody's neighbour.

As in `kreciprocal`, d(i, j) is the squared distance over the largest one of row i, over all images. Of a query i,
N(i, k) holds i and its k nearest OTHER QUERIES, and R*(i) and V[i] are made of these sets as there. Then

    V[i]  := mean of V over i and its k2 - 1 nearest other queries     (a query)
    V[g]  := mean of V over its k2 nearest queries                     (a gallery image)

and Jaccard and final distances are those of `kreciprocal`. Public programs of the field rank SYSU-MM01 so (`rank`
and `rerank` in IDKL's, MPANet's and MCJA's). The encoding lives on further queries of the same person: with one
query a person it is worse than no re-ranking. Where there are no k other queries, the sets hold those there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ivreid.metrics.distances import PreparedVectors
from ivreid.retrieval.kreciprocal import Codes, KReciprocal, encode, expand, mean_of
from ivreid.retrieval.nearest import all_nearest
from ivreid.retrieval.reranker import QUERY
from ivreid.types import Progress


@dataclass(frozen=True)
class QueryReciprocal(KReciprocal):
    """k-reciprocal re-ranking by the other queries alone, with its parameters.

    Attributes:
        k1: Other queries in the k-reciprocal sets.
        k2: Queries, a query itself included, over which encodings are averaged.
        weight: Share of the original distance in the final one (lambda).
        metric: "cosine" or "euclidean", the space the neighbours are taken in.

    Raises:
        UsageError: A parameter out of its range.
    """

    name: ClassVar[str] = "query-reciprocal"
    sees: ClassVar[str] = QUERY
    note: ClassVar[str] = (
        "each query was ranked with the help of the other test queries, most of all of further ones of its person: "
        "with one query at a time, as in use, there is no such help"
    )

    @property
    def encoder(self) -> Callable[..., Codes]:
        """Neighbours are queries."""
        return query_codes


def query_codes(
    space: PreparedVectors,
    queries: int,
    k1: int,
    k2: int,
    *,
    overlap: bool = True,
    progress: Progress | None = None,
) -> Codes:
    """Encode all images by neighbours among the queries; arguments as `pooled_codes`."""
    asking, asked = space.rows(slice(0, queries)), space.rows(slice(queries, None))
    far = all_nearest(asking, asked, 1).farthest
    others = min(max(k1, k2 - 1), queries - 1)
    neighbours = np.empty((queries, 0), dtype=np.int64)
    if others:
        found = all_nearest(asking, asking, others, skip_self=True, progress=progress)
        neighbours, far = found.indices, np.maximum(far, found.farthest)
    farthest = np.where(far > 0, far, 1.0)
    single = encode(asking, neighbours[:, :k1], farthest, overlap=overlap)
    nearby = all_nearest(asked, asking, min(k2, queries)).indices
    return Codes(expand(single, neighbours[:, : k2 - 1]), mean_of(single, nearby), farthest)
