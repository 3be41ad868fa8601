"""Re-ranking by k-reciprocal encoding, in blocks and with sparse neighbour sets.

Zhong, Zheng, Cao, Li: "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

All images, queries and gallery together, are points i with squared Euclidean distances (of unit vectors under
cosine); d(i, j) is that distance over the largest one of row i. With N(i, k) being i and its k nearest
others:

    R(i, k)  = {j in N(i, k) : i in N(j, k)}                                    (section 3.2)
    R*(i)    = R(i, k1) joined by every R(j, k1/2), j in R(i, k1),
               of which at least two thirds lie in R(i, k1)                     (section 3.2)
    V[i, j]  = exp(-d(i, j)) for j in R*(i), else 0; rows then sum to one       (section 3.3)
    V[i]    := mean of V over i and its k2 - 1 nearest others                   (section 3.4)
    jaccard  = 1 - sum_j min(V[i, j], V[g, j]) / sum_j max(V[i, j], V[g, j])    (section 3.3)
    distance = (1 - weight) * jaccard + weight * d                              (section 3.5)

Pooling queries with the gallery, counting an image as its own neighbour, and the two scalings are common
practice beyond the paper's text; k1/2 is rounded to the nearest whole number, halves to even. No camera rule
enters the neighbour sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ivreid.errors import DataError, UsageError
from ivreid.metrics.distances import PreparedVectors, Vectors, squared_distances
from ivreid.retrieval.nearest import nearest
from ivreid.types import Progress

_ROWS = 1024


@dataclass(frozen=True)
class KReciprocal:
    """k-reciprocal re-ranking with its parameters; call it to turn vectors into re-ranked distances.

    Attributes:
        k1: Neighbours of the k-reciprocal sets.
        k2: Neighbours, the image included, of the local query expansion; below k1 in the paper.
        weight: Share of the original distance in the final one (the paper's lambda).
        metric: "cosine" or "euclidean", the space the neighbours are taken in.

    Raises:
        UsageError: A parameter out of its range.
    """

    name: ClassVar[str] = "k-reciprocal"
    note: ClassVar[str] = "the re-ranking also saw pairs that the protocol's camera rule excludes"
    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    metric: str = "cosine"

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.weight <= 1:
            raise UsageError(
                f"k-reciprocal re-ranking needs k1 >= 1, k2 >= 1 and a weight in [0, 1]; "
                f"got k1={self.k1}, k2={self.k2}, weight={self.weight}"
            )

    @property
    def label(self) -> str:
        """What a result's `rerank` field says: the name with every parameter."""
        return f"{self.name} (k1={self.k1}, k2={self.k2}, weight={self.weight:g})"

    def __call__(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """The (Q, G) float32 re-ranked distances, in [0, 1].

        Args:
            query: (Q, D) vectors.
            gallery: (G, D) vectors.
            progress: Called with (steps done, steps).

        Raises:
            DataError: Empty input, unequal dimensions, values that are not finite.
        """
        out = np.empty((len(query), len(gallery)), dtype=np.float32)
        for start, block in self.blocks(query, gallery, progress=progress):
            out[start : start + len(block)] = block
        return out

    def blocks(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The same distances as (first query row, (q, G) block) pairs, for results too large to hold.

        Raises:
            DataError: As for the call.
        """
        if not len(query) or not len(gallery):
            raise DataError(
                f"re-ranking needs queries and a gallery, got {len(query)} and {len(gallery)} images"
            )
        if query.shape[1:] != gallery.shape[1:]:
            raise DataError(f"queries have {query.shape[1]} dimensions and the gallery {gallery.shape[1]}")
        space = PreparedVectors.of(np.concatenate([query, gallery]), self.metric, "vectors")
        total = len(space) + len(query)
        tick = (lambda done, _: progress(done, total)) if progress else None
        neighbours, farthest = _neighbours(space, max(self.k1, self.k2 - 1), tick)
        encoding = expand(encode(space, neighbours[:, : self.k1], farthest), neighbours[:, : self.k2 - 1])
        gallery_by_column = encoding[len(query) :].T.tocsr()
        right = space.scaled(slice(len(query), None))
        square = np.einsum("ij,ij->i", right, right)
        for start in range(0, len(query), _ROWS // 4):
            rows = slice(start, min(start + _ROWS // 4, len(query)))
            left = space.scaled(rows)
            plain = squared_distances(left, np.einsum("ij,ij->i", left, left), right, square)
            plain /= farthest[rows, None]
            block = (1 - self.weight) * _jaccard(encoding[rows], gallery_by_column) + self.weight * plain
            yield start, block.astype(np.float32)
            if progress:
                progress(len(space) + rows.stop, total)


def _neighbours(
    space: PreparedVectors, k: int, progress: Any
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N, k) nearest others of every image, and (N,) its largest squared distance (1 where all coincide)."""
    k = max(1, min(k, len(space) - 1))
    parts = list(nearest(space, space, k, skip_self=True, progress=progress))
    farthest = np.concatenate([part.farthest for part in parts])
    return np.concatenate([part.indices for part in parts]), np.where(farthest > 0, farthest, 1.0)


def reciprocal_sets(neighbours: NDArray[np.int64], k: int) -> Any:
    """R(i, k) as an (N, N) sparse 0/1 matrix: j is a neighbour of i, i one of j, or j is i.

    Args:
        neighbours: (N, K) nearest others, nearest first.
        k: How many of them count.
    """
    count, k = len(neighbours), min(k, neighbours.shape[1])
    columns = neighbours[:, :k].ravel()
    near = sparse.csr_matrix(
        (np.ones(len(columns), dtype=np.int32), columns, np.arange(count + 1) * k), shape=(count, count)
    )
    return (near.multiply(near.T) + sparse.identity(count, dtype=np.int32)).tocsr()


def encode(space: PreparedVectors, neighbours: NDArray[np.int64], farthest: NDArray[np.float64]) -> Any:
    """V before expansion, as an (N, N) sparse matrix whose rows sum to one.

    Args:
        space: The N images.
        neighbours: (N, k1) nearest others.
        farthest: (N,) the divisor of each row's distances.
    """
    full = reciprocal_sets(neighbours, neighbours.shape[1])
    half = reciprocal_sets(neighbours, round(neighbours.shape[1] / 2))
    half_sizes = np.asarray(half.sum(axis=1)).ravel()
    blocks = []
    for start in range(0, len(space), _ROWS):
        own = full[start : start + _ROWS]
        common = (own @ half.T).multiply(own).tocsr()  # |R(i, k1) with R(j, k1/2)| for j in R(i, k1)
        common.data = (3 * common.data >= 2 * half_sizes[common.indices]).astype(np.int32)
        joined = (own + common @ half).tocsr()
        joined.eliminate_zeros()
        joined.sort_indices()
        weights = np.empty(joined.nnz)
        for i in range(joined.shape[0]):
            span = slice(joined.indptr[i], joined.indptr[i + 1])
            near = np.exp(-space.squared(start + i, space, joined.indices[span]) / farthest[start + i])
            weights[span] = near / near.sum()
        blocks.append(sparse.csr_matrix((weights, joined.indices, joined.indptr), shape=joined.shape))
    return sparse.vstack(blocks, format="csr")


def expand(encoding: Any, neighbours: NDArray[np.int64]) -> Any:
    """Local query expansion : the mean encoding of each image and its (N, k2 - 1) `neighbours`."""
    count, others = neighbours.shape
    columns = np.concatenate([np.arange(count)[:, None], neighbours], axis=1).ravel()
    mean = sparse.csr_matrix(
        (np.full(len(columns), 1 / (others + 1)), columns, np.arange(count + 1) * (others + 1)),
        shape=(count, count),
    )
    return (mean @ encoding).tocsr()


def _jaccard(query: Any, gallery_by_column: Any) -> NDArray[np.float64]:
    """(q, G) Jaccard distances; only columns where both are positive contribute to the sum of minima."""
    out = np.empty((query.shape[0], gallery_by_column.shape[1]))
    starts, stops = gallery_by_column.indptr[:-1], gallery_by_column.indptr[1:]
    for i in range(query.shape[0]):
        span = slice(query.indptr[i], query.indptr[i + 1])
        columns, weights = query.indices[span], query.data[span]
        lengths = stops[columns] - starts[columns]
        ends = np.cumsum(lengths)
        where = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
            starts[columns] - (ends - lengths), lengths
        )
        least = np.minimum(gallery_by_column.data[where], np.repeat(weights, lengths))
        shared = np.bincount(gallery_by_column.indices[where], weights=least, minlength=out.shape[1])
        out[i] = 1 - shared / (2 - shared)  # every row sums to one, so sum of maxima = 2 - sum of minima
    return out
