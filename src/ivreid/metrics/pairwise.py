"""Distances between every query and every gallery image, as one matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError

Vectors = NDArray[np.floating[Any]]
METRICS = ("cosine", "euclidean")


def check_metric(metric: str) -> None:
    """Refuse a metric that is not in `METRICS`.

    Raises:
        UsageError: An unknown metric.
    """
    if metric not in METRICS:
        raise UsageError(f"unknown metric {metric!r}; known metrics: {', '.join(METRICS)}")


class Distances:
    """The distances of any queries to one gallery, which is prepared once.

    Args:
        gallery: (G, D) vectors.
        metric: "cosine", 1 - cos of the angle, or "euclidean" on the vectors as given.
        dtype: Precision of the matrix product; norms are always computed in float64.

    Raises:
        UsageError: An unknown metric.
        DataError: A zero vector under cosine: it has no direction.
    """

    def __init__(
        self, gallery: Vectors, metric: str = "cosine", dtype: type[np.floating[Any]] = np.float64
    ) -> None:
        check_metric(metric)
        self._cosine, self._dtype = metric == "cosine", dtype
        self._gallery, self._squares = self._prepared(gallery)

    def __call__(self, query: Vectors) -> NDArray[Any]:
        """(Q, G) distances of the queries (Q, D)."""
        left, squares = self._prepared(query)
        distances = left @ self._gallery.T
        if self._cosine:
            np.subtract(1, distances, out=distances)
            return np.asarray(np.maximum(distances, 0, out=distances))
        distances *= -2
        distances += squares[:, None]
        distances += self._squares
        np.maximum(distances, 0, out=distances)
        return np.asarray(np.sqrt(distances, out=distances))

    def _prepared(self, vectors: Vectors) -> tuple[NDArray[Any], NDArray[Any]]:
        """The vectors, of length 1 for cosine, and the squares of their own lengths."""
        vectors = np.asarray(vectors)
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        if self._cosine:
            if not squares.all():
                row = int(np.flatnonzero(squares == 0)[0])
                raise DataError(
                    f"vector {row} is zero: it has no direction, so no cosine distance; use euclidean"
                )
            vectors = vectors / np.sqrt(squares)[:, None].astype(np.promote_types(vectors.dtype, self._dtype))
        return vectors.astype(self._dtype, copy=False), squares.astype(self._dtype)


def pairwise(
    query: Vectors, gallery: Vectors, metric: str = "cosine", dtype: type[np.floating[Any]] = np.float64
) -> NDArray[Any]:
    """The (Q, G) distances of vectors (Q, D) and (G, D); settings and errors are those of `Distances`."""
    return Distances(gallery, metric, dtype)(query)
