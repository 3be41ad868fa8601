"""Re-rankings by name, and from words such as `aim:k1=4,k2=1`."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from typing import Any

from ivreid.errors import UsageError, did_you_mean
from ivreid.reading import clean
from ivreid.retrieval.affinity import AffinityInference
from ivreid.retrieval.expansion import AverageQueryExpansion
from ivreid.retrieval.kreciprocal import KReciprocal
from ivreid.retrieval.mser import MultiSpectral
from ivreid.retrieval.query_reciprocal import QueryReciprocal
from ivreid.retrieval.reranker import Reranker

RERANKERS: dict[str, type[Reranker]] = {
    kind.name: kind
    for kind in (KReciprocal, AverageQueryExpansion, AffinityInference, QueryReciprocal, MultiSpectral)
}
"""Every re-ranking by name: frozen settings whose call maps (query, gallery) to (Q, G) distances."""


def get_reranker(name: str, **settings: Any) -> Reranker:
    """The re-ranking of that name with its settings (see the class).

    Raises:
        UsageError: Unknown name or setting, or a value out of range.
    """
    if name not in RERANKERS:
        raise UsageError(f"there is no re-ranking {clean(repr(name), 60)}; {did_you_mean(name, RERANKERS)}")
    kind = RERANKERS[name]
    for key in settings:
        if key != "metric" and key not in kind.parameters():
            known = did_you_mean(key, kind.parameters())
            raise UsageError(f"re-ranking {name!r} has no setting {clean(key, 60)}; {known}")
    return kind(**settings)


def parse_reranker(words: str, metric: str = "cosine") -> Reranker:
    """The re-ranking that a text asks for: its name, and after a colon settings, `aim:k1=4,k2=1`.

    Args:
        words: The text.
        metric: The evaluation's, "cosine" or "euclidean".

    Raises:
        UsageError: Unknown name or setting, a value of the wrong kind or out of range.
    """
    name, colon, rest = words.partition(":")
    get = RERANKERS.get(name)
    kinds = {one.name: type(one.default) for one in fields(get)} if get else {}  # type: ignore[arg-type]
    settings: dict[str, Any] = {}
    for word in rest.split(",") if colon else ():
        key, equals, text = (part.strip() for part in word.partition("="))
        if not (key and equals and text) or key == "metric":
            example = "aim:k1=4,k2=1"
            raise UsageError(
                f"--rerank {clean(words, 80)}: settings follow the colon as KEY=VALUE, e.g. {example}"
            )
        if key in settings:
            raise UsageError(f"--rerank {clean(words, 80)}: {key} is there twice")
        settings[key] = _value(text, kinds.get(key, str), f"--rerank {clean(words, 80)}: {clean(key, 40)}")
    return get_reranker(name, **settings, metric=metric)


def _value(text: str, kind: type, where: str) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise UsageError(f"{where} = {clean(text, 40)}; it is true or false")
        return text == "true"
    if kind is int:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
            raise UsageError(f"{where} = {clean(text, 40)}; it is a whole number")
        return int(text)
    if kind is float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{where} = {clean(text, 40)}; it is a number")
        return number
    return text
