"""Exact blocked top-k, and re-ranking: always named and labelled in a result, never a default."""

from __future__ import annotations

from ivreid.retrieval.affinity import AffinityInference
from ivreid.retrieval.choosing import RERANKERS, get_reranker, parse_reranker
from ivreid.retrieval.expansion import AverageQueryExpansion
from ivreid.retrieval.kreciprocal import KReciprocal
from ivreid.retrieval.mser import MultiSpectral
from ivreid.retrieval.query_reciprocal import QueryReciprocal
from ivreid.retrieval.ranking import Ranking, rank
from ivreid.retrieval.reranker import Reranker

__all__ = [
    "RERANKERS",
    "AffinityInference",
    "AverageQueryExpansion",
    "KReciprocal",
    "MultiSpectral",
    "QueryReciprocal",
    "Ranking",
    "Reranker",
    "get_reranker",
    "parse_reranker",
    "rank",
]
