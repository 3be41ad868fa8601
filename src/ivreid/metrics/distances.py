"""From vectors to distances: the one place where queries and galleries are compared.

`Distances` and `pairwise` give distances as numbers people may read. `GalleryProducts` orders each query's list
at the lowest price, which is all a ranking needs. `PreparedVectors` decides single pairs exactly, for search among many.
All three take "cosine" (1 - cos of the angle) or "euclidean" on the vectors as given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError
from ivreid.types import FloatArray, IntArray, as_array

Metric = Literal["cosine", "euclidean"]
METRICS: tuple[Metric, ...] = ("cosine", "euclidean")
Vectors = NDArray[np.floating[Any]]
DoubleArray = NDArray[np.float64]

LARGEST = 1e12
"""Larger coordinates are refused where products are in single precision: their squares would not fit."""
_PAIRS_AT_ONCE = 4096


def check_metric(metric: str) -> Metric:
    """The metric of that name.

    Raises:
        UsageError: An unknown metric.
    """
    for known in METRICS:
        if metric == known:
            return known
    raise UsageError(f"unknown metric {metric!r}; known metrics: {', '.join(METRICS)}")


def unit(vectors: Vectors, dtype: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
    """The (N, D) vectors scaled to length 1, as cosine sees them; a zero vector stays zero."""
    return _unit(vectors, _squares(vectors), dtype)


def pairwise(
    query: Vectors,
    gallery: Vectors,
    metric: str = "cosine",
    dtype: type[np.floating[Any]] = np.float64,
    *,
    allow_zero: bool = False,
) -> NDArray[Any]:
    """The (Q, G) distances of vectors (Q, D) and (G, D); settings and errors are those of `Distances`."""
    return Distances(gallery, metric, dtype, allow_zero=allow_zero)(query)


class Distances:
    """The distances of any queries to one gallery, which is prepared once.

    Args:
        gallery: (G, D) vectors.
        metric: "cosine" or "euclidean".
        dtype: Precision of the matrix product; norms are always computed in float64.
        allow_zero: Whether a zero vector is at cosine distance 1 from everything, or refused.

    Raises:
        UsageError: An unknown metric.
        DataError: A zero vector under cosine: it has no direction.
    """

    def __init__(
        self,
        gallery: Vectors,
        metric: str = "cosine",
        dtype: type[np.floating[Any]] = np.float64,
        *,
        allow_zero: bool = False,
    ) -> None:
        self._cosine, self._dtype, self._allow_zero = check_metric(metric) == "cosine", dtype, allow_zero
        self._gallery, self._squares = self._prepared(gallery)

    def __call__(self, query: Vectors) -> NDArray[Any]:
        """(Q, G) distances of the queries (Q, D)."""
        left, squares = self._prepared(query)
        if not self._cosine:
            squared = squared_distances(left, squares, self._gallery, self._squares)
            return np.asarray(np.sqrt(squared, out=squared))
        distances = left @ self._gallery.T
        np.subtract(1, distances, out=distances)
        return np.asarray(np.maximum(distances, 0, out=distances))

    def _prepared(self, vectors: Vectors) -> tuple[NDArray[Any], NDArray[Any]]:
        """The vectors, of length 1 for cosine, and the squares of their own lengths."""
        vectors = np.asarray(vectors)
        squares = _squares(vectors)
        if self._cosine:
            if not self._allow_zero:
                _refuse_zero(squares, "vector")
            vectors = _unit(vectors, squares, self._dtype)
        return vectors.astype(self._dtype, copy=False), squares.astype(self._dtype)


def squared_distances(
    left: NDArray[Any], left_squares: NDArray[Any], right: NDArray[Any], right_squares: NDArray[Any]
) -> NDArray[Any]:
    """The (Q, G) squared Euclidean distances of (Q, D) and (G, D), whose squared lengths are given."""
    squared = left @ right.T
    squared *= -2
    squared += left_squares[:, None]
    squared += right_squares
    return np.asarray(np.maximum(squared, 0, out=squared))


def _squares(vectors: Vectors) -> DoubleArray:
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))


def _unit(vectors: Vectors, squares: DoubleArray, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    lengths = np.sqrt(np.where(squares > 0, squares, 1))[:, None]
    scaled = vectors / lengths.astype(np.promote_types(vectors.dtype, dtype))
    return np.asarray(scaled.astype(dtype, copy=False))


def _refuse_zero(squares: DoubleArray, name: str) -> None:
    if not squares.all():
        row = int(np.flatnonzero(squares == 0)[0])
        raise DataError(f"{name} {row} is zero: it has no direction, so no cosine distance; use euclidean")


@dataclass(frozen=True, eq=False)
class PreparedVectors:
    """Vectors prepared for one metric, whose single pairs are decided in double precision.

    Attributes:
        exact: (N, D) vectors as given; scaled by `scale` in double precision when a pair is decided.
        scale: (N,) factors, 1 / norm for cosine and 1 for Euclidean.
        rough: (N, D) float32 scaled vectors for a matrix product that proposes pairs.
        metric: "cosine" or "euclidean".
    """

    exact: Vectors
    scale: DoubleArray
    rough: NDArray[np.float32]
    metric: Metric

    @classmethod
    def of(cls, vectors: Vectors, metric: str, name: str = "embeddings") -> PreparedVectors:
        """Prepare (N, D) vectors.

        Raises:
            UsageError: Unknown metric.
            DataError: Not a finite (N, D) array, or a zero vector under cosine, whose direction is undefined.
        """
        known, vectors = check_metric(metric), as_array(vectors, name)
        if vectors.dtype == np.float16:  # its sums and squares would overflow
            vectors = vectors.astype(np.float32)
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise DataError(f"{name} must be a finite (images, dimensions) array, got shape {vectors.shape}")
        if np.abs(vectors).max(initial=0.0) > LARGEST:
            raise DataError(
                f"{name} reach {np.abs(vectors).max():.3g}; values beyond {LARGEST:g} are not embeddings"
            )
        if known == "euclidean":
            return cls(vectors, np.ones(len(vectors)), vectors.astype(np.float32), known)
        squares = _squares(vectors)
        _refuse_zero(squares, f"{name} row")
        scale = 1.0 / np.sqrt(squares)
        return cls(vectors, scale, (vectors * scale[:, None]).astype(np.float32), known)

    def __len__(self) -> int:
        return len(self.exact)

    def scaled(self, rows: Any = slice(None)) -> DoubleArray:
        """(R, D) scaled vectors of some rows, in double precision."""
        return np.asarray(self.exact[rows] * self.scale[rows, None], dtype=np.float64)

    def rows(self, some: slice) -> PreparedVectors:
        """Those of some rows."""
        return PreparedVectors(self.exact[some], self.scale[some], self.rough[some], self.metric)

    def squared(self, row: int, other: PreparedVectors, rows: NDArray[np.integer[Any]]) -> DoubleArray:
        """(R,) squared Euclidean distances from the scaled vector `row` to `other`'s `rows`, in double."""
        anchor = self.exact[row].astype(np.float64) * self.scale[row]
        out = np.empty(len(rows))
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            gap = other.scaled(rows[start : start + _PAIRS_AT_ONCE]) - anchor
            out[start : start + len(gap)] = np.square(gap).sum(axis=1)
        return out


