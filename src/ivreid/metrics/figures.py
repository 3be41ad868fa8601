"""From what became of each query to the figures people report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import UsageError
from ivreid.metrics.outcomes import CMC_RULES, CmcRule, Outcomes

CMC_LENGTH = 50
"""Ranks kept of a CMC curve; past the end of a smaller gallery the curve repeats its last value."""


@dataclass(frozen=True, eq=False)
class Figures:
    """The figures of one ranking, fractions in [0, 1], over valid queries only.

    Attributes:
        cmc: (K,) float64; `cmc[k - 1]` is the share of valid queries whose first match stands at rank k or
            better.
        mean_ap: Mean average precision (mAP).
        mean_inp: Mean inverse negative penalty (mINP).
        valid_queries: Number of valid queries.
    """

    cmc: NDArray[np.float64]
    mean_ap: float
    mean_inp: float
    valid_queries: int


def cmc_curve(first: NDArray[np.int64], length: int = CMC_LENGTH) -> NDArray[np.float64]:
    """The cumulative matching characteristic of first-match ranks.

    Args:
        first: (V,) 1-based ranks of valid queries.
        length: Ranks to report.

    Returns:
        (length,) float64, never falling.

    Raises:
        UsageError: No query, or a rank below 1.
    """
    if not len(first) or first.min() < 1:
        raise UsageError("a CMC curve needs at least one valid query, and ranks from 1 on")
    hits = np.bincount(np.minimum(first, length + 1), minlength=length + 2)[1 : length + 1]
    return np.cumsum(hits) / len(first)


def figures(outcomes: Outcomes, rule: CmcRule, length: int = CMC_LENGTH) -> Figures:
    """Average the outcomes of valid queries.

    Raises:
        UsageError: An unknown CMC rule, or no valid query.
    """
    if rule not in CMC_RULES:
        raise UsageError(f"unknown CMC rule {rule!r}; known rules: {', '.join(CMC_RULES)}")
    valid = outcomes.valid
    if not valid.any():
        raise UsageError("no query has a true match left in the gallery, so there is nothing to average")
    curve = cmc_curve(outcomes.first(rule)[valid], length)
    mean_ap, mean_inp = float(outcomes.ap[valid].mean()), float(outcomes.inp[valid].mean())
    return Figures(curve, mean_ap, mean_inp, int(valid.sum()))
