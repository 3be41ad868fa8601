"""Two ways to count the gallery images nearer than each true match, both exact, neither an argsort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ivreid.metrics.ranking import Identities

Nearer = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
"""(B, M) images nearer than each match; (B,) identities nearer than the first; (B,) whether anything ties a match."""


def count_nearer(distances: NDArray[Any], matches: NDArray[Any], gallery: Identities) -> Nearer:
    """Compare the whole gallery with one match after the other: best for few matches.

    Works on the transposed block, where every comparison and sum runs along contiguous queries.

    Args:
        distances: (B, G) with infinity for excluded pairs.
        matches: (B, M) distances of the true matches, ascending, infinity where a query has fewer.
        gallery: The gallery's identities.
    """
    images = np.ascontiguousarray(distances.T)
    closer = np.empty(images.shape, dtype=np.bool_)
    nearer = np.empty(matches.shape, dtype=np.int64)
    tied = np.zeros(len(matches), dtype=np.bool_)
    nearer_identities = np.zeros(len(matches), dtype=np.int64)
    for m, match in enumerate(np.ascontiguousarray(matches.T)):
        np.less(images, match, out=closer)
        nearer[:, m] = _column_sums(closer)
        if m == 0:
            nearer_identities = _identities(closer, gallery)
        np.less_equal(images, match, out=closer)
        tied |= (_column_sums(closer) > nearer[:, m] + 1) & np.isfinite(match)
    return nearer, nearer_identities, tied


def _column_sums(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sums over axis 0, kept in bytes as long as they fit: many times faster than a sum of booleans."""
    total = np.zeros(mask.shape[1], dtype=np.int64)
    for start in range(0, len(mask), 255):
        total += np.add.reduce(mask[start : start + 255].view(np.uint8), axis=0, dtype=np.uint8)
    return total


def _identities(closer: NDArray[np.bool_], gallery: Identities) -> NDArray[np.int64]:
    """How many identities have at least one image marked in `closer` (G, B)."""
    seen = closer[gallery.slabs[0]]
    for slab in gallery.slabs[1:]:
        seen[: len(slab)] |= closer[slab]
    return _column_sums(seen)


def sort_nearer(distances: NDArray[Any], matches: NDArray[Any], gallery: Identities) -> Nearer:
    """Sort the values of each row and look the matches up: best for many matches.

    Args:
        distances: (B, G) with infinity for excluded pairs.
        matches: (B, M) distances of the true matches, ascending, infinity where a query has fewer.
        gallery: The gallery's identities.
    """
    index, distances = gallery.index, np.ascontiguousarray(distances)
    if (index[1:] < index[:-1]).any():
        order = np.argsort(index, kind="stable")
        distances, index = distances[:, order], index[order]
    starts = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
    closest = np.minimum.reduceat(distances, starts, axis=1)
    nearer_identities = (closest < matches[:, :1]).sum(axis=1)
    values = np.sort(distances, axis=1)
    nearer = np.stack([np.searchsorted(row, wanted) for row, wanted in zip(values, matches, strict=True)])
    behind = np.take_along_axis(values, np.minimum(nearer + 1, values.shape[1] - 1), axis=1)
    tied = (behind == matches) & np.isfinite(matches) & (nearer + 1 < values.shape[1])
    return nearer, nearer_identities, tied.any(axis=1)
