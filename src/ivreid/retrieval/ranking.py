"""Ranked lists: an immutable value that checks itself, and the exact blocked top-k that makes it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError
from ivreid.metrics.distances import PreparedVectors, Vectors, to_distance
from ivreid.retrieval.nearest import BLOCK_BYTES, nearest
from ivreid.types import Progress


@dataclass(frozen=True, eq=False)
class Ranking:
    """The k nearest gallery images of every query.

    Attributes:
        query_ids: (Q,) unique ids, whole numbers or strings (row numbers, paths, keys).
        gallery_ids: (G,) unique ids.
        indices: (Q, k) int64 positions in `gallery_ids`, nearest first; -1 where images ran out.
        distances: (Q, k) float64, never falling along a row, inf beside -1; ties in gallery order.

    Raises:
        DataError: Any of these does not hold; the message names the query.
    """

    query_ids: NDArray[Any]
    gallery_ids: NDArray[Any]
    indices: NDArray[np.int64]
    distances: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("query_ids", "gallery_ids"):
            object.__setattr__(self, name, _ids(getattr(self, name), name))
        for name, dtype in (("indices", np.int64), ("distances", np.float64)):
            object.__setattr__(self, name, _own(getattr(self, name), dtype))
        if self.indices.ndim != 2 or self.indices.shape != self.distances.shape:
            raise DataError(
                f"indices {self.indices.shape} and distances {self.distances.shape} must be one (Q, k) shape"
            )
        if len(self.indices) != len(self.query_ids):
            raise DataError(f"{len(self.query_ids)} query ids for {len(self.indices)} ranked lists")
        self._check_rows()

    def _check_rows(self) -> None:
        empty = self.indices == -1
        ordered = np.sort(self.indices, axis=1)
        rises = self.distances[:, 1:] >= self.distances[:, :-1]
        tied = (self.distances[:, 1:] == self.distances[:, :-1]) & ~empty[:, 1:]
        faults = {
            "points outside the gallery": (self.indices < -1) | (self.indices >= len(self.gallery_ids)),
            "has a distance that is not a number, or infinite": ~empty & ~np.isfinite(self.distances),
            "has a finite distance where no image stands": empty & (self.distances != np.inf),
            "is not sorted by distance": ~rises,
            "names one gallery image twice": (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0),
            "breaks a tie against gallery order": tied & (self.indices[:, 1:] < self.indices[:, :-1]),
        }
        for fault, where in faults.items():
            bad = np.flatnonzero(where.any(axis=1))
            if len(bad):
                raise DataError(
                    f"the ranked list of query {self.query_ids[bad[0]]!r} {fault} ({len(bad)} such lists)"
                )

    def __len__(self) -> int:
        return len(self.query_ids)

    @property
    def k(self) -> int:
        """Length of the ranked lists."""
        return int(self.indices.shape[1])

    def of(self, query_id: Hashable) -> NDArray[Any]:
        """The gallery ids ranked for one query, nearest first (shorter than k where images ran out).

        Raises:
            UsageError: No such query.
        """
        rows = np.flatnonzero(self.query_ids == query_id)
        if not len(rows):
            raise UsageError(f"there is no query {query_id!r} among the {len(self)} of this ranking")
        found = self.indices[rows[0]]
        return np.asarray(self.gallery_ids[found[found >= 0]])


def rank(
    query: Vectors,
    gallery: Vectors,
    k: int = 10,
    *,
    metric: str = "cosine",
    excluded: NDArray[np.bool_] | None = None,
    query_ids: Sequence[Any] | NDArray[Any] | None = None,
    gallery_ids: Sequence[Any] | NDArray[Any] | None = None,
    block_bytes: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the gallery for every query: the exact k nearest, ties by gallery order, in bounded memory.

    Args:
        query: (Q, D) vectors.
        gallery: (G, D) vectors.
        k: Length of the lists; a k beyond G gives lists of G.
        metric: "cosine" (1 - cos) or "euclidean".
        excluded: (Q, G) bool, True where the pair takes no part.
        query_ids: Q unique ids; row numbers when not given.
        gallery_ids: G unique ids; row numbers when not given.
        block_bytes: Memory for one block of distances.
        progress: Called with (queries done, queries).

    Returns:
        The ranking; the same whatever the block size.

    Raises:
        UsageError: k below 1, or an unknown metric.
        DataError: Empty gallery, different dimensions, NaN or infinite values, zero vectors under cosine.
    """
    left, right = (
        PreparedVectors.of(query, metric, "query vectors"),
        PreparedVectors.of(gallery, metric, "gallery vectors"),
    )
    shape = (len(left), len(right))
    if k < 1:
        raise UsageError(f"k = {k}: a ranked list needs at least one place")
    if not len(right):
        raise DataError("the gallery is empty: there is nothing to rank")
    if left.exact.shape[1] != right.exact.shape[1]:
        raise DataError(
            f"queries have {left.exact.shape[1]} dimensions and the gallery {right.exact.shape[1]}"
        )
    if excluded is not None and excluded.shape != shape:
        raise DataError(f"`excluded` has shape {excluded.shape}; it must be (queries, gallery) = {shape}")
    k = min(k, len(right))
    indices, distances = np.empty((len(left), k), dtype=np.int64), np.empty((len(left), k))
    for part in nearest(left, right, k, excluded=excluded, block_bytes=block_bytes, progress=progress):
        rows = slice(part.start, part.start + len(part.indices))
        indices[rows] = part.indices
        distances[rows] = to_distance(part.squared, left.metric)
    return Ranking(_or_rows(query_ids, len(left)), _or_rows(gallery_ids, len(right)), indices, distances)


def _or_rows(ids: Sequence[Any] | NDArray[Any] | None, count: int) -> NDArray[Any]:
    ids = np.arange(count) if ids is None else np.asarray(ids)
    if len(ids) != count:
        raise DataError(f"{len(ids)} ids for {count} vectors")
    return ids


def _ids(values: Any, name: str) -> NDArray[Any]:
    ids = _own(values, None)
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        raise DataError(
            f"`{name}` must be a list of whole numbers or strings, got {ids.dtype} of shape {ids.shape}"
        )
    seen, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"`{name}` holds {seen[counts > 1][0]!r} more than once; ids must be unique")
    return ids


def _own(values: Any, dtype: Any) -> NDArray[Any]:
    out = np.array(values, dtype=dtype)
    out.setflags(write=False)
    return out
