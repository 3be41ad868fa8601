"""Vectors as every store keeps them, and the one function that says how far apart two are.

Vectors are scaled to length 1 and rounded to float16, queries too. All values are then multiples of 2^-24 not
above 1, products multiples of 2^-48, and every partial sum of them lies below 2: float64 holds each exactly. So
a dot product comes out exact, in whatever order it is added up, and distances are equal to the last bit on every
machine, with every kernel, in every store.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError
from ivreid.types import as_array

HalfArray = NDArray[np.float16]

SMALLEST, LARGEST = 1e-18, 1e18
"""Vectors whose lengths lie outside are no embeddings."""


def stored(vectors: Any, dimension: int | None = None, name: str = "vectors") -> HalfArray:
    """(N, D) float16 of length 1 up to rounding, from N vectors of any real type.

    Raises:
        DataError: No (N, D) array, another dimension than `dimension`, or a row that is zero, NaN or infinite.
    """
    raw = as_array(vectors, name)
    if raw.ndim == 1 and raw.size:
        raw = raw[None]
    if raw.ndim != 2 or raw.shape[1] == 0:
        raise DataError(f"`{name}` must have shape (N, dimensions), it has {raw.shape}")
    if dimension is not None and raw.shape[1] != dimension:
        raise DataError(
            f"`{name}` have {raw.shape[1]} dimensions, the gallery's have {dimension}: they are of another model"
        )
    exact = raw.astype(np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", exact, exact))
    bad = ~((lengths > SMALLEST) & (lengths < LARGEST))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"`{name}`, row {row}, has length {lengths[row]:g}: it is no embedding")
    return np.asarray((exact / lengths[:, None]).astype(np.float16))


def asked(queries: Any, dimension: int, k: int) -> HalfArray:
    """Queries (Q, D) as they are compared, for a search of the k nearest.

    Raises:
        UsageError: k below 1.
        DataError: As `stored` says.
    """
    if k < 1:
        raise UsageError(f"k is {k}; it must be 1 or more")
    return stored(queries, dimension, "queries")


def distances(query: HalfArray, rows: HalfArray) -> NDArray[np.float64]:
    """(N,) cosine distances, 1 - cos of the angle, of one stored query (D,) to stored rows (N, D)."""
    q, x = query.astype(np.float64), rows.astype(np.float64)
    dots = x @ q  # exact, see above
    squares = np.einsum("nd,nd->n", x, x)
    found = 1.0 - dots / np.sqrt(squares * (q @ q))
    return np.asarray(np.maximum(found, 0.0))


def rounding(dimension: int) -> tuple[float, float]:
    """How far a single-precision product may lie from the cosine.

    Returns:
        The largest error of a float32 sum of `dimension` products of stored values, in any order; and the largest
        deviation of a stored vector's length from 1.
    """
    length = 2.0**-11 + dimension**0.5 * 2.0**-25
    return (dimension + 2) * 2.0**-24 * (1 + length) ** 2, length


def closest(product: float, deviation: float, query: HalfArray) -> float:
    """The smallest distance from a stored query (D,) that a stored row may have whose product with it is at most this."""
    length = float(np.sqrt(np.square(query.astype(np.float64)).sum()))
    return 1 - product / (length * (1 - deviation if product > 0 else 1 + deviation)) - 1e-12
