"""Distances between every query and every gallery image, as one matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError


def pairwise(
    query: NDArray[np.floating[Any]],
    gallery: NDArray[np.floating[Any]],
    metric: str = "cosine",
    dtype: type[np.floating[Any]] = np.float64,
) -> NDArray[Any]:
    """The (Q, G) distances.

    Args:
        query: (Q, D) vectors.
        gallery: (G, D) vectors.
        metric: "cosine", 1 - cos of the angle, or "euclidean" on the vectors as given.
        dtype: Precision of the matrix product; norms are always computed in float64.

    Raises:
        UsageError: An unknown metric.
        DataError: A zero vector under cosine: it has no direction.
    """
    if metric not in ("cosine", "euclidean"):
        raise UsageError(f"unknown metric {metric!r}; known metrics: cosine, euclidean")
    left, right = np.asarray(query, dtype=np.float64), np.asarray(gallery, dtype=np.float64)
    if metric == "cosine":
        left, right = _unit(left), _unit(right)
    products = left.astype(dtype, copy=False) @ right.astype(dtype, copy=False).T
    if metric == "cosine":
        return np.asarray(np.maximum(1 - products, 0))
    squares = [np.einsum("ij,ij->i", side, side).astype(dtype) for side in (left, right)]
    return np.asarray(np.sqrt(np.maximum(squares[0][:, None] + squares[1] - 2 * products, 0)))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not norms.all():
        row = int(np.flatnonzero(norms == 0)[0])
        raise DataError(f"vector {row} is zero: it has no direction, so no cosine distance; use euclidean")
    return np.asarray(vectors / norms)
