"""Several runs of one configuration: over a dataset's train/test splits, over seeds, or both.

The study's folder holds a run folder of each (`trial-01`, `seed-0`, `trial-01-seed-0`) and, once all are
tested, `results.json` with their mean and spread. What stands in the folders says how far the study is, so an
interrupted study has no state of its own: the same call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ivreid.analysis.merge import format_numbers, merge_results
from ivreid.config.load import dump_config, load_config, make_config
from ivreid.config.schema import Config
from ivreid.datasets import get_reader
from ivreid.errors import CheckpointError, ConfigError, DataError, UsageError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.models import read_weights, weights_fingerprint
from ivreid.protocols import Result, make_protocol, read_results, write_results
from ivreid.training.checkpoint import load_position
from ivreid.training.records import MAY_DIFFER
from ivreid.types import Notice, Progress

Status = Literal["new", "unfinished", "trained", "finished"]


class Train(Protocol):
    """What a study needs of `train`."""

    def __call__(  # noqa: D102 - that of ivreid.training.train
        self, config: Config, *, resume: bool, progress: Progress | None, notice: Notice
    ) -> Any: ...


class Evaluate(Protocol):
    """What a study needs of `evaluate_run`."""

    def __call__(  # noqa: D102 - that of ivreid.training.evaluate_run
        self,
        path: Path,
        /,
        *,
        data_root: Path | None,
        settings: list[dict[str, Any]],
        device: str,
        workers: int | None,
        progress: Progress | None,
    ) -> list[Result]: ...


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
        return self.folder.path / "results.json"


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
    done = _epochs_done(folder.last)
    if done > run.config.epochs:
        raise CheckpointError(
            f"{folder.path} holds {done} epochs, more than the {run.config.epochs} asked for; set epochs to "
            f"{done}, or choose another --out"
        )
    if done < run.config.epochs or not folder.weights.exists():
        return "unfinished"
    return "trained" if _tested(run) is None else "finished"


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


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Every key at which two nested mappings differ, dotted, with both values (None where absent)."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key), after.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{prefix}{key}.")
        elif one != other:
            found.append((prefix + key, one, other))
    return found


def _epochs_done(checkpoint: Path) -> int:
    """Whole epochs in a training state; 0 where there is none that can be read (resuming will say why)."""
    try:
        return int(load_position(checkpoint)["epoch"])
    except (CheckpointError, KeyError):
        return 0


def settings_of(config: Config) -> list[dict[str, Any]]:
    """The protocol settings that a configuration asks to be tested under."""
    return [setting.model_dump() for setting in config.evaluation]


def _tested(run: StudyRun) -> list[Result] | None:
    """The figures of the run's weights in the order of its settings, or None where one is missing."""
    model = weights_fingerprint(*read_weights(run.folder.weights))
    try:
        found = [one for one in read_results(run.results) if one.fingerprints.get("model") == model]
    except DataError:
        return None
    plain = [one for one in found if one.rerank is None and one.tta is None]
    ordered = []
    for wanted in _wanted_options(run.config):
        matching = [one for one in plain if wanted.items() <= dict(one.options).items()]
        if not matching:
            return None
        ordered.append(matching[-1])  # the latest written
    return ordered


def _wanted_options(config: Config) -> list[dict[str, Any]]:
    """What each setting's result must say; which draw a null means depends on the dataset's files."""
    wanted = []
    for setting in settings_of(config):
        given = {key: value for key, value in setting.items() if value is not None}
        options = dict(make_protocol(config.data.dataset, **given, trial=config.data.trial).options)
        if "draw" not in given:
            options.pop("draw", None)
        options["metric"] = "cosine"
        wanted.append({key: value for key, value in options.items() if value is not None})
    return wanted


def run_study(
    runs: Sequence[StudyRun],
    *,
    train: Train,
    evaluate: Evaluate,
    notice: Notice = lambda _: None,
    watch: Callable[[str], AbstractContextManager[Progress | None]] = lambda _: nullcontext(),
) -> list[Result]:
    """Train and test every run that is not finished, one after the other, and merge their figures.

    The same call after an interruption skips finished runs and resumes the broken one.

    Args:
        runs: From `plan_study`.
        train: `ivreid.training.train`.
        evaluate: `ivreid.training.evaluate_run`, which keeps the results in the run folder.
        notice: Called with a line for people: where the study stands, and what the run in hand says.
        watch: Called with a label; gives the progress callable of one run's training.

    Returns:
        One result a protocol setting, also in `results.json` in the study's folder: the trials are the runs.

    Raises:
        TrainingStopped: A signal; the run in hand is saved.
        IvreidError: A run that cannot go on, or runs that do not belong together.
    """
    statuses = [run_status(run) for run in runs]  # all first: a foreign folder is found before hours of work
    done = sum(status == "finished" for status in statuses)
    if done:
        notice(f"{done} of {len(runs)} runs are finished already")
    for number, (run, status) in enumerate(zip(runs, statuses, strict=True), start=1):
        if status == "finished":
            continue
        label = f"{run.name} ({number} of {len(runs)})"
        notice(
            f"{label}: {'testing' if status == 'trained' else 'resuming' if status != 'new' else 'training'}"
        )
        if status != "trained":
            with watch(label) as tick:
                train(run.config, resume=status == "unfinished", progress=tick, notice=notice)
        with watch(f"{label}, testing") as tick:
            found = evaluate(
                run.folder.path,
                data_root=run.config.data.root,
                settings=settings_of(run.config),
                device=run.config.device,
                workers=run.config.data.workers,
                progress=tick,
            )
        notice(f"{label}: {_in_short(found[0])}")
    return merge_study(runs)


def merge_study(runs: Sequence[StudyRun]) -> list[Result]:
    """Merge the figures of finished runs and write them beside the run folders.

    Raises:
        UsageError: A run is not finished.
        ProtocolError: The runs' results do not belong together.
    """
    found = {run.name: _tested(run) for run in runs}
    missing = [name for name, results in found.items() if results is None]
    if missing:
        raise UsageError(f"not tested under every setting yet: {', '.join(missing)}")
    tested = {name: results for name, results in found.items() if results is not None}
    count = len(next(iter(tested.values())))
    merged = [merge_results({name: results[i] for name, results in tested.items()}) for i in range(count)]
    write_results(runs[0].folder.path.parent / "results.json", merged)
    return merged


def _in_short(result: Result) -> str:
    return f"Rank-1 {100 * result.mean['rank1']:.2f}%, mAP {100 * result.mean['mAP']:.2f}%"
