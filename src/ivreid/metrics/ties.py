"""What figures would be on average over every order of equally distant images.

A ranked list puts images at equal distance in gallery order. Any other order is as good, so where an image of
someone else lies at exactly the distance of a true match, the figures depend on that order. Here are their exact
expectations when every order of each group of tied images is equally likely. In a group of n images, m of them
true matches, after N nearer images of which M are true matches:

    AP      each match stands at place j = 1..n of the group with chance 1 / n; before it stand M and, on average,
            (j - 1) (m - 1) / (n - 1) other matches
    INP     the last of the m matches stands at place j with chance C(j - 1, m - 1) / C(n, m)
    CMC     by images: none of the m matches is among the first t of the group with chance C(n - t, m) / C(n, m)
    CMC     by identities: let every image draw an exponential time and the group stand in the order of times;
            an identity with c images is seen before time x with chance 1 - exp(-c x), independently of the
            others, and the first of the m matches comes at x with density m exp(-m x)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import comb, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.identities import Identities
from ivreid.metrics.outcomes import CmcRule, Outcomes

RANKS = (1, 5, 10, 20)
"""Where the expected CMC is computed."""
_STEP = 0.1  # of the trapezoidal rule over log x, whose error falls exponentially: here below rounding

DoubleArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TieExpectations:
    """Expected outcomes of the queries in which the order of tied images matters.

    Attributes:
        rows: (T,) int64 positions of those queries.
        ap, inp: (T,) float64.
        image, identity: (T, 4) float64 chance that the first true match stands within `RANKS`, by CMC rule.
    """

    rows: NDArray[np.int64]
    ap: DoubleArray
    inp: DoubleArray
    image: DoubleArray
    identity: DoubleArray

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def concatenate(cls, parts: Sequence[TieExpectations]) -> TieExpectations:
        """Those of several groups of queries, one after the other; `rows` count from the first query of all."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def expect_ties(
    distances: NDArray[Any], wanted: NDArray[np.int64], gallery: Identities, outcomes: Outcomes
) -> TieExpectations:
    """The expectations of a block of queries, as `rank_block` ranked it.

    Args:
        distances: (B, G) float, finite but for excluded pairs, which hold infinity.
        wanted: (B,) the queries' identities as `gallery.find` gives them.
        gallery: The gallery's identities.
        outcomes: What became of the queries; those marked `tied` are looked at.
    """
    rows = np.flatnonzero(outcomes.tied)
    shape = len(rows), len(RANKS)
    ties = TieExpectations(rows, *(np.empty(size) for size in (len(rows), len(rows), shape, shape)))
    for i, row in enumerate(rows):
        found = _one(np.ascontiguousarray(distances[row]), int(wanted[row]), gallery)
        ties.ap[i], ties.inp[i], ties.image[i], ties.identity[i] = found
    return ties


def expect_ties_of_matrix(
    distances: NDArray[Any],
    query_pids: NDArray[np.int64],
    gallery_pids: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None,
    outcomes: Outcomes,
) -> TieExpectations:
    """The same for a whole matrix, as `rank_queries` ranked it."""
    rows = np.flatnonzero(outcomes.tied)
    some = distances[rows].astype(np.promote_types(distances.dtype, np.float32))
    if excluded is not None:
        some[excluded[rows]] = np.inf
    gallery = Identities.of(gallery_pids)
    found = expect_ties(some, gallery.find(query_pids[rows]), gallery, outcomes.take(rows))
    return replace(found, rows=rows)


def expected_figures(outcomes: Outcomes, ties: TieExpectations, rule: CmcRule) -> dict[str, float]:
    """rank1 to rank20, mAP and mINP of a trial, averaged over every order of tied images."""
    first = np.asarray(outcomes.first(rule)[:, None] <= RANKS, dtype=np.float64)
    ap, inp = outcomes.ap.copy(), outcomes.inp.copy()
    first[ties.rows] = ties.image if rule == "image" else ties.identity
    ap[ties.rows], inp[ties.rows] = ties.ap, ties.inp
    valid = outcomes.valid
    curve = {f"rank{k}": float(share) for k, share in zip(RANKS, first[valid].mean(axis=0), strict=True)}
    return {**curve, "mAP": float(ap[valid].mean()), "mINP": float(inp[valid].mean())}


