"""Exact nearest neighbours in blocks: single precision proposes, double precision decides.

A block of keys comes from one single-precision matrix product. Every gallery row whose key lies within the
product's worst-case rounding error of the k-th best is a candidate, and the distances of candidates are
computed again pair by pair in double precision. The result therefore depends neither on the block size nor
on how the product was carried out, and equal vectors get exactly equal distances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.distances import DoubleArray, PreparedVectors
from ivreid.types import Progress

BLOCK_BYTES = 64 * 1024 * 1024
_UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest neighbours of a block of queries.

    Attributes:
        start: Row of the block's first query.
        indices: (q, k) gallery rows, nearest first, ties by gallery row; -1 where no image was left.
        squared: (q, k) squared distances, inf beside -1.
        farthest: (q,) largest squared distance of an image not excluded; 0 where none was left.
    """

    start: int
    indices: NDArray[np.int64]
    squared: DoubleArray
    farthest: DoubleArray


def nearest(
    query: PreparedVectors,
    gallery: PreparedVectors,
    k: int,
    *,
    excluded: NDArray[np.bool_] | None = None,
    skip_self: bool = False,
    block_bytes: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> Iterator[Neighbours]:
    """The k nearest gallery rows of every query, block after block, exactly.

    Args:
        query: Q prepared vectors.
        gallery: G prepared vectors, of the same metric.
        k: Neighbours wanted, at least 1.
        excluded: (Q, G) bool, True where the pair takes no part.
        skip_self: Leave out pair (i, i): query and gallery are the same images.
        block_bytes: Memory for one block of keys.
        progress: Called with (queries done, queries).

    Yields:
        One `Neighbours` a block, in query order.
    """
    rows = max(1, block_bytes // (4 * max(1, len(gallery))))
    norms = np.einsum("ij,ij->i", gallery.rough, gallery.rough, dtype=np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", query.rough, query.rough, dtype=np.float64))
    longest = float(np.sqrt(norms.max(initial=0.0)))
    # |key error| of g.g - 2 q.g: rounding of inputs, of a D-term sum in any order, and of the final addition
    terms = query.exact.shape[1] + 8
    slack = (
        2 * _UNIT_ROUNDOFF * (2 * terms * lengths * longest + 8 * longest**2)
        + terms * np.finfo(np.float32).tiny
    )
    half = (norms / 2).astype(np.float32)
    for start in range(0, len(query), rows):
        stop = min(start + rows, len(query))
        keys = query.rough[start:stop] @ gallery.rough.T
        np.subtract(half, keys, out=keys)
        keys *= 2
        if excluded is not None:
            keys[excluded[start:stop]] = np.inf
        if skip_self:
            keys[np.arange(stop - start), np.arange(start, stop)] = np.inf
        indices, squared, farthest = _decide(query, gallery, keys, k, (start, slack[start:stop]))
        yield Neighbours(start, indices, squared, farthest)
        if progress is not None:
            progress(stop, len(query))


def all_nearest(
    query: PreparedVectors,
    gallery: PreparedVectors,
    k: int,
    *,
    skip_self: bool = False,
    progress: Progress | None = None,
) -> Neighbours:
    """The blocks of `nearest` as one."""
    parts = list(nearest(query, gallery, k, skip_self=skip_self, progress=progress))
    indices, squared, farthest = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "squared", "farthest")
    )
    return Neighbours(0, indices, squared, farthest)


def _decide(
    query: PreparedVectors,
    gallery: PreparedVectors,
    keys: NDArray[np.float32],
    k: int,
    block: tuple[int, DoubleArray],
) -> tuple[NDArray[np.int64], DoubleArray, DoubleArray]:
    (start, slack), count, width = block, len(keys), min(k, keys.shape[1])
    indices = np.full((count, k), -1, dtype=np.int64)
    squared = np.full((count, k), np.inf)
    farthest = np.zeros(count)
    # Where fewer than k images are left the k-th key is inf; the largest finite number as limit keeps them
    # out. The limit is compared in single precision, so half a rounding step is added on top of the slack.
    limits = np.partition(keys, width - 1, axis=1)[:, width - 1] + slack
    limits += np.abs(limits) * 2 * _UNIT_ROUNDOFF
    rounded = np.minimum(limits, np.finfo(np.float32).max).astype(np.float32)
    for i in range(count):
        candidates = np.flatnonzero(keys[i] <= rounded[i])
        distances = query.squared(start + i, gallery, candidates)
        order = np.argsort(distances, kind="stable")[:k]
        indices[i, : len(order)] = candidates[order]
        squared[i, : len(order)] = distances[order]
    keys[np.isinf(keys)] = -np.inf
    last = keys.argmax(axis=1)
    for row in np.flatnonzero(keys[np.arange(count), last] > -np.inf):
        farthest[row] = query.squared(start + int(row), gallery, last[row : row + 1])[0]
    return indices, squared, farthest
