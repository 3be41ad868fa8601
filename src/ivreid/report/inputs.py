"""What a report is made of: plain values, from files or from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ivreid.types import Embeddings

ImageLoader = Callable[[str], Image.Image]
"""Opens the image of a relative path; raises `ivreid.errors.ImageError` where it cannot."""


Shown = tuple[Image.Image, bool]
"""A picture, and whether it is infrared."""
Attention = Callable[[Sequence[tuple[Shown, Shown]]], Sequence[tuple[NDArray[Any], NDArray[Any]]]]
"""Takes pairs of pictures (query, gallery image); gives for each a map of either, (h, w): how much each place adds to
the similarity of the two, as `ivreid.inference.explain_pairs` does."""


@dataclass(frozen=True)
class ShownImage:
    """One image as a ranked list names it; `path` is empty where the image has no file."""

    path: str
    pid: int
    camid: int
    infrared: bool


@dataclass(frozen=True)
class Hit:
    """One place of a ranked list: 1-based rank, image, distance, and whether it is the same person."""

    rank: int
    image: ShownImage
    distance: float
    right: bool


@dataclass(frozen=True)
class RankedQuery:
    """A query and the head of its ranked list.

    Attributes:
        query: The query image.
        hits: The first places, in order.
        first_match: The first true match, wherever it stands.
        average_precision: AP of this query, in [0, 1].
        matches: True matches in the gallery after exclusion.
    """

    query: ShownImage
    hits: tuple[Hit, ...]
    first_match: Hit
    average_precision: float
    matches: int


@dataclass(frozen=True)
class AllQueries:
    """Every valid query of one trial with the head of its list, for looking through: rows hold numbers only.

    Attributes:
        queries: The V query images, from the hardest to the easiest.
        gallery: The G gallery images.
        average_precision: V values in [0, 1].
        first_match: V ranks of the first true match, from 1.
        hits: (V, K) rows of `gallery`, nearest first; -1 beyond a list's end.
        distances: (V, K) distances of the hits.
        left_out: Valid queries beyond those here.
    """

    queries: tuple[ShownImage, ...]
    gallery: tuple[ShownImage, ...]
    average_precision: NDArray[np.float64]
    first_match: NDArray[np.int64]
    hits: NDArray[np.int64]
    distances: NDArray[np.float64]
    left_out: int = 0


@dataclass(frozen=True)
class RankedLists:
    """Ranked lists of one trial.

    Attributes:
        title: The protocol setting they come from.
        queries: Valid queries of the trial.
        missed: Valid queries whose first place is another person.
        sample: Queries spread evenly from the easiest to the hardest.
        worst: The hardest queries, one an identity.
        everyone: All of them, for the page's browser.
    """

    title: str
    queries: int
    missed: int
    sample: tuple[RankedQuery, ...]
    worst: tuple[RankedQuery, ...]
    everyone: AllQueries | None = None


@dataclass(frozen=True)
class ReportInput:
    """Everything a report shows; what is missing is left empty, with its reason in `reasons`.

    Attributes:
        title: The run's name.
        subtitle: One line about it: method, dataset, length of training.
        results: JSON objects of results, in the order of the table.
        metrics: Rows of the training log (`metrics.jsonl`), in any order.
        config_text: The resolved configuration, as written.
        environment: Versions, revision, fingerprints: a JSON object.
        embeddings: Test embeddings.
        ranked: Ranked lists of one trial.
        image_loader: Opens the pictures of ranked lists.
        selection: Who picked the best checkpoint: "validation" or "published-test" identities, "last"
            for nobody, None where unknown.
        reasons: Why a part is missing, by its name: "results", "metrics", "config", "environment",
            "embeddings", "ranked", "images".
        thresholds: Distances at which a pair is called one person, by name, as the weights' card says.
        learning: Training logs of several runs, by name: drawn over each other.
        attention: Which places of two pictures made them similar; None where nobody can say.
        pictures: The folder for all pictures, as the page names it; None keeps them in the page.
    """

    title: str
    subtitle: str = ""
    results: Sequence[Mapping[str, Any]] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    config_text: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    embeddings: Embeddings | None = None
    ranked: RankedLists | None = None
    image_loader: ImageLoader | None = None
    selection: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    learning: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    attention: Attention | None = None
    pictures: str | None = None

    def reason(self, part: str, default: str) -> str:
        """Why a part is missing."""
        return self.reasons.get(part, default)