def _one(
    distances: NDArray[Any], wanted: int, gallery: Identities
) -> tuple[float, float, DoubleArray, DoubleArray]:
    """AP, INP, and both CMC at `RANKS` of one query with a true match."""
    rows = gallery.members[wanted]
    own = distances[rows[rows >= 0]]
    levels, matches = np.unique(own[np.isfinite(own)], return_counts=True)
    values = np.sort(distances)
    nearer = np.searchsorted(values, levels)
    sizes = np.searchsorted(values, levels, side="right") - nearer
    before = np.cumsum(matches) - matches
    groups = list(zip(nearer.tolist(), sizes.tolist(), before.tolist(), matches.tolist(), strict=True))
    total = int(matches.sum())
    ap = sum(_precisions(*group) for group in groups) / total
    inp = total * _inverse_last(groups[-1][0], groups[-1][1], groups[-1][3])
    image = _first_image(groups[0][0], groups[0][1], groups[0][3])
    return ap, inp, image, _first_identity(distances, levels[0], wanted, int(matches[0]), gallery)


@lru_cache(maxsize=1 << 14)
def _precisions(nearer: int, size: int, before: int, matches: int) -> float:
    """Expected sum of (matches so far) / rank over the matches of a group."""
    place = np.arange(1, size + 1)
    others = (place - 1) * ((matches - 1) / max(size - 1, 1))
    return float(((before + 1 + others) / (nearer + place)).sum() * matches / size)


@lru_cache(maxsize=1 << 14)
def _inverse_last(nearer: int, size: int, matches: int) -> float:
    """Expected 1 / rank of the last match of a group."""
    place = np.arange(size, matches - 1, -1)
    chance = matches / size * np.cumprod(np.r_[1.0, (place[:-1] - matches) / (place[:-1] - 1)])
    return float((chance / (nearer + place)).sum())


@lru_cache(maxsize=1 << 14)
def _first_image(nearer: int, size: int, matches: int) -> DoubleArray:
    """(4,) chance that the first match of a group stands within `RANKS` of the list."""
    taken = np.clip(np.array(RANKS) - nearer, 0, size)
    left = size - np.arange(matches)
    return np.asarray(1 - np.prod(np.maximum(left - taken[:, None], 0) / left, axis=1))


def _first_identity(
    distances: NDArray[Any], nearest: Any, wanted: int, matches: int, gallery: Identities
) -> DoubleArray:
    """(4,) chance that the query's identity stands within `RANKS` among the identities."""
    nearer, tied = (
        np.bincount(gallery.index[chosen], minlength=len(gallery.pids))
        for chosen in (distances < nearest, distances == nearest)
    )
    tied[wanted] = 0
    people = np.bincount(
        tied[nearer == 0]
    )  # people[c] identities come into sight in this group, with c images
    images = np.flatnonzero(people[1:]) + 1
    chance = _identities_ahead(matches, tuple(zip(images.tolist(), people[images].tolist(), strict=True)))
    at_most = np.array(RANKS) - 1 - np.count_nonzero(nearer)
    return np.where(at_most >= 0, chance[np.maximum(at_most, 0)], 0.0)


@lru_cache(maxsize=1 << 12)
def _identities_ahead(matches: int, others: tuple[tuple[int, int], ...]) -> DoubleArray:
    """(20,) chance that at most k = 0..19 of the other tied identities are seen before the first match.

    Args:
        matches: Tied images of the query's identity.
        others: (images, identities with so many) for the others.
    """
    most = RANKS[-1]
    if not others:
        return np.ones(most)
    images = matches + sum(count * people for count, people in others)
    # trapezoidal rule over log x: what lies outside these bounds is below 1e-17 of the whole
    low, high = log(1e-18 / images), log(45 / matches)
    x = np.exp(low + _STEP * np.arange(int((high - low) / _STEP) + 1))
    ahead = np.zeros((most, len(x)))  # chance of k identities by time x
    ahead[0] = 1
    for count, people in others:
        unseen, seen, before = np.exp(-count * x), -np.expm1(-count * x), ahead
        ahead = np.zeros_like(before)
        for k in range(min(people + 1, most)):
            ahead[k:] += float(comb(people, k)) * unseen ** (people - k) * seen**k * before[: most - k]
    weights = matches * np.exp(-matches * x) * x * _STEP
    return np.asarray(np.minimum(np.cumsum(ahead @ weights), 1.0))
