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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.distances import PreparedVectors, Vectors
from ivreid.retrieval.kreciprocal import Codes, check_both, counting, encode, expand, mean_of, mixed_distances
from ivreid.retrieval.nearest import nearest
from ivreid.retrieval.reranker import QUERY, Reranker
from ivreid.types import Progress


@dataclass(frozen=True)
class QueryReciprocal(Reranker):
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
    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    metric: str = "cosine"

    def __post_init__(self) -> None:
        self.at_least_one("k1", "k2")
        self.share("weight")

    def __call__(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """The (Q, G) float32 re-ranked distances, in [0, 1]; arguments and errors as `Reranker`."""
        out = np.empty((len(query), len(gallery)), dtype=np.float32)
        for start, block in self.blocks(query, gallery, progress=progress):
            out[start : start + len(block)] = block
        return out

    def blocks(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The same distances as (first query row, (q, G) block) pairs.

        Raises:
            DataError: As for the call.
        """
        check_both(query, gallery)
        space = PreparedVectors.of(np.concatenate([query, gallery]), self.metric, "vectors")
        tick = counting(progress, len(space), len(query))
        codes = query_codes(space, len(query), self.k1, self.k2, progress=tick(0))
        yield from mixed_distances(space, len(query), codes, self.weight, tick(len(space)))


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
    far = np.concatenate([part.farthest for part in nearest(asking, asked, 1)])
    others = min(max(k1, k2 - 1), queries - 1)
    neighbours = np.empty((queries, 0), dtype=np.int64)
    if others:
        parts = list(nearest(asking, asking, others, skip_self=True, progress=progress))
        neighbours = np.concatenate([part.indices for part in parts])
        far = np.maximum(far, np.concatenate([part.farthest for part in parts]))
    farthest = np.where(far > 0, far, 1.0)
    single = encode(asking, neighbours[:, :k1], farthest, overlap=overlap)
    nearby = np.concatenate([part.indices for part in nearest(asked, asking, min(k2, queries))])
    return Codes(expand(single, neighbours[:, : k2 - 1]), mean_of(single, nearby), farthest)
