"""The published rows of a method on a dataset, and how each was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivreid.datasets import Dataset
from ivreid.datasets.registry import get_reader
from ivreid.datasets.tree import Tree
from ivreid.errors import ProtocolError, UsageError, did_you_mean
from ivreid.evaluation.settings import choose_settings
from ivreid.inference import Flip, flip_of
from ivreid.methods import Method
from ivreid.methods.publication import PublishedFigures
from ivreid.protocols import Result
from ivreid.retrieval import parse_reranker


def published_rows(kind: type[Method], dataset: str | None, root: Path | str) -> tuple[PublishedFigures, ...]:
    """The rows to reproduce.

    Raises:
        UsageError: Nothing was published, on that dataset or at all, or it is not known which it is.
        DataError: It is not known, as there is no such folder.
    """
    figures = kind.publication.figures if kind.publication else ()
    there = list(dict.fromkeys(one.dataset for one in figures))
    if not there:
        raise UsageError(f"nothing was published about {kind.name}, so there is nothing to reproduce")
    if dataset is None:
        Tree(Path(root))  # which says where there is no such folder
        raise UsageError(
            f"{root} has the layout of none of the known datasets; say with --dataset which it is: {', '.join(there)}"
        )
    rows = tuple(one for one in figures if one.dataset == dataset)
    if not rows:
        raise UsageError(
            f"no figures of {kind.name} on {dataset} are known here; {did_you_mean(dataset, there)}"
        )
    return rows


def servable_rows(
    published: Sequence[PublishedFigures], data: Dataset, permutations: Path | str | None
) -> tuple[tuple[PublishedFigures, ...], list[str]]:
    """The rows whose protocol the images can serve, and a line about each of the others; told before any work.

    Raises:
        IvreidError: There is none.
    """
    served, lines, last = [], [], None
    for one in published:
        try:
            choose_settings([one.options] * 2, [None] * 2, data, permutations=permutations)
            served.append(one)
        except (UsageError, ProtocolError) as error:
            last = error
            lines.append(f"{one.setting} ({one.source}) is left out: {error}")
    if last is not None and not served:
        raise last
    return tuple(served), lines


def published_flip(kind: type[Method], dataset: str) -> Flip:
    """Whether mirror images were embedded, too."""
    recipe = kind.recipe.on(dataset).get("embedding", {}) if kind.recipe else {}
    return flip_of(recipe.get("flip") or (kind.importer.flip if kind.importer else None) or "none")


def setting_of(one: PublishedFigures) -> dict[str, Any]:
    """The protocol a row was measured under, as an evaluation is asked for."""
    return {**one.options, "rerank": one.rerank or None}


def distinct_settings(published: Sequence[PublishedFigures]) -> list[dict[str, Any]]:
    """Every setting once."""
    found: list[dict[str, Any]] = []
    for one in published:
        if setting_of(one) not in found:
            found.append(setting_of(one))
    return found


def result_of(
    one: PublishedFigures, results: Sequence[Result], data: Dataset, permutations: Path | str | None
) -> Result:
    """The result that was measured as a row was: under its protocol, on whichever split, with its re-ranking.

    Raises:
        ProtocolError: There is none.
    """
    protocol = choose_settings([one.options], [None], data, permutations=permutations)[0].protocol
    wanted = {key: value for key, value in protocol.options.items() if key != "trial"}
    rerank = parse_reranker(one.rerank).label if one.rerank else None
    for result in results:
        if result.rerank == rerank and wanted.items() <= result.options.items():
            return result
    raise ProtocolError(f"{one.setting} ({one.source}) was not measured: no result is of its setting")


def published_splits(dataset: str, published: Sequence[PublishedFigures]) -> list[int]:
    """The splits that the figures were measured on; none where the dataset has one."""
    known = list(get_reader(dataset).trials)
    splits = {one.split for one in published}
    return known if None in splits else sorted(split for split in splits if split in known)
