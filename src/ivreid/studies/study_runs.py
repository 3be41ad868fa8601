"""The runs of a study, and how far each is: what stands in its folder says it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ivreid.analysis.merge import format_numbers
from ivreid.config.parse import differences, dump_config, load_config, make_config
from ivreid.config.schema import Config
from ivreid.datasets import get_reader
from ivreid.errors import CheckpointError, ConfigError, DataError, UsageError
from ivreid.evaluation.position import load_position
from ivreid.evaluation.run_folder import RunFolder
from ivreid.inference import tta_name
from ivreid.models import read_weights, weights_fingerprint
from ivreid.protocols import Result, make_protocol, read_results
from ivreid.retrieval import parse_reranker
from ivreid.training.records import MAY_DIFFER
from ivreid.training.saving import Position

Status = Literal["new", "unfinished", "trained", "finished"]


@dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Attributes:
        name: Its folder's name, e.g. "trial-01".
        config: Its whole configuration, `out` included.
    """

    name: str
    config: Config

    @property
    def folder(self) -> RunFolder:
        """Where it lies."""
        return RunFolder(Path(str(self.config.out)))

    @property
    def results(self) -> Path:
        """Its own figures."""
        return self.folder.results


def plan_study(config: Config, trials: Sequence[int] = (), seeds: Sequence[int] = ()) -> tuple[StudyRun, ...]:
    """The runs of a study; nothing is read or written.

    Args:
        config: What all runs share; `out` is the study's folder.
        trials: The dataset's train/test splits; empty: the configuration's own.
        seeds: Seeds; empty: the configuration's own.

    Raises:
        ConfigError: No folder, or an impossible seed.
        UsageError: The dataset does not define these splits, or nothing to vary.
    """
    if config.out is None:
        raise ConfigError("out is not set: say where the study shall be with --out DIR")
    if not trials and not seeds:
        raise UsageError("a study needs --trials or --seeds, e.g. --trials 1-10")
    _check_trials(config.data.dataset, trials)
    tree, runs = dump_config(config), []
    for trial in trials or (None,):
        for seed in seeds or (None,):
            parts = [] if trial is None else [f"trial-{trial:02d}"]
            parts += [] if seed is None else [f"seed-{seed}"]
            name = "-".join(parts)
            changes: dict[str, Any] = {"out": str(config.out / name)}
            changes |= {} if seed is None else {"seed": seed}
            changes |= {} if trial is None else {"data": {**tree["data"], "trial": trial}}
            runs.append(StudyRun(name, make_config({**tree, **changes}, source=name)))
    return tuple(runs)


def with_earlier_runs(runs: Sequence[StudyRun], config: Config) -> tuple[StudyRun, ...]:
    """The runs, and those of the same study that earlier calls left in its folder.

    Args:
        runs: From `plan_study`.
        config: What all runs share.

    Raises:
        UsageError: The folder holds runs over something else: splits where these are over seeds, for instance.
        ConfigError: A number that is no seed.
    """
    folder, kind = Path(str(config.out)), _numbers(runs[0].name)
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    numbers = {name: found_numbers for name in found if (found_numbers := _numbers(name)) is not None}
    planned = {run.name for run in runs}
    earlier = [name for name in numbers if name not in planned and RunFolder(folder / name).holds_a_run()]
    for name in earlier:
        if kind is None or [one is None for one in numbers[name]] != [one is None for one in kind]:
            raise UsageError(
                f"{folder} holds {name}, a run of a study over other things than {runs[0].name}: give --trials and "
                "--seeds as that study had them, or another --out"
            )
    tree, added = dump_config(config), []
    for name in earlier:
        trial, seed = numbers[name]
        changes: dict[str, Any] = {"out": str(folder / name)}
        changes |= {} if seed is None else {"seed": seed}
        changes |= {} if trial is None else {"data": {**tree["data"], "trial": trial}}
        added.append(StudyRun(name, make_config({**tree, **changes}, source=name)))
    return tuple(sorted([*runs, *added], key=lambda run: [one or 0 for one in _numbers(run.name) or ()]))


