"""Figures of a ranking, from plain arrays: ranks, average precision, CMC."""

from ivreid.metrics.figures import CMC_LENGTH, Figures, cmc_curve, figures
from ivreid.metrics.outcomes import CMC_RULES, CmcRule, Outcomes, rank_queries

__all__ = [
    "CMC_LENGTH",
    "CMC_RULES",
    "CmcRule",
    "Figures",
    "Outcomes",
    "cmc_curve",
    "figures",
    "rank_queries",
]
