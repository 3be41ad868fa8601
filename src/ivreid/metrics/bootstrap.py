"""Bootstrap confidence intervals over query identities.

The images of one person stand or fall together, so people and not images are drawn again (a cluster
bootstrap): a figure is a ratio, sum of outcomes over number of valid queries, and each resample weighs the
people by how often they were drawn. Intervals are percentile intervals (Efron and Tibshirani, "An
Introduction to the Bootstrap", chapter 13). They say how far the figure may move with other people before
the same cameras, for the galleries as drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError

DoubleArray = NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, in the unit of the figure."""

    estimate: float
    low: float
    high: float
    confidence: float = CONFIDENCE

    def to_json(self) -> dict[str, float]:
        """The interval as plain JSON values."""
        return {"estimate": self.estimate, "low": self.low, "high": self.high, "confidence": self.confidence}


@dataclass(frozen=True, eq=False)
class IdentitySums:
    """Outcomes summed over each query identity: all that resampling people needs.

    Attributes:
        pids: (I,) unique identity numbers, ascending.
        counts: (I,) valid queries of each, above 0 (averaged over trials, so not always whole).
        sums: Figure name -> (I,) sum over those queries.

    Raises:
        DataError: Unequal lengths, repeated or unsorted identities, counts that are not positive.
    """

    pids: NDArray[np.int64]
    counts: DoubleArray
    sums: Mapping[str, DoubleArray]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pids", np.asarray(self.pids))
        object.__setattr__(self, "counts", np.asarray(self.counts, dtype=np.float64))
        lengths = {len(self.pids), len(self.counts), *(len(values) for values in self.sums.values())}
        if len(lengths) > 1:
            raise DataError(f"per-identity columns have unequal lengths {sorted(lengths)}")
        if (np.diff(self.pids) <= 0).any():
            raise DataError("per-identity rows must name each pid once, in ascending order")
        if not (self.counts > 0).all() or not all(np.isfinite(v).all() for v in self.sums.values()):
            raise DataError("per-identity rows need a positive number of valid queries and finite sums")

    def __len__(self) -> int:
        return len(self.pids)

    def figures(self) -> dict[str, float]:
        """Each figure over all identities: sum of outcomes / valid queries."""
        return {name: float(values.sum() / self.counts.sum()) for name, values in self.sums.items()}


def identity_sums(
    pids: NDArray[np.int64], valid: NDArray[np.bool_], outcomes: Mapping[str, NDArray[Any]]
) -> IdentitySums:
    """Sum per-query outcomes over each identity; identities without a valid query take no part.

    Args:
        pids: (Q,) identity of each query; the trials of a protocol may be joined end to end.
        valid: (Q,) True where the query has a true match left.
        outcomes: Figure name -> (Q,) outcome (a rank-1 hit, AP, INP); only valid rows are read.
    """
    known, rows = np.unique(pids[valid], return_inverse=True)
    sums: dict[str, DoubleArray] = {
        name: np.bincount(
            rows, weights=np.asarray(values, dtype=np.float64)[valid], minlength=len(known)
        ).astype(np.float64)
        for name, values in outcomes.items()
    }
    return IdentitySums(known, np.bincount(rows, minlength=len(known)).astype(np.float64), sums)


def draw_counts(identities: int, resamples: int, rng: np.random.Generator) -> DoubleArray:
    """(B, I) how often each identity was drawn in each of B resamples of I identities with replacement."""
    return rng.multinomial(identities, np.full(identities, 1 / identities), size=resamples).astype(np.float64)


def percentile_interval(estimate: float, samples: DoubleArray, confidence: float = CONFIDENCE) -> Interval:
    """The central `confidence` share of (B,) resampled values, around `estimate`."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(estimate), float(low), float(high), confidence)


def bootstrap(
    table: IdentitySums,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, Interval]:
    """The interval of every figure, from resampling identities.

    Args:
        table: Outcomes per identity.
        rng: Source of the resamples.
        resamples: How many.
        confidence: Coverage wanted, in (0, 1).

    Raises:
        DataError: Fewer than two identities: nothing can be resampled.
    """
    weights = _weights(len(table), resamples, rng)
    return {
        name: percentile_interval(
            estimate, (weights @ table.sums[name]) / (weights @ table.counts), confidence
        )
        for name, estimate in table.figures().items()
    }


def paired_bootstrap(
    first: IdentitySums,
    second: IdentitySums,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, Interval]:
    """The interval of second - first for every figure both hold, the same people drawn for both.

    Pairing removes what the two share, that some people are hard for any model, so it sees smaller
    differences than two separate intervals could.

    Raises:
        DataError: The identities differ, or there are fewer than two.
    """
    if not np.array_equal(first.pids, second.pids):
        only = np.setxor1d(first.pids, second.pids)
        raise DataError(
            f"a paired comparison needs the same query identities; {len(only)} differ, first {only[0]}"
        )
    weights = _weights(len(first), resamples, rng)
    before, after = first.figures(), second.figures()

    def resampled(table: IdentitySums, name: str) -> DoubleArray:
        return np.asarray((weights @ table.sums[name]) / (weights @ table.counts))

    return {
        name: percentile_interval(
            after[name] - before[name], resampled(second, name) - resampled(first, name), confidence
        )
        for name in before
        if name in after
    }


def _weights(identities: int, resamples: int, rng: np.random.Generator) -> DoubleArray:
    if identities < 2:
        raise DataError(f"a bootstrap over identities needs at least 2 of them, got {identities}")
    return draw_counts(identities, resamples, rng)
