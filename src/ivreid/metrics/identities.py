"""A gallery grouped by identity, as counting and ranking need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def unknown_apart(pids: NDArray[Any]) -> NDArray[Any]:
    """(N,) the same pids, but every unknown person (a pid below 0) with a number of its own."""
    unknown = pids < 0
    if not unknown.any():
        return pids
    apart = np.array(pids, dtype=np.int64)
    apart[unknown] = -np.arange(1, np.count_nonzero(unknown) + 1)
    return apart


@dataclass(frozen=True, eq=False)
class Identities:
    """A gallery's identities, prepared once for many queries.

    Attributes:
        pids: (P,) the distinct identity numbers, ascending; those below 0 are unknown people, one an image.
        index: (G,) each image's position in `pids`.
        members: (P + 1, S) each identity's gallery rows in gallery order, padded with -1; the last row is all
            padding.
        slabs: S arrays; the s-th holds the s-th image of every identity that has so many, the richest
            identity first.
    """

    pids: NDArray[np.int64]
    index: NDArray[np.int64]
    members: NDArray[np.int64]
    slabs: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, gallery_pids: NDArray[np.int64]) -> Identities:
        """Group a gallery's rows by identity."""
        gallery_pids = unknown_apart(gallery_pids)
        pids, index, counts = np.unique(gallery_pids, return_inverse=True, return_counts=True)
        order = np.argsort(index, kind="stable")
        slot = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        members = np.full((len(pids) + 1, int(counts.max(initial=0))), -1, dtype=np.int64)
        members[index[order], slot] = order
        richest = members[np.argsort(-counts, kind="stable")]
        slabs = tuple(column[column >= 0] for column in richest.T)
        return cls(pids, index, members, slabs)

    def find(self, query_pids: NDArray[np.int64]) -> NDArray[np.int64]:
        """(Q,) positions of the queries' identities in `pids`, `len(pids)` where the gallery lacks one.

        A query of an unknown person (pid below 0) has none.
        """
        at = np.searchsorted(self.pids, query_pids)
        known = (at < len(self.pids)) & (query_pids >= 0)
        known[known] = self.pids[at[known]] == query_pids[known]
        return np.where(known, at, len(self.pids))
