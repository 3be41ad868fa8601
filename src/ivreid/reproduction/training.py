"""A training by the published recipe, and its test; a run that is done is found again, whichever splits are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivreid.config import Config, load_config
from ivreid.config.recipes import PUBLISHED
from ivreid.errors import UsageError
from ivreid.methods import Method
from ivreid.protocols import Result
from ivreid.studies import run_study
from ivreid.studies.study_runs import plan_study
from ivreid.training import train
from ivreid.types import Notice, ProgressBars

RUN = "run"
"""The training, in the folder of the reproduction."""
DECIDED = {
    "evaluation": "the published rows are what is measured; test the run itself otherwise with ivreid evaluate",
    "data.dataset": "give --dataset",
    "data.root": "give --data",
    "data.trial": "give --trial",
    "out": "give --out",
    "device": "give --device",
    "recipe": "it is the named method's; name another one",
    "method.name": "name another method",
}
"""Keys that a reproduction sets itself, and what to do instead of changing them."""


def refuse_decided(overrides: Sequence[str]) -> None:
    """Refuse changes of what a reproduction sets itself.

    Raises:
        UsageError: There is one; the message says what to give instead.
    """
    for word in overrides:
        key = word.partition("=")[0]
        for decided, instead in DECIDED.items():
            if key == decided or key.startswith(f"{decided}."):
                raise UsageError(f"--set {word}: a reproduction sets {decided} itself; {instead}")
            if decided.startswith(f"{key}."):
                raise UsageError(
                    f"--set {word}: that replaces all of {key}, {decided} included, which a reproduction sets itself; set "
                    f"its keys one by one, --set {key}.KEY=VALUE"
                )


def without_folder(word: str) -> str:
    """A change as it is told: a file's name without the folder, which is this machine's."""
    key, equals, value = word.partition("=")
    return f"{key}{equals}{Path(value).name}" if value.startswith(("/", "~")) else word


def published_training(
    kind: type[Method],
    dataset: str,
    settings: Sequence[Mapping[str, Any]],
    overrides: Sequence[str],
    *,
    root: Path | str,
    folder: Path,
    device: str,
    notice: Notice,
) -> Config:
    """The published training with its changes; the published settings are tested after it.

    Raises:
        UsageError: The method has no recipe.
        ConfigError: Changes that do not fit.
    """
    if kind.recipe is None:
        raise UsageError(f"{kind.name} has no recipe here; give its checkpoint with --checkpoint FILE")
    fixed: list[tuple[str, Any]] = [
        ("data.dataset", dataset),
        ("data.root", str(root)),
        ("out", str(folder / RUN)),
        ("device", device),
        ("evaluation", [dict(setting) for setting in settings]),
    ]
    return load_config(None, [*overrides, *fixed], recipe=kind.name + PUBLISHED, notice=notice)


def train_and_test(
    config: Config,
    splits: Sequence[int],
    test: Callable[..., list[Result]],
    *,
    notice: Notice,
    progress_bars: ProgressBars,
) -> list[Result]:
    """Train, or go on with it, and test.

    Several splits are a study. One split lies where the study has it, so that each finds what the other did, and is
    tested as any run is, with intervals.

    Args:
        config: From `published_training`.
        splits: Which to train on; none where the dataset has one.
        test: Tests a run folder under the published settings.
        notice: Called with a line for people.
        progress_bars: Called with labels; gives a progress callable for each.
    """
    if len(splits) > 1:
        return run_study(config, trials=splits, notice=notice, progress_bars=progress_bars)
    if splits:
        config = plan_study(config, splits)[0].config
    run = Path(str(config.out))
    with progress_bars("Preparing images", "Training") as (preparing, tick):
        train(config, resume=run.is_dir(), preparing=preparing, progress=tick, notice=notice)
    with progress_bars("Embedding") as (tick,):
        return test(run, progress=tick)