def to_distance(squared: DoubleArray, metric: Metric) -> DoubleArray:
    """From squared Euclidean distances of scaled vectors: |a - b|, or 1 - cos = |a - b|^2 / 2 of unit vectors."""
    return squared / 2 if metric == "cosine" else np.sqrt(squared)


MatrixProduct = Callable[[NDArray[Any]], Callable[[NDArray[Any]], NDArray[Any]]]
"""Takes a gallery (G, D) once; the function it returns maps queries (B, D) to their products (G, B)."""


def product_on_cpu(gallery: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The product of this machine's processor."""
    return lambda queries: gallery @ queries.T


class GalleryProducts:
    """Distances of any query to a set of gallery images, up to what one query's list has in common.

    For one query, cosine distance orders its list as -q.g/|g| does, and Euclidean distance as |g|^2 - 2 q.g
    does; so queries need no normalising and no square root is taken. Images with equal vectors share one
    product, so that their distances are equal to the last bit: a matrix product alone does not promise that,
    since its rounding may differ from one edge of a block to another. A zero vector is equally far from every
    query under cosine.

    Args:
        vectors: (N, D) all embeddings.
        rows: (U,) distinct gallery rows; their order decides where in the product each stands.
        metric: "cosine" or "euclidean".
        dtype: float64 or float32, for the whole computation.
        product: What multiplies.
    """

    def __init__(
        self, vectors: FloatArray, rows: IntArray, metric: str, dtype: Any, product: MatrixProduct
    ) -> None:
        self._vectors, self._dtype = vectors, np.dtype(dtype)
        first, place = distinct(vectors[rows])
        self._place = np.full(len(vectors), -1)
        self._place[rows] = place
        gallery = vectors[rows[first]].astype(self._dtype)
        with np.errstate(over="ignore"):
            squares = np.einsum("nd,nd->n", gallery, gallery)
        self._check_range(gallery, squares)
        if check_metric(metric) == "euclidean":
            self._offset, scale = squares[:, None], np.full_like(squares, -2)
        else:
            self._offset, scale = None, -1 / np.sqrt(np.where(squares > 0, squares, 1))
        gallery *= scale[:, None]
        self._multiply = product(gallery)
        self.itemsize = self._dtype.itemsize
        self.row_bytes = len(gallery) * self.itemsize

    def places(self, gallery: IntArray) -> IntArray:
        """(G,) where the rows of `distances` hold these gallery rows."""
        return self._place[gallery]

    def distances(self, queries: IntArray) -> NDArray[Any]:
        """(U', B) distances of these query rows to the distinct gallery vectors.

        Raises:
            DataError: Values too large to multiply in this precision.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._multiply(self._vectors[queries].astype(self._dtype, copy=False))
            if self._offset is not None:
                found += self._offset
        if not (np.isfinite(found.max()) and np.isfinite(found.min())):
            raise self._out_of_range("large")
        return found

    def _check_range(self, gallery: NDArray[Any], squares: NDArray[Any]) -> None:
        if not np.isfinite(squares).all():
            raise self._out_of_range("large")
        if gallery[squares == 0].any():
            raise self._out_of_range("small")

    def _out_of_range(self, word: str) -> DataError:
        return DataError(f"embeddings are too {word} to compare in {self._dtype}; normalise them first")


def distinct(vectors: NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Find equal rows.

    Args:
        vectors: (N, D) float32.

    Returns:
        (M,) the first row of each distinct vector, ascending, and (N,) each row's place among those.
    """
    sums = np.ascontiguousarray(vectors).view(np.uint32).sum(axis=1, dtype=np.uint64)
    order = np.argsort(sums, kind="stable")
    same = sums[order[1:]] == sums[order[:-1]]
    original = np.arange(len(vectors))
    seen: dict[bytes, int] = {}
    for row in np.sort(order[np.r_[False, same] | np.r_[same, False]]) if same.any() else ():
        original[row] = seen.setdefault(vectors[row].tobytes(), row)
    first, place = np.unique(original, return_inverse=True)
    return first, place
