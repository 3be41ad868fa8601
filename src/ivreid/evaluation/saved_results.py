"""Features and results in a run folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ivreid.datasets import DATASETS, Dataset
from ivreid.datasets.features import write_features
from ivreid.errors import DataError, IvreidError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.io import check_output
from ivreid.protocols import Result, read_results, write_results
from ivreid.types import Embeddings, Notice


class ResultsNotSaved(DataError):
    """Evaluated, but the run folder could not be written; `results` holds everything that was found."""

    def __init__(self, message: str, results: Sequence[Result]) -> None:
        super().__init__(message)
        self.results = list(results)


def evaluation_folder(run: RunFolder, card: Mapping[str, Any], dataset: Dataset, given: Path) -> RunFolder:
    """Where an evaluation of a run's weights belongs: the run folder for its own images, else one with a name.

    Args:
        run: The run folder.
        card: Of its weights.
        dataset: What is tested on.
        given: The dataset's folder or table, as the caller named it.
    """
    own = card.get("dataset") or {}
    trial = "" if dataset.trial in (None, own.get("trial")) else f"-trial-{dataset.trial}"
    if not own.get("fingerprint") or (own["fingerprint"] == dataset.fingerprint and not trial):
        return run
    same_kind = own.get("name") == dataset.name and not trial
    told_by_name = not (same_kind or (dataset.name in DATASETS and DATASETS[dataset.name].own_numbers))
    place = "" if told_by_name or trial else f"-{_as_name(given.resolve().stem)}"
    name = f"{dataset.name}{place}{trial}"
    there = _kept(run.evaluation(name))
    if there and there[0].fingerprints.get("dataset") not in (None, dataset.fingerprint):
        name = f"{name}-{dataset.fingerprint[:8]}"  # two folders of one name
    return run.evaluation(name)


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "data"


def check_can_save(folder: RunFolder) -> None:
    """Refuse, before the work, a folder that could not take features and results after it.

    Raises:
        DataError: It cannot be written, or the results in it cannot be read.
    """
    try:
        for path in (folder.features, folder.flipped_features, folder.results):
            check_output(path)
    except IvreidError as error:
        raise DataError(
            f"{error}. The run folder keeps what is found; where nothing is to be kept, evaluate its weights: "
            f"{folder.weights}"
        ) from error
    _kept(folder)


def save_results(
    folder: RunFolder,
    embeddings: Embeddings,
    results: Sequence[Result],
    *,
    mirrored: bool = False,
    synthetic: bool = False,
    weights: str | None = None,
) -> None:
    """Write features and results into a run folder, or into one of its evaluations.

    Results of other settings stay beside the new ones where they are of the same model on the same images.

    Args:
        folder: Where to.
        embeddings: Of the test images.
        results: What was found.
        mirrored: Whether mirror images are in them that the run's configuration does not ask for: the embeddings
            then go to a file of their own.
        synthetic: Whether the people are drawn.
        weights: Fingerprint of the weights.

    Raises:
        ResultsNotSaved: One of them could not be written; the other was, where that was possible.
    """
    problems = []
    try:
        write_results(folder.results, [*_others(_kept(folder), results), *results])
    except DataError as error:
        problems.append(str(error))
    try:
        features = folder.flipped_features if mirrored else folder.features
        write_features(features, embeddings, split="test", synthetic=synthetic, weights=weights)
    except DataError as error:
        problems.append(str(error))
    if problems:
        raise ResultsNotSaved("; ".join(problems), results)


def drop_older_models(run: RunFolder, model: str, notice: Notice) -> None:
    """Let figures of weights that the run no longer holds leave its folder and its evaluations.

    Args:
        run: The run folder.
        model: The fingerprint of its weights.
        notice: Called with a line for each file that lost some.

    Raises:
        DataError: A results file that cannot be read or written.
    """
    for folder in (run, *run.evaluations()):
        kept = _kept(folder)
        now = [one for one in kept if one.fingerprints.get("model") in (None, model)]
        if len(now) == len(kept):
            continue
        if now:
            write_results(folder.results, now)
        else:
            for file in (folder.results, folder.features, folder.flipped_features):
                file.unlink(missing_ok=True)
        notice(f"{len(kept) - len(now)} result(s) of older weights are removed from {folder.results}")


def _kept(folder: RunFolder) -> list[Result]:
    return read_results(folder.results) if folder.results.exists() else []


def _others(old: Sequence[Result], new: Sequence[Result]) -> list[Result]:
    """Results of the same model on the same images under other settings."""
    settings = {_setting(result) for result in new}
    prints = [dict(result.fingerprints) for result in new]
    return [one for one in old if dict(one.fingerprints) in prints and _setting(one) not in settings]


def _setting(result: Result) -> str:
    return repr((result.protocol, sorted(result.options.items()), result.rerank, result.tta))
