"""Verification: is this pair the same person? ROC, TPR at a chosen FPR, equal error rate, thresholds.

A pair is accepted where its distance is at most the threshold. A *genuine* pair shows one person, an
*impostor* pair two. FPR is the share of impostor pairs accepted, TPR the share of genuine pairs accepted;
FNR is 1 - TPR. Tied distances are accepted or refused together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError
from ivreid.metrics.bootstrap import CONFIDENCE, DoubleArray, Interval, draw_counts, percentile_interval
from ivreid.metrics.identities import unknown_apart

_SLACK = 1e-12
"""So that 0.1 of 30 pairs allows 3, whatever binary fractions say."""


@dataclass(frozen=True, eq=False)
class Roc:
    """The ROC curve at every distinct distance, from accepting nothing to accepting all.

    Attributes:
        thresholds: (P,) ascending; the first is -inf.
        fpr: (P,) false-positive rate at each.
        tpr: (P,) true-positive rate at each.
    """

    thresholds: DoubleArray
    fpr: DoubleArray
    tpr: DoubleArray

    @property
    def area(self) -> float:
        """Area under the curve: the chance that a genuine pair is nearer than an impostor pair; ties half."""
        return float(np.trapezoid(self.tpr, self.fpr))

    @property
    def equal_error_rate(self) -> float:
        """The rate at which FPR and FNR meet, linear between the two curve points around the crossing."""
        gap = self.fpr + self.tpr - 1  # FPR - FNR, never falling along the curve
        after = int(np.argmax(gap >= 0))
        before = after - 1  # the curve starts at gap -1, so the crossing is never its first point
        share = -gap[before] / (gap[after] - gap[before])
        return float(self.fpr[before] + share * (self.fpr[after] - self.fpr[before]))

    def tpr_at(self, fpr: float) -> float:
        """The largest TPR of a curve point whose FPR does not exceed `fpr`."""
        return float(self.tpr[np.searchsorted(self.fpr, fpr * (1 + _SLACK), side="right") - 1])

    def thinned(self, points: int = 200) -> Roc:
        """At most about `points` curve points, both ends kept: even in FPR, and finer where FPR is small."""
        wanted = np.concatenate([np.linspace(0, 1, points // 2), np.geomspace(1e-5, 1, points - points // 2)])
        rows = np.searchsorted(self.fpr, wanted, side="right") - 1
        rows = np.unique(np.concatenate([[0, len(self.fpr) - 1], rows]))
        return Roc(self.thresholds[rows], self.fpr[rows], self.tpr[rows])


def roc(genuine: NDArray[Any], impostor: NDArray[Any]) -> Roc:
    """The exact ROC curve.

    Args:
        genuine: Distances of pairs of one person.
        impostor: Distances of pairs of two people.

    Raises:
        DataError: One of them is empty or not finite.
    """
    genuine, impostor = _checked(genuine, "genuine"), _checked(impostor, "impostor")
    thresholds = np.unique(np.concatenate([genuine, impostor]))
    accepted = [
        np.searchsorted(np.sort(side), thresholds, side="right") / len(side) for side in (impostor, genuine)
    ]
    fpr, tpr = (np.concatenate([[0.0], rates]) for rates in accepted)
    return Roc(np.concatenate([[-np.inf], thresholds]), fpr, tpr)


def threshold_at_fpr(impostor: NDArray[Any], fpr: float) -> float:
    """The largest threshold whose false-positive rate does not exceed `fpr`.

    With m = floor(fpr * n) of n impostor pairs allowed, it lies just below the (m + 1)-th smallest distance:
    the next smaller double. With all allowed it is the largest distance.

    Raises:
        DataError: No impostor pairs, or distances that are not finite.
        UsageError: `fpr` outside [0, 1].
    """
    impostor = _checked(impostor, "impostor")
    allowed = _allowed(len(impostor), fpr)
    if allowed == len(impostor):
        return float(impostor.max())
    return float(np.nextafter(np.partition(impostor, allowed)[allowed], -np.inf))


def _allowed(count: int, fpr: float) -> int:
    if not 0 <= fpr <= 1:
        raise UsageError(f"a false-positive rate lies in [0, 1], got {fpr}")
    return int(np.floor(fpr * count * (1 + _SLACK)))


def _checked(values: NDArray[Any], name: str) -> DoubleArray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if not len(values):
        raise DataError(f"there are no {name} pairs: verification needs both pairs of one person and of two")
    if not np.isfinite(values).all():
        raise DataError(f"{int((~np.isfinite(values)).sum())} {name} distance(s) are NaN or infinite")
    return values


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distances between images.

    Attributes:
        distances: (P,) float.
        left, right: (P,) pids of the two sides; equal for a genuine pair. Unknown people have numbers of their
            own, below 0.
    """

    distances: NDArray[np.floating[Any]]
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    @classmethod
    def of_matrix(
        cls,
        distances: NDArray[np.floating[Any]],
        query_pids: NDArray[np.int64],
        gallery_pids: NDArray[np.int64],
        excluded: NDArray[np.bool_] | None = None,
    ) -> Pairs:
        """Every pair of a (Q, G) distance matrix that is not excluded.

        Two images of unknown people (pids below 0) make no pair: they may show one person or two.
        """
        counted = np.ones(distances.shape, dtype=np.bool_) if excluded is None else ~excluded
        counted[np.ix_(query_pids < 0, gallery_pids < 0)] = False
        rows, columns = np.nonzero(counted)
        people = unknown_apart(np.concatenate([query_pids, gallery_pids]))
        return cls(distances[rows, columns], people[rows], people[len(query_pids) + columns])

    @classmethod
    def concatenate(cls, parts: Sequence[Pairs]) -> Pairs:
        """The pairs of several matrices, one after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    @property
    def genuine(self) -> NDArray[np.floating[Any]]:
        """Distances of pairs of one person."""
        return np.asarray(self.distances[self.left == self.right])

    @property
    def impostor(self) -> NDArray[np.floating[Any]]:
        """Distances of pairs of two people."""
        return np.asarray(self.distances[self.left != self.right])


def bootstrap_threshold(
    pairs: Pairs,
    fpr: float,
    *,
    rng: np.random.Generator,
    resamples: int = 200,
    confidence: float = CONFIDENCE,
) -> tuple[Interval, Interval]:
    """Intervals of the threshold at `fpr` and of its TPR, from resampling people.

    A person drawn c times counts c times in genuine pairs, and c * c' times in impostor pairs with one drawn
    c' times. Each resample chooses its own threshold, so the TPR's interval holds the threshold's
    uncertainty too.

    Returns:
        (threshold, TPR).

    Raises:
        DataError: Fewer than two people, or no genuine or impostor pairs.
        UsageError: `fpr` outside [0, 1].
    """
    known, index = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    if len(known) < 2:
        raise DataError(f"a bootstrap over identities needs at least 2 of them, got {len(known)}")
    left, right = index[: len(pairs.left)], index[len(pairs.left) :]
    same = left == right
    genuine = _Weighted(_checked(pairs.distances[same], "genuine"), left[same], None, len(known), 1.0)
    impostor = _Weighted(
        _checked(pairs.distances[~same], "impostor"), left[~same], right[~same], len(known), fpr
    )
    threshold = threshold_at_fpr(impostor.all, fpr)
    values: list[tuple[float, float]] = []
    for counts in draw_counts(len(known), resamples, rng):
        drawn = impostor.threshold(counts, fpr)
        rate = genuine.share(counts, drawn) if drawn is not None else None
        if (
            drawn is not None and rate is not None
        ):  # a resample without genuine or impostor pairs says nothing
            values.append((drawn, rate))
    if len(values) < 2:
        raise DataError(
            "the people are too few for an interval: almost no resample holds genuine and impostor pairs"
        )
    drawn_thresholds, rates = np.array(values).T
    return (
        percentile_interval(threshold, drawn_thresholds, confidence),
        percentile_interval(float((genuine.all <= threshold).mean()), rates, confidence),
    )


class _Weighted:
    """Distances that can be weighed again by how often each person was drawn."""

    def __init__(
        self,
        distances: DoubleArray,
        left: NDArray[np.int64],
        right: NDArray[np.int64] | None,
        people: int,
        share: float,
    ) -> None:
        self.all = distances
        sides = left if right is None else left * people + right
        self.pair_counts = np.bincount(sides, minlength=people if right is None else people * people)
        self.paired = right is not None
        # only the small end decides a small FPR; ten times its share leaves room for any resample's weights
        kept = min(len(distances), int(10 * share * len(distances)) + 1000)
        rows = np.argpartition(distances, kept - 1)[:kept]
        order = rows[np.argsort(distances[rows], kind="stable")]
        self.sorted, self.left = distances[order], left[order]
        self.right = None if right is None else right[order]

    def weights(self, counts: DoubleArray) -> tuple[DoubleArray, float]:
        """Weights of the sorted distances, and the total weight of all."""
        grid = np.outer(counts, counts).ravel() if self.paired else counts
        total = float(grid @ self.pair_counts)
        return counts[self.left] * (1.0 if self.right is None else counts[self.right]), total

    def threshold(self, counts: DoubleArray, fpr: float) -> float | None:
        """The largest threshold whose weighted FPR does not exceed `fpr`; None where no pair was drawn."""
        weights, total = self.weights(counts)
        if total == 0:
            return None
        cumulative = np.cumsum(weights)
        over = int(np.searchsorted(cumulative, fpr * total * (1 + _SLACK), side="right"))
        if over == len(cumulative):  # every kept pair is allowed: all there are, or the kept share ran out
            return float(self.sorted[np.flatnonzero(weights)[-1]])
        return float(np.nextafter(self.sorted[over], -np.inf))

    def share(self, counts: DoubleArray, threshold: float) -> float | None:
        """The weighted share of distances at or below `threshold`."""
        weights, total = self.weights(counts)
        accepted = np.searchsorted(self.sorted, threshold, side="right")
        return float(weights[:accepted].sum() / total) if total else None
