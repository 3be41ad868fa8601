"""MSER, the re-ranking of MCJA: k-reciprocal encoding over four embeddings of every visible image.

Liang et al., "Bridging the Gap: Multi-Level Cross-Modality Joint Alignment for Visible-Infrared Person
Re-Identification", TCSVT 2024. A visible image is embedded as it is and with R, G or B copied to all channels; the
four embeddings are four images of the gallery (or of the queries, where these are visible). Encodings are those
of `query_reciprocal`, with k1 40, k2 20 and lambda 0.3, or with `pooled` those of `kreciprocal` (RegDB: k1 50, k2 10,
lambda 0.2), of the sets R(i, k1) as they are, without joining overlapping ones. The distance of two images is
the mean over their embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError
from ivreid.metrics.distances import PreparedVectors, Vectors
from ivreid.retrieval.kreciprocal import check_both, counting, mixed_distances, pooled_codes
from ivreid.retrieval.query_reciprocal import query_codes
from ivreid.retrieval.reranker import BOTH, QUERY, Reranker
from ivreid.types import Progress

SPECTRA = 4
"""Embeddings of a visible image: as it is, and with R, G or B for all channels."""


@dataclass(frozen=True)
class MultiSpectral(Reranker):
    """MSER with its parameters.

    A row is one image: its four embeddings one after the other, as `Embedder(spectra=True)` gives them. A side
    whose four are the same in every row, such as infrared images, counts once.

    Attributes:
        k1: Neighbours of the k-reciprocal sets.
        k2: Images over which encodings are averaged.
        weight: Share of the original distance in the final one (lambda).
        pooled: Gallery images are neighbours, too, as published for RegDB.
        metric: "cosine" or "euclidean", the space the neighbours are taken in.

    Raises:
        UsageError: A parameter out of its range.
    """

    name: ClassVar[str] = "mser"
    sees: ClassVar[str] = QUERY
    note: ClassVar[str] = (
        "each query was ranked with the help of other test images, and visible images were embedded four times"
    )
    spectra: ClassVar[bool] = True
    k1: int = 40
    k2: int = 20
    weight: float = 0.3
    pooled: bool = False
    metric: str = "cosine"

    def __post_init__(self) -> None:
        self.at_least_one("k1", "k2")
        self.share("weight")

    @property
    def looked_at(self) -> str:
        """Pooled, gallery images help as well."""
        return BOTH if self.pooled else self.sees

    def __call__(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """The (Q, G) float32 re-ranked distances, in [0, 1], of (Q, 4 D) and (G, 4 D) vectors.

        Raises:
            DataError: As for `Reranker`; or rows that do not hold four embeddings.
        """
        check_both(query, gallery)
        asking, asked = _apart(query), _apart(gallery)
        space = PreparedVectors.of(np.concatenate([*asking, *asked]), self.metric, "vectors")
        queries = len(asking) * len(query)
        tick = counting(progress, len(space), queries)
        encode = pooled_codes if self.pooled else query_codes
        codes = encode(space, queries, self.k1, self.k2, overlap=False, progress=tick(0))
        out = np.zeros((len(query), len(gallery)), dtype=np.float32)
        for start, block in mixed_distances(space, queries, codes, self.weight, tick(len(space))):
            mean = block.reshape(len(block), len(asked), len(gallery)).mean(axis=1)
            np.add.at(out, np.arange(start, start + len(block)) % len(query), mean / len(asking))
        return out


def _apart(vectors: Vectors) -> list[Vectors]:
    """The different embeddings of every image, each as (N, D): four, or one where the four are the same."""
    parts = np.split(vectors, SPECTRA, axis=1) if vectors.shape[1] % SPECTRA == 0 else []
    lengths = np.array([np.linalg.norm(part.astype(np.float64), axis=1) for part in parts])
    if not parts or not np.allclose(lengths, lengths[0], rtol=1e-3, atol=0):
        raise DataError(
            "re-ranking mser needs rows of four embeddings of the same length each (the image as it is, and with R, G "
            "or B for all channels); these are none: `ivreid evaluate WEIGHTS --rerank mser` makes them from images"
        )
    return parts[:1] if all(np.array_equal(parts[0], part) for part in parts[1:]) else parts
