"""What every re-ranking is: settings that check themselves, and a label that says what it looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import UsageError
from ivreid.metrics.distances import Vectors
from ivreid.types import Progress

GALLERY = "gallery-transductive"
QUERY = "query-transductive"
BOTH = "query- and gallery-transductive"
"""A ranking that depends on other test images: on those of the gallery, on the other queries, or on both."""


class Reranker(ABC):
    """A re-ranking with its settings, a frozen dataclass; call it to turn vectors into distances.

    Class attributes:
        name: In the registry, on the command line and in results.
        sees: `GALLERY`, `QUERY` or `BOTH`.
        note: What a reader of its results must know.
        spectra: Whether it needs four embeddings of each visible image, see `ivreid.retrieval.mser`.

    Attributes:
        metric: "cosine" or "euclidean", the space it works in.
    """

    name: ClassVar[str]
    sees: ClassVar[str]
    note: ClassVar[str] = "the re-ranking also saw pairs that the protocol's camera rule excludes"
    spectra: ClassVar[bool] = False
    metric: str

    @abstractmethod
    def __call__(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """The (Q, G) float32 re-ranked distances of queries (Q, D) and a gallery (G, D).

        Raises:
            DataError: Empty input, unequal dimensions, values that are not finite.
        """

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Names of the settings that may be chosen; the metric is the evaluation's."""
        return tuple(one.name for one in fields(cls) if one.name != "metric")  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """What a result's `rerank` field says: the name, every parameter, and what was looked at."""
        said = (f"{key}={_shown(getattr(self, key))}" for key in self.parameters())
        return f"{self.name} ({', '.join(said)}; {self.looked_at})"

    @property
    def looked_at(self) -> str:
        """`sees`, with these settings."""
        return self.sees

    def at_least_one(self, *keys: str) -> None:
        """Refuse counts of neighbours below 1.

        Raises:
            UsageError: The message names all of them.
        """
        if min(getattr(self, key) for key in keys) < 1:
            needed, got = (", ".join(f"{k}{v}" for k, v in pairs) for pairs in (
                [(key, " >= 1") for key in keys], [(key, f"={getattr(self, key)}") for key in keys],
            ))  # fmt: skip
            raise UsageError(f"re-ranking {self.name} needs {needed}; got {got}")

    def share(self, key: str) -> None:
        """Refuse a share outside [0, 1].

        Raises:
            UsageError: The message names it.
        """
        value = getattr(self, key)
        if not 0 <= value <= 1:
            raise UsageError(f"re-ranking {self.name} needs a {key} in [0, 1]; got {key}={value}")


class BlockReranker(Reranker):
    """A re-ranking whose distances come some queries at a time."""

    @abstractmethod
    def blocks(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The distances as (first query row, (q, G) block) pairs, for results too large to hold.

        Raises:
            DataError: As for the call.
        """

    def __call__(
        self, query: Vectors, gallery: Vectors, *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """The (Q, G) float32 re-ranked distances of queries (Q, D) and a gallery (G, D).

        Args:
            query: (Q, D) vectors.
            gallery: (G, D) vectors.
            progress: Called with (steps done, steps).

        Raises:
            DataError: Empty input, unequal dimensions, values that are not finite.
        """
        out = np.empty((len(query), len(gallery)), dtype=np.float32)
        for start, block in self.blocks(query, gallery, progress=progress):
            out[start : start + len(block)] = block
        return out


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
