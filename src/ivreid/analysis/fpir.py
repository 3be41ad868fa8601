"""How often a search comes upon a stranger: the false-positive identification rate (FPIR) of a gallery of N people.

Somebody who is not in the gallery is searched for, and the nearest of N others lies within a threshold. The rate
is over people: each of n people queries once, the others stand in the gallery once, and every gallery of N of
those n - 1 counts alike, which needs no drawing: with K of them within the threshold, a share
C(n - 1 - K, N) / C(n - 1, N) of the galleries holds none.

People are few and each stands in many pairs, so pairs do not count for the interval. The variance comes from
leaving each person out once, as query and as gallery (jackknife; Efron and Stein, Annals of Statistics 1981), and
the interval is the exact binomial one for as many independent searches as have that variance, at most one a
person (Korn and Graubard, Survey Methodology 1998). With no event at all among n people it ends at about 3.7 / n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from ivreid.metrics.bootstrap import CONFIDENCE, DoubleArray, Interval

SHARE_KEPT = 0.1
"""Only this share of pairs, the nearest, is kept: beyond, a search of one person is wrong in one of ten."""


def people_for(rate: float, confidence: float = CONFIDENCE) -> int:
    """How many people a promise takes: with fewer, even no event among them leaves a higher rate possible."""
    return int(np.ceil(np.log((1 - confidence) / 2) / np.log1p(-rate)))


def binomial_interval(rate: float, searches: float, confidence: float = CONFIDENCE) -> Interval:
    """The exact interval (Clopper and Pearson) of a rate seen in so many independent searches, whole or not."""
    events, tail = rate * searches, (1 - confidence) / 2
    low = special.betaincinv(events, searches - events + 1, tail) if events > 0 else 0.0
    high = special.betaincinv(events + 1, searches - events, 1 - tail) if events < searches else 1.0
    return Interval(float(rate), float(low), float(high), confidence)


@lru_cache(maxsize=256)
def found_share(others: int, searched: int) -> DoubleArray:
    """(others + 1,) chance that a gallery of `searched` of `others` people holds one of K, for K = 0, 1, ..."""
    left = others - np.arange(others + 1) - searched
    log = special.gammaln(others - np.arange(others + 1) + 1.0) - special.gammaln(np.maximum(left, 0) + 1.0)
    share = np.asarray(1 - np.where(left >= 0, np.exp(log - log[0]), 0.0))
    share.setflags(write=False)
    return share


@dataclass(frozen=True, eq=False)
class _Near:
    """The nearest pairs of one draw, ascending: row q is the query of person q, column g the gallery's entry."""

    distances: DoubleArray
    query: NDArray[np.int64]
    gallery: NDArray[np.int64]


class StrangerRates:
    """The rates of galleries of any size, with intervals, from draws of one query and one entry a person.

    Args:
        draws: Distances (n, n) of each person's query to each other's entry; the diagonal is not read. Several
            draws of images of the same people are averaged.
        confidence: Coverage of the intervals.
    """

    def __init__(self, draws: Sequence[NDArray[Any]], confidence: float = CONFIDENCE) -> None:
        self.people, self.confidence = len(draws[0]), confidence
        self._draws = [_nearest(draw) for draw in draws]

    @property
    def most(self) -> int:
        """The largest gallery there are people for."""
        return self.people - 1

    @property
    def smallest(self) -> float:
        """The smallest distance of two people."""
        return min(float(draw.distances[0]) for draw in self._draws)

    def thresholds(self, count: int) -> DoubleArray:
        """Ascending: just below every pair, then about `count` at ever larger shares of the kept pairs."""
        pooled = np.sort(np.concatenate([draw.distances for draw in self._draws]))
        places = np.unique(np.geomspace(1, len(pooled), count).astype(np.int64)) - 1
        return np.unique(np.r_[np.nextafter(pooled[0], -np.inf), pooled[places]])

    def rates(self, threshold: float, sizes: Sequence[int]) -> list[Interval]:
        """The rate at one threshold for each size of the gallery."""
        parts = [self._one(draw, threshold, sizes) for draw in self._draws]
        rate, variance = (np.mean([part[i] for part in parts], axis=0) for i in (0, 1))
        return [self._interval(float(r), float(v)) for r, v in zip(rate, variance, strict=True)]

    def keeping(self, rate: float, searched: int) -> float:
        """The largest threshold whose interval ends at or below `rate` for a gallery of that size."""
        pooled = np.unique(np.concatenate([draw.distances for draw in self._draws]))
        kept, over = -1, len(pooled)
        while over - kept > 1:
            middle = (kept + over) // 2
            if self.rates(float(pooled[middle]), [searched])[0].high <= rate:
                kept = middle
            else:
                over = middle
        following = pooled[over] if over < len(pooled) else pooled[-1] + 1e-9
        return float(np.nextafter(following, -np.inf))

    def _interval(self, rate: float, variance: float) -> Interval:
        alone = rate * (1 - rate) / variance if variance > 0 else float(self.people)
        return binomial_interval(rate, float(np.clip(alone, 1, self.people)), self.confidence)

    def _one(self, draw: _Near, threshold: float, sizes: Sequence[int]) -> tuple[DoubleArray, DoubleArray]:
        """Rate and its variance for each size."""
        n = self.people
        count = int(np.searchsorted(draw.distances, threshold, side="right"))
        query, gallery = draw.query[:count], draw.gallery[:count]
        near = np.bincount(query, minlength=n)
        rate = np.array([found_share(n - 1, size)[near].mean() for size in sizes])
        smaller = np.stack([found_share(n - 2, min(size, n - 2)) for size in sizes], axis=1)
        as_before = smaller[np.minimum(near, n - 2)]
        lost = as_before - smaller[np.maximum(np.minimum(near, n - 2) - 1, 0)]
        met = sparse.csr_matrix((np.ones(count), (gallery, query)), shape=(n, n))
        without = (as_before.sum(axis=0) - as_before - met @ lost) / (n - 1)
        return rate, (n - 1) / n * np.square(without - without.mean(axis=0)).sum(axis=0)


def _nearest(draw: NDArray[Any]) -> _Near:
    n = len(draw)
    flat = np.array(draw, dtype=np.float64)
    np.fill_diagonal(flat, np.inf)
    kept = max(1, int(SHARE_KEPT * n * (n - 1)), min(n * (n - 1), 200))
    flat = flat.ravel()
    rows = np.argpartition(flat, kept - 1)[:kept]
    rows = rows[np.argsort(flat[rows], kind="stable")]
    return _Near(flat[rows], rows // n, rows % n)
