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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ivreid.errors import DataError
from ivreid.metrics.distances import PreparedVectors, Vectors, squared_distances
from ivreid.retrieval.nearest import all_nearest
from ivreid.retrieval.reranker import BOTH, BlockReranker
from ivreid.types import Progress

_ROWS = 1024


@dataclass(frozen=True)
class KReciprocal(BlockReranker):
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
    sees: ClassVar[str] = BOTH
    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    metric: str = "cosine"

    def __post_init__(self) -> None:
        self.at_least_one("k1", "k2")
        self.share("weight")

    @property
    def encoder(self) -> Callable[..., Codes]:
        """What encodes the images, `pooled_codes` or a function of its arguments."""
        return pooled_codes

    def blocks(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """As `BlockReranker`; distances are in [0, 1]."""
        check_both(query, gallery)
        space = PreparedVectors.of(np.concatenate([query, gallery]), self.metric, "vectors")
        tick = counting(progress, len(space), len(query))
        codes = self.encoder(space, len(query), self.k1, self.k2, progress=tick(0))
        yield from mixed_distances(space, len(query), codes, self.weight, tick(len(space)))


@dataclass(frozen=True, eq=False)
class Codes:
    """Encodings of images by their neighbours, and the scale of distances.

    Attributes:
        query: (Q, N) sparse, each row summing to one.
        gallery: (G, N) sparse.
        farthest: (Q,) the largest squared distance of each query to any image; 1 where all coincide.
    """

    query: Any
    gallery: Any
    farthest: NDArray[np.float64]


def check_both(query: Vectors, gallery: Vectors) -> None:
    """Refuse an empty side, or sides of different lengths of vectors.

    Raises:
        DataError: The message says which.
    """
    if not len(query) or not len(gallery):
        raise DataError(f"re-ranking needs queries and a gallery, got {len(query)} and {len(gallery)} images")
    if query.shape[1:] != gallery.shape[1:]:
        raise DataError(f"queries have {query.shape[1]} dimensions and the gallery {gallery.shape[1]}")


def counting(progress: Progress | None, images: int, queries: int) -> Callable[[int], Progress | None]:
    """Of a work of two parts, first `images` and then `queries`: what reports a part that begins at a number."""
    return lambda begun: progress and (lambda done, _: progress(begun + done, images + queries))


def pooled_codes(
    space: PreparedVectors,
    queries: int,
    k1: int,
    k2: int,
    *,
    overlap: bool = True,
    progress: Progress | None = None,
) -> Codes:
    """Encode all images, queries first, by neighbours among all of them.

    Args:
        space: The N images.
        queries: How many of the images are queries.
        k1: Neighbours of the reciprocal sets.
        k2: Images whose encodings are averaged, the image itself included.
        overlap: Whether sets are joined by those of members that overlap them by two thirds.
        progress: Called with (images done, images).
    """
    neighbours, farthest = _neighbours(space, max(k1, k2 - 1), progress)
    codes = expand(encode(space, neighbours[:, :k1], farthest, overlap=overlap), neighbours[:, : k2 - 1])
    return Codes(codes[:queries], codes[queries:], farthest[:queries])


def mixed_distances(
    space: PreparedVectors, queries: int, codes: Codes, weight: float, progress: Progress | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(1 - weight) x the codes' Jaccard distances + weight x scaled distances, some queries at a time.

    Args:
        space: Queries, then gallery.
        queries: How many of the images are queries.
        codes: Of both.
        weight: Share of the plain distances.
        progress: Called with (queries done, queries).
    """
    gallery_by_column = codes.gallery.T.tocsr()
    right = space.scaled(slice(queries, None))
    square = np.einsum("ij,ij->i", right, right)
    for start in range(0, queries, _ROWS // 4):
        rows = slice(start, min(start + _ROWS // 4, queries))
        left = space.scaled(rows)
        plain = squared_distances(left, np.einsum("ij,ij->i", left, left), right, square)
        plain /= codes.farthest[rows, None]
        block = (1 - weight) * _jaccard(codes.query[rows], gallery_by_column) + weight * plain
        yield start, block.astype(np.float32)
        if progress:
            progress(rows.stop, queries)


def _neighbours(
    space: PreparedVectors, k: int, progress: Progress | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N, k) nearest others of every image, and (N,) its largest squared distance (1 where all coincide)."""
    k = max(1, min(k, len(space) - 1))
    found = all_nearest(space, space, k, skip_self=True, progress=progress)
    return found.indices, np.where(found.farthest > 0, found.farthest, 1.0)


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


def encode(
    space: PreparedVectors,
    neighbours: NDArray[np.int64],
    farthest: NDArray[np.float64],
    *,
    overlap: bool = True,
) -> Any:
    """V before expansion, as an (N, N) sparse matrix whose rows sum to one.

    Args:
        space: The N images.
        neighbours: (N, k1) nearest others.
        farthest: (N,) the divisor of each row's distances.
        overlap: R*(i); without it R(i, k1) stands for it.
    """
    full = reciprocal_sets(neighbours, neighbours.shape[1])
    half = reciprocal_sets(neighbours, round(neighbours.shape[1] / 2))
    half_sizes = np.asarray(half.sum(axis=1)).ravel()
    blocks = []
    for start in range(0, len(space), _ROWS):
        own = full[start : start + _ROWS]
        joined = own.copy()
        if overlap:
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
    """Local query expansion: the mean encoding of each image and its (N, k2 - 1) `neighbours`."""
    return mean_of(encoding, np.concatenate([np.arange(len(neighbours))[:, None], neighbours], axis=1))


def mean_of(encoding: Any, members: NDArray[np.int64]) -> Any:
    """(M, N) sparse: for each row of (M, k) `members` the mean of these rows of `encoding`."""
    count, each = members.shape
    mean = sparse.csr_matrix(
        (np.full(members.size, 1 / each), members.ravel(), np.arange(count + 1) * each),
        shape=(count, encoding.shape[0]),
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
        shared = np.minimum(shared, 1, out=shared)  # but for rounding it is
        out[i] = 1 - shared / (2 - shared)  # every row sums to one, so sum of maxima = 2 - sum of minima
    return out
