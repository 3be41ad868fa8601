"""Average query expansion (Chum et al., "Total Recall", ICCV 2007)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.distances import PreparedVectors, Vectors, pairwise
from ivreid.retrieval.ranking import rank
from ivreid.retrieval.reranker import GALLERY, Reranker
from ivreid.types import Progress


@dataclass(frozen=True)
class AverageQueryExpansion(Reranker):
    """A query becomes the mean of itself and its nearest gallery vectors, and asks again.

    Attributes:
        n: Gallery vectors averaged with the query.
        metric: "cosine" (vectors are L2-normalised before averaging) or "euclidean".

    Raises:
        UsageError: n below 1.
    """

    name: ClassVar[str] = "average-query-expansion"
    sees: ClassVar[str] = GALLERY
    n: int = 5
    metric: str = "cosine"

    def __post_init__(self) -> None:
        self.at_least_one("n")

    def expand(
        self, query: Vectors, gallery: Vectors, *, excluded: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """The (Q, D) expanded queries: the mean of each query and its nearest gallery vectors.

        Args:
            query: (Q, D) vectors.
            gallery: (G, D) vectors.
            excluded: (Q, G) bool; an excluded gallery image never expands that query. Without it, as an
                evaluation calls it, the nearest images expand the query whatever the camera rule says.

        Raises:
            DataError: As for `rank`.
        """
        ranking = rank(query, gallery, self.n, metric=self.metric, excluded=excluded)
        total, members = (PreparedVectors.of(vectors, self.metric).scaled() for vectors in (query, gallery))
        for place in range(ranking.k):
            found = ranking.indices[:, place]
            total += np.where((found >= 0)[:, None], members[found], 0.0)
        mean: NDArray[np.float64] = total / (1 + (ranking.indices >= 0).sum(axis=1))[:, None]
        return mean

    def __call__(
        self,
        query: Vectors,
        gallery: Vectors,
        *,
        excluded: NDArray[np.bool_] | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """The (Q, G) float32 distances from the expanded queries, in the same metric.

        Raises:
            DataError: As for `rank`.
        """
        expanded = self.expand(query, gallery, excluded=excluded)
        return np.asarray(pairwise(expanded, gallery, self.metric), dtype=np.float32)
