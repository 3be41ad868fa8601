"""Features and results in a run folder."""

from __future__ import annotations

from collections.abc import Sequence

from ivreid.datasets.features import write_features
from ivreid.errors import DataError, IvreidError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.io import check_output
from ivreid.protocols import Result, read_results, write_results
from ivreid.types import Embeddings


class ResultsNotSaved(DataError):
    """Evaluated, but the run folder could not be written; `results` holds everything that was found."""

    def __init__(self, message: str, results: Sequence[Result]) -> None:
        super().__init__(message)
        self.results = list(results)


def check_can_save(folder: RunFolder) -> None:
    """Refuse, before the work, a run folder that could not take features and results after it.

    Raises:
        DataError: It cannot be written, or the results in it cannot be read.
    """
    try:
        for path in (folder.features, folder.results):
            check_output(path)
    except IvreidError as error:
        raise DataError(
            f"{error}. The run folder keeps what is found; where nothing is to be kept, evaluate its weights: "
            f"{folder.weights}"
        ) from error
    _kept(folder)


def save_results(folder: RunFolder, embeddings: Embeddings, results: Sequence[Result]) -> None:
    """Write features and results into a run folder.

    Results of other settings stay beside the new ones where they are of the same model on the same images.

    Raises:
        ResultsNotSaved: One of them could not be written; the other was, where that was possible.
    """
    problems = []
    try:
        write_results(folder.results, [*_others(_kept(folder), results), *results])
    except DataError as error:
        problems.append(str(error))
    try:
        write_features(folder.features, embeddings)
    except DataError as error:
        problems.append(str(error))
    if problems:
        raise ResultsNotSaved("; ".join(problems), results)


def _kept(folder: RunFolder) -> list[Result]:
    return read_results(folder.results) if folder.results.exists() else []


def _others(old: Sequence[Result], new: Sequence[Result]) -> list[Result]:
    """Results of the same model on the same images under other settings."""
    settings = {_setting(result) for result in new}
    prints = [dict(result.fingerprints) for result in new]
    return [one for one in old if dict(one.fingerprints) in prints and _setting(one) not in settings]


def _setting(result: Result) -> str:
    return repr((result.protocol, sorted(result.options.items()), result.rerank, result.tta))
