"""Two ways to count the gallery images nearer than each true match, both exact, neither an argsort."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.identities import Identities

_SPARSE = 12  # where at most one image in so many is nearer than the first match, those are looked up

Nearer = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
"""(M, B) images nearer than each match; (B,) identities nearer than the first; (M, B) is a match tied?"""


def count_nearer(distances: NDArray[Any], matches: NDArray[Any], gallery: Identities) -> Nearer:
    """Compare the whole gallery with one match after the other: best for few matches.

    Works on the transposed block, where every comparison and sum runs along contiguous queries.

    Args:
        distances: (B, G) with infinity for excluded pairs.
        matches: (M, B) distances of the true matches, ascending, infinity where a query has fewer.
        gallery: The gallery's identities.
    """
    images = np.ascontiguousarray(distances.T)
    marks = np.empty(images.shape, dtype=np.bool_)
    nearer = np.empty(matches.shape, dtype=np.int64)
    tied = np.zeros(matches.shape, dtype=np.bool_)
    nearer_identities = np.zeros(matches.shape[1], dtype=np.int64)
    for m, match in enumerate(matches):
        np.less(images, match, out=marks)
        nearer[m] = _column_sums(marks)
        if m == 0:
            nearer_identities = _identities(marks, gallery)
        sought = np.where(np.isfinite(match), match, np.nan)
        np.equal(images, sought, out=marks)
        if np.count_nonzero(marks) > np.count_nonzero(np.isfinite(match)):
            tied[m] = _column_sums(marks) > 1
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
        matches: (M, B) distances of the true matches, ascending, infinity where a query has fewer.
        gallery: The gallery's identities.
    """
    distances = np.ascontiguousarray(distances)
    values = np.sort(distances, axis=1)
    nearer = np.stack([np.searchsorted(row, wanted) for row, wanted in zip(values, matches.T, strict=True)])
    behind = np.take_along_axis(values, np.minimum(nearer + 1, values.shape[1] - 1), axis=1)
    tied = (behind == matches.T) & np.isfinite(behind) & (nearer + 1 < values.shape[1])
    return nearer.T, _identities_by_row(distances, matches[0], nearer[:, 0], gallery), tied.T


def _identities_by_row(
    distances: NDArray[Any], first: NDArray[Any], nearer: NDArray[np.int64], gallery: Identities
) -> NDArray[np.int64]:
    """(B,) identities with an image nearer than the first match; `nearer` (B,) says how many images are."""
    if nearer.sum() * _SPARSE < distances.size:
        query, image = np.nonzero(distances < first[:, None])
        seen = np.zeros((len(distances), len(gallery.pids)), dtype=np.bool_)
        seen[query, gallery.index[image]] = True
        return np.asarray(np.count_nonzero(seen, axis=1))
    index = gallery.index
    if (index[1:] < index[:-1]).any():
        order = np.argsort(index, kind="stable")
        distances, index = distances[:, order], index[order]
    starts = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
    closer: NDArray[np.bool_] = np.minimum.reduceat(distances, starts, axis=1) < first[:, None]
    return np.asarray(np.count_nonzero(closer, axis=1))