def _numbers(name: str) -> tuple[int | None, int | None] | None:
    """The trial and the seed that a run folder's name tells; None where it tells neither."""
    found = re.fullmatch(r"(?:trial-(\d{2,}))?-?(?:seed-(\d+))?", name)
    if found is None or not name or name.startswith("-"):
        return None
    trial, seed = found.groups()
    return (None if trial is None else int(trial), None if seed is None else int(seed))


def _check_trials(dataset: str, trials: Sequence[int]) -> None:
    known = get_reader(dataset).trials
    wrong = [trial for trial in trials if trial not in known]
    if not wrong:
        return
    if not known:
        raise UsageError(f"{dataset} has one train/test split, so --trials does not fit it; use --seeds")
    raise UsageError(
        f"{dataset} has the splits {format_numbers(known)}, there is no {format_numbers(wrong)}; "
        f"use --trials {format_numbers(known)}"
    )


def run_status(run: StudyRun) -> Status:
    """How far a run is, from its folder.

    Returns:
        "new" (nothing there), "unfinished" (resume it), "trained" (not tested under every setting asked for)
        or "finished".

    Raises:
        CheckpointError: The folder holds a run of another configuration, or a longer one; the message names
            the keys.
    """
    folder = run.folder
    if not (folder.config.exists() or folder.holds_a_run()):
        return "new"
    if folder.config.exists() and folder.holds_a_run():  # a start that failed is taken over
        check_same_settings(run)
    position = _position(folder.last)
    done = position.epoch
    if run.config.steps is None and done > run.config.epochs:
        raise CheckpointError(
            f"{folder.path} holds {done} epochs, more than the {run.config.epochs} asked for; set epochs to "
            f"{done}, or choose another --out"
        )
    if not position.is_end(run.config) or not folder.weights.exists():
        return "unfinished"
    return "trained" if tested_results(run) is None else "finished"


def check_same_settings(run: StudyRun) -> None:
    """Refuse to count a run of other settings in this study.

    Raises:
        CheckpointError: Some key that moves a weight differs; both values are named.
    """
    theirs, ours = (dump_config(config) for config in (load_config(run.folder.config), run.config))
    lines = [
        f"{key} was {before!r}, now {now!r}"
        for key, before, now in differences(theirs, ours)
        if not any(key == free or key.startswith(f"{free}.") for free in MAY_DIFFER)
    ]
    if lines:
        raise CheckpointError(
            f"{run.folder.path} holds a run of another configuration: {'; '.join(lines)}. Give the study the "
            "same settings again, or another --out"
        )


def _position(checkpoint: Path) -> Position:
    """How far a training state is; the beginning where there is none that can be read (resuming will say why)."""
    try:
        return Position(**load_position(checkpoint))
    except (CheckpointError, TypeError):
        return Position()


def tested_results(run: StudyRun) -> list[Result] | None:
    """The figures of the run's weights in the order of its settings, or None where one is missing."""
    model = weights_fingerprint(*read_weights(run.folder.weights))
    try:
        found = [one for one in read_results(run.results) if one.fingerprints.get("model") == model]
    except DataError:
        return None
    ordered = []
    for wanted, marks in _wanted(run.config):
        alike = [one for one in found if (one.rerank, one.tta) == marks]
        matching = [one for one in alike if wanted.items() <= dict(one.options).items()]
        if not matching:
            return None
        ordered.append(matching[-1])  # the latest written
    return ordered


def _wanted(config: Config) -> list[tuple[dict[str, Any], tuple[str | None, str | None]]]:
    """What each setting's result must say: its options, and re-ranking and augmentation.

    Which draw a null means depends on the dataset's files.
    """
    wanted = []
    for setting in config.protocol_settings():
        words = setting.pop("rerank", None)
        reranker = parse_reranker(words) if words else None
        given = {key: value for key, value in setting.items() if value is not None}
        options = dict(make_protocol(config.data.dataset, **given, trial=config.data.trial).options)
        if "draw" not in given:
            options.pop("draw", None)
        options["metric"] = "cosine"
        tta = tta_name(config.embedding.flip, spectra=reranker is not None and reranker.spectra)
        marks = (reranker.label if reranker else None, tta)
        wanted.append(({key: value for key, value in options.items() if value is not None}, marks))
    return wanted
