"""Affinity inference (AIM), the re-ranking of SAAI: images are compared by their likeness to the gallery.

Fang, Yang, Fu: "Visible-Infrared Person Re-Identification via Semantic Alignment and Affinity Inference", ICCV 2023.
With unit vectors q and g:

    a[i]     = row i of q g^T (a query) or of g g^T (a gallery image), its k1 largest entries, 0 elsewhere
    a[g]    := mean of a over the k2 gallery images nearest to g, itself included
    distance = - cos(a[q], a[g]) - q . g

An image is nearest to itself; equal likeness counts in gallery order. Published k1, k2, chosen on the test set:
SYSU-MM01 all-search 4, 1, indoor 2, 2, ten shots 20, 6; RegDB 8, 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ivreid.errors import UsageError
from ivreid.metrics.distances import Distances, PreparedVectors, Vectors
from ivreid.retrieval.kreciprocal import check_both, counting, mean_of
from ivreid.retrieval.nearest import all_nearest
from ivreid.retrieval.reranker import GALLERY, BlockReranker
from ivreid.types import Progress

_ROWS = 256


@dataclass(frozen=True)
class AffinityInference(BlockReranker):
    """AIM with its parameters.

    Attributes:
        k1: Entries of a row of likenesses that are kept.
        k2: Gallery images, itself included, whose rows are averaged.
        metric: Must be "cosine".

    Raises:
        UsageError: A parameter out of its range, or another metric.
    """

    name: ClassVar[str] = "aim"
    sees: ClassVar[str] = GALLERY
    note: ClassVar[str] = (
        "each query was ranked with the help of the likeness of gallery images to each other, also of pairs that "
        "the protocol's camera rule excludes"
    )
    k1: int = 4
    k2: int = 1
    metric: str = "cosine"

    def __post_init__(self) -> None:
        self.at_least_one("k1", "k2")
        if self.metric != "cosine":
            raise UsageError(f"re-ranking aim compares by cosine; use metric cosine, not {self.metric}")

    def blocks(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """As `BlockReranker`; distances are in [-2, 2]."""
        check_both(query, gallery)
        asking = PreparedVectors.of(query, self.metric, "query vectors")
        asked = PreparedVectors.of(gallery, self.metric, "gallery vectors")
        tick = counting(progress, len(gallery) + len(query), len(query))
        near, likeness = _nearest_with_itself(asked, max(self.k1, self.k2), tick(0))
        rows = _unit_rows(mean_of(_sparse(near[:, : self.k1], likeness[:, : self.k1]), near[:, : self.k2]))
        columns = rows.T.tocsr()
        found = all_nearest(asking, asked, min(self.k1, len(asked)), progress=tick(len(gallery)))
        of_queries = _unit_rows(_sparse(found.indices, 1 - found.squared / 2, len(asked)))
        measure, begun = Distances(asked.exact), tick(len(gallery) + len(query))
        for start in range(0, len(asking), _ROWS):
            stop = min(start + _ROWS, len(asking))
            block = measure(asking.exact[start:stop]) - 1  # minus the cosine
            block -= (of_queries[start:stop] @ columns).toarray()
            yield start, block.astype(np.float32)
            if begun:
                begun(stop, len(asking))


def _nearest_with_itself(
    images: PreparedVectors, k: int, progress: Progress | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(G, k) every image and its nearest others, and the cosines to them."""
    own = np.arange(len(images))[:, None]
    others = min(k, len(images)) - 1
    if not others:
        return own, np.ones(own.shape)
    found = all_nearest(images, images, others, skip_self=True, progress=progress)
    near = np.concatenate([own, found.indices], axis=1)
    return near, np.concatenate([np.ones(own.shape), 1 - found.squared / 2], axis=1)


def _sparse(columns: NDArray[np.int64], values: NDArray[np.float64], width: int | None = None) -> Any:
    """The (N, width) matrix with `values` at `columns` of each row; width N where not given."""
    count, each = columns.shape
    starts = np.arange(count + 1) * each
    return sparse.csr_matrix((values.ravel(), columns.ravel(), starts), shape=(count, width or count))


def _unit_rows(matrix: Any) -> Any:
    """The rows scaled to length 1; a row of zeros stays."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (sparse.diags(1 / np.where(lengths > 0, lengths, 1)) @ matrix).tocsr()
