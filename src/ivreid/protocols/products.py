"""Distances from embeddings: one matrix product to all gallery images that any trial needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError
from ivreid.types import FloatArray, IntArray

Scorer = Callable[[NDArray[Any]], Callable[[NDArray[Any]], NDArray[Any]]]
"""Takes a gallery (G, D) once; the function it returns maps queries (B, D) to their products (G, B)."""


def product_with(gallery: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The scorer of this machine's processor."""
    return lambda queries: gallery @ queries.T


class GalleryProducts:
    """Distances of any query to a set of gallery images, up to what one query's list has in common.

    For one query, cosine distance orders its list as -q.g/|g| does, and Euclidean distance as |g|^2 - 2 q.g
    does; so queries need no normalising and no square root is taken. Images with equal vectors share one
    product, so that their distances are equal to the last bit: a matrix product alone does not promise that,
    since its rounding may differ from one edge of a block to another.

    Args:
        vectors: (N, D) all embeddings.
        rows: (U,) distinct gallery rows; their order decides where in the product each stands.
        metric: "cosine" or "euclidean".
        dtype: float64 or float32, for the whole computation.
        scorer: What multiplies.
    """

    def __init__(self, vectors: FloatArray, rows: IntArray, metric: str, dtype: Any, scorer: Scorer) -> None:
        self._vectors, self._dtype = vectors, np.dtype(dtype)
        first, place = distinct(vectors[rows])
        self._place = np.full(len(vectors), -1)
        self._place[rows] = place
        gallery = vectors[rows[first]].astype(self._dtype)
        with np.errstate(over="ignore"):
            squares = np.einsum("nd,nd->n", gallery, gallery)
        self._check_range(gallery, squares)
        if metric == "euclidean":
            self._offset, scale = squares[:, None], np.full_like(squares, -2)
        else:
            self._offset, scale = None, -1 / np.sqrt(np.where(squares > 0, squares, 1))
        gallery *= scale[:, None]
        self._multiply = scorer(gallery)
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
