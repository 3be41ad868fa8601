"""What a search asks of Optuna: its memory in one SQLite file, proposals, early stops."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivreid.config.parse import differences, dump_config
from ivreid.config.schema import Config
from ivreid.errors import CheckpointError, DataError, TrainingError, UsageError
from ivreid.io import try_lock
from ivreid.studies.search_space import Choices, Range, flat
from ivreid.training.records import MAY_DIFFER

if TYPE_CHECKING:
    import optuna

PURPOSE, ERROR, LOSABLE = "purpose", "error", "weights are kept only of the best"
STARTUP = 8
"""Trials drawn at random before the search learns from them."""
UNPRUNED = 5
"""Trials that must have ended before one is stopped early."""
WARM = 0.2
"""Share of the epochs in which no trial is stopped early."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One set of values that was tried.

    Attributes:
        folder: Name of its run folder, e.g. "0003".
        values: The settings tried, by dotted key.
        score: Its best validation figure, a fraction; None where it diverged before any.
        outcome: "complete", "stopped early" or "diverged".
    """

    folder: str
    values: Mapping[str, Any]
    score: float | None
    outcome: str


def require_optuna() -> Any:
    """The optuna package, quiet.

    Raises:
        UsageError: It, or matplotlib for the picture at the end, is not installed; the message says how to
            install them.
    """
    try:
        import matplotlib  # noqa: F401 - missing, it would be missed only at the end
        import optuna
    except ImportError as error:
        raise UsageError(
            f"tuning needs Optuna and matplotlib, and {error.name} is not installed: pip install 'ivreid[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextmanager
def open_study(config: Config, space: Mapping[str, Range | Choices], out: Path) -> Iterator[optuna.Study]:
    """The search's memory, made where there is none, closed at the end."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    file = out / "study.db"
    purpose = {
        "config": {key: value for key, value in dump_config(config).items() if key != "out"},
        "space": {key: one.model_dump(mode="json") for key, one in space.items()},
    }
    storage = None
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
        study = optuna.create_study(
            storage=storage,
            study_name="tuning",
            direction="maximize",
            load_if_exists=True,
            pruner=pruner(config.epochs),
        )
        if PURPOSE not in study.user_attrs:
            study.set_user_attr(PURPOSE, purpose)
        _check_same_search(study.user_attrs[PURPOSE], purpose, file)
        yield study
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise DataError(
            f"{file} cannot be used as a search's memory: {str(error).splitlines()[0]}"
        ) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _check_same_search(theirs: Mapping[str, Any], ours: Mapping[str, Any], file: Path) -> None:
    varied = {f"config.{key}" for key in ours["space"]}
    free = tuple(f"config.{key}" for key in MAY_DIFFER if key != "epochs")
    lines = [
        f"{key.removeprefix('config.')} was {before!r}, now {now!r}"
        for key, before, now in differences(theirs, json.loads(json.dumps(ours)))
        if key not in varied and not any(key == one or key.startswith(f"{one}.") for one in free)
    ]
    if lines:
        raise CheckpointError(
            f"{file} is the memory of another search: {'; '.join(lines)}. Give it the same settings again, "
            "or start another with --out"
        )


@contextmanager
def only_process(out: Path) -> Iterator[None]:
    """Hold the search's folder alone; the hold falls when the process ends, however it ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = os.open(out / ".tuning", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise TrainingError(
            f"cannot write the folder {out}: {error.strerror}; choose another with --out"
        ) from error
    try:
        held = try_lock(file)
        if held == "theirs":
            raise TrainingError(f"{out} is in use: another process searches there; wait for it")
        if held == "no locks":
            log.warning(
                "%s lies on a file system without locks: make sure that no other process searches there", out
            )
        yield
    finally:
        os.close(file)


def sampler(seed: int, number: int) -> Any:
    """What proposes trial `number`: the same values for the same seed, number and ended trials."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=(1_000_003 * seed + number) % 2**32)


def pruner(epochs: int) -> Any:
    """What stops a trial early: the median rule, after the first fifth of its epochs."""
    import optuna

    return optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=int(WARM * epochs))


def suggest(trial: optuna.Trial, key: str, one: Range | Choices, config: Config) -> Any:
    """The trial's value of one setting; a range means whole numbers where the setting is one now."""
    if isinstance(one, Choices):
        return trial.suggest_categorical(key, one.choices)
    if _whole(one, flat(dump_config(config))[key]):
        return trial.suggest_int(key, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(key, float(one.low), float(one.high), log=one.log)


def _whole(one: Range, now: Any) -> bool:
    """Whether a range means whole numbers: the setting is one now, or it is null and both ends are."""
    whole = isinstance(one.low, int) and isinstance(one.high, int)
    return isinstance(now, int) if now is not None else whole


def inside(one: Range | Choices, value: Any) -> bool:
    """Whether a search could propose this value."""
    if isinstance(one, Choices):
        return value in one.choices
    return isinstance(value, int | float) and one.low <= value <= one.high


def attempts(study: optuna.Study) -> tuple[Attempt, ...]:
    """Every ended trial, in order; interrupted ones do not count."""
    from optuna.trial import TrialState

    found = []
    for number, one in enumerate(_ended(study)):
        complete = one.state is TrialState.COMPLETE
        score = one.value if complete else max(one.intermediate_values.values(), default=None)
        outcome = "diverged" if ERROR in one.user_attrs else "complete" if complete else "stopped early"
        found.append(Attempt(f"{number:04d}", dict(one.params), score, outcome))
    return tuple(found)


def losers(study: optuna.Study, keep: int) -> list[str]:
    """The folders of ended trials whose weights go: all but the best complete ones, of those that may lose them.

    Args:
        study: The search.
        keep: How many of the best keep theirs; of equal scores the earlier trials.
    """
    tried = attempts(study)
    complete = [one for one in tried if one.outcome == "complete" and one.score is not None]
    best = {one.folder for one in sorted(complete, key=lambda one: -(one.score or 0.0))[:keep]}
    return [
        one.folder
        for one, trial in zip(tried, _ended(study), strict=True)
        if LOSABLE in trial.user_attrs and one.folder not in best
    ]


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
