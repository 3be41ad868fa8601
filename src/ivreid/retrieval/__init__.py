"""Exact blocked top-k, and re-ranking: always named in a result, never a default."""

from __future__ import annotations

from typing import Any

from ivreid.errors import UsageError, did_you_mean
from ivreid.retrieval.expansion import AverageQueryExpansion
from ivreid.retrieval.kreciprocal import KReciprocal
from ivreid.retrieval.ranking import Ranking, rank

RERANKERS: dict[str, type[KReciprocal] | type[AverageQueryExpansion]] = {
    KReciprocal.name: KReciprocal,
    AverageQueryExpansion.name: AverageQueryExpansion,
}
"""Every re-ranking by name: frozen settings whose call maps (query, gallery) to (Q, G) distances."""


def get_reranker(name: str, **settings: Any) -> KReciprocal | AverageQueryExpansion:
    """The re-ranking of that name with its settings (see the class).

    Raises:
        UsageError: Unknown name or setting, or a value out of range.
    """
    if name not in RERANKERS:
        raise UsageError(f"there is no re-ranking {name!r}; {did_you_mean(name, RERANKERS)}")
    kind = RERANKERS[name]
    unknown = sorted(settings.keys() - kind.__dataclass_fields__.keys())
    if unknown:
        known = ", ".join(kind.__dataclass_fields__)
        raise UsageError(f"re-ranking {name!r} has no setting {', '.join(unknown)}; it takes {known}")
    return kind(**settings)


__all__ = ["RERANKERS", "AverageQueryExpansion", "KReciprocal", "Ranking", "get_reranker", "rank"]
