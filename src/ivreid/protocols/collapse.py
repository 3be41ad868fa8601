"""Whether embeddings have collapsed: most of one modality on a single point, so that nothing is told apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.distances import check_metric, squared_distances, unit
from ivreid.protocols.base import canonical_order
from ivreid.protocols.fixed_trial import DistanceMatrix, Scored
from ivreid.types import FloatArray

_ROUNDING = 1e-6
"""Vectors no farther apart than this share of their length are equal: single precision keeps seven digits."""
_ROUNDING_OF_HALF = float(np.finfo(np.float16).eps)
"""The same where each number is one of half precision: two that were nearly equal may be rounded apart."""
_SAMPLE = 64
_WORTH_COUNTING = _SAMPLE // 4  # of the sample on one point; where most images are, it is about half


def collapse_notes(embeddings: Scored, metric: str = "cosine") -> Iterator[str]:
    """One sentence for each modality most of whose embeddings are one vector, as the metric sees them.

    Raises:
        UsageError: An unknown metric.
    """
    if isinstance(embeddings, DistanceMatrix):
        return
    check_metric(metric)
    order = canonical_order(embeddings.images)
    infrared = embeddings.images.infrared[order]
    words = ("infrared ", "visible ") if infrared.any() and not infrared.all() else ("", "")
    for rows, word in zip((order[infrared], order[~infrared]), words, strict=True):
        equal = _on_one_point(embeddings.vectors, rows, metric)
        if len(rows) > 1 and equal > len(rows) / 2:
            yield (
                f"COLLAPSED: {equal:,} of {len(rows):,} {word}embeddings are one vector but for rounding, so they "
                "do not tell people apart; look for a diverged or untrained network, or features saved wrongly"
            )


def _on_one_point(vectors: FloatArray, rows: NDArray[np.int64], metric: str) -> int:
    """How many of the rows lie on the point where most of an even sample of them lie; 0 where that is few."""
    if not len(rows):
        return 0
    sample = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)]
    share = _ROUNDING_OF_HALF if _are_half(vectors[sample]) else _ROUNDING
    points = _points(vectors[sample], metric)
    squares = np.einsum("nd,nd->n", points, points)
    near = (squared_distances(points, squares, points, squares) <= share**2 * squares).sum(axis=0)
    best = int(near.argmax())
    if near[best] < min(_WORTH_COUNTING, len(sample) / 2):
        return 0
    gap = np.linalg.norm(_points(vectors[rows], metric) - points[best], axis=1)
    return int((gap <= share * np.sqrt(squares[best])).sum())


def _are_half(vectors: FloatArray) -> bool:
    """Whether a file in half precision holds them as they are."""
    with np.errstate(over="ignore", under="ignore"):
        return bool((vectors.astype(np.float16) == vectors).all())


def _points(vectors: FloatArray, metric: str) -> NDArray[np.float64]:
    return unit(vectors) if metric == "cosine" else vectors.astype(np.float64)
