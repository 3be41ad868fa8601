"""A distance threshold for "same person", fitted where the people are known and were not trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError
from ivreid.metrics.bootstrap import CONFIDENCE, Interval
from ivreid.metrics.distances import pairwise
from ivreid.metrics.verification import Pairs, bootstrap_threshold, roc, threshold_at_fpr
from ivreid.protocols.base import Protocol
from ivreid.protocols.collapse import collapse_notes
from ivreid.types import Embeddings

MAX_IMAGES = 2000
"""Images of each modality that enter; beyond, that many are drawn: 2000 x 2000 pairs are ample."""


@dataclass(frozen=True)
class Calibration:
    """A threshold: a visible and an infrared image show the same person where their distance is at most this.

    Attributes:
        metric: "cosine" or "euclidean".
        fpr: The false-positive rate asked for.
        threshold: The largest distance that keeps it, with its interval over people.
        tpr: The true-positive rate there, with its interval, which holds the threshold's uncertainty too.
        equal_error_rate: Of the same pairs.
        identities: Known people the pairs show.
        genuine_pairs: Pairs of one person.
        impostor_pairs: Pairs of two people.
    """

    metric: str
    fpr: float
    threshold: Interval
    tpr: Interval
    equal_error_rate: float
    identities: int
    genuine_pairs: int
    impostor_pairs: int

    def to_json(self) -> dict[str, Any]:
        """The calibration as plain JSON values, as it stands in a weights card."""
        return {
            "metric": self.metric,
            "fpr": self.fpr,
            "threshold": self.threshold.to_json(),
            "tpr": self.tpr.to_json(),
            "equal_error_rate": self.equal_error_rate,
            "identities": self.identities,
            "genuine_pairs": self.genuine_pairs,
            "impostor_pairs": self.impostor_pairs,
        }


def fit_threshold(
    embeddings: Embeddings,
    *,
    fpr: float = 0.01,
    metric: str = "cosine",
    protocol: Protocol | None = None,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Calibration:
    """Fit the threshold on all pairs of a visible and an infrared image.

    Images of unknown people (pid below 0) make pairs of two people with those of known ones, and none with each
    other.

    Args:
        embeddings: Of validation identities, in both modalities.
        fpr: Share of pairs of two people that may be called the same person, in (0, 1).
        metric: Distance the threshold is for.
        protocol: Whose camera rule drops pairs (cameras 2 and 3 of SYSU-MM01 share a room), or None.
        seed: Of the resamples, and of the draw of images beyond `MAX_IMAGES` per modality.
        confidence: Coverage of the intervals.

    Raises:
        UsageError: A rate outside (0, 1), or an unknown metric.
        DataError: One modality is missing, no person stands in both, too few pairs to see such a rate, or one
            that no threshold keeps.
    """
    if not 0 < fpr < 1:
        raise UsageError(f"a false-positive rate to calibrate for lies between 0 and 1, got {fpr}")
    rng = np.random.default_rng(seed)
    infrared = embeddings.images.infrared
    query, gallery = (embeddings.take(_some(np.flatnonzero(side), rng)) for side in (infrared, ~infrared))
    if not len(query) or not len(gallery):
        missing = "an infrared" if not len(query) else "a visible"
        raise DataError(f"calibration pairs visible with infrared images, and there is not {missing} one")
    excluded = protocol.excluded(query.images, gallery.images) if protocol is not None else None
    distances = pairwise(query.vectors, gallery.vectors, metric)
    pairs = Pairs.of_matrix(distances, query.images.pids, gallery.images.pids, excluded)
    genuine, impostor = pairs.genuine, pairs.impostor
    if not len(genuine):
        raise DataError(
            "no person stands in both modalities, so there is no pair of one person to calibrate on"
        )
    if len(impostor) * fpr < 1:
        raise DataError(
            f"{len(impostor):,} pairs of two people cannot show a false-positive rate of {fpr:g}: that takes "
            f"at least {math.ceil(1 / fpr):,}, and many more for a narrow interval"
        )
    _refuse_what_no_threshold_keeps(embeddings, pairs, fpr, metric)
    threshold, tpr = bootstrap_threshold(pairs, fpr, rng=rng, confidence=confidence)
    return Calibration(
        metric=metric,
        fpr=fpr,
        threshold=threshold,
        tpr=tpr,
        equal_error_rate=roc(genuine, impostor).equal_error_rate,
        identities=int((np.union1d(pairs.left, pairs.right) >= 0).sum()),
        genuine_pairs=len(genuine),
        impostor_pairs=len(impostor),
    )


def _refuse_what_no_threshold_keeps(embeddings: Embeddings, pairs: Pairs, fpr: float, metric: str) -> None:
    collapsed = " ".join(collapse_notes(embeddings, metric))
    impostor, smallest = pairs.impostor, float(pairs.distances.min())
    if not collapsed and threshold_at_fpr(impostor, fpr) >= smallest:
        return
    share = float((impostor == smallest).mean())
    why = f"{share:.1%} of the pairs of two people have the smallest distance there is, {smallest:.4g}"
    raise DataError(
        f"a false-positive rate of {fpr:g} cannot be met: "
        + (collapsed or f"{why}; no threshold tells them apart")
    )


def _some(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= MAX_IMAGES else np.sort(rng.choice(rows, MAX_IMAGES, replace=False))
