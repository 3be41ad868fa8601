"""Several runs of one configuration: over a dataset's train/test splits, over seeds, or both.

The study's folder holds a run folder of each (`trial-01`, `seed-0`, `trial-01-seed-0`) and, once all are
tested, `results.json` with their mean and spread. What stands in the folders says how far the study is, so an
interrupted study has no state of its own: the same call goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ivreid.analysis.merge import merge_results
from ivreid.config.schema import Config
from ivreid.distributed.processes import require_one_process
from ivreid.errors import UsageError
from ivreid.evaluation import evaluate_run
from ivreid.evaluation.settings import tell_unserved
from ivreid.io import check_output
from ivreid.protocols import Result, write_results
from ivreid.studies.study_runs import StudyRun, plan_study, run_status, tested_results, with_earlier_runs
from ivreid.training import train as train_run
from ivreid.training.setup import prepare_dataset
from ivreid.types import Notice, Progress, ProgressBars, no_progress_bars


class Train(Protocol):
    """What a study needs of `train`."""

    def __call__(  # noqa: D102 - that of ivreid.training.train
        self, config: Config, *, resume: bool, progress: Progress | None, notice: Notice
    ) -> Any: ...


class Evaluate(Protocol):
    """What a study needs of `evaluate_run`."""

    def __call__(  # noqa: D102 - that of ivreid.evaluation.evaluate_run
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


def run_study(
    config: Config,
    *,
    trials: Sequence[int] = (),
    seeds: Sequence[int] = (),
    notice: Notice = lambda _: None,
    progress_bars: ProgressBars = no_progress_bars,
) -> list[Result]:
    """Train and test a model per train/test split, per seed, or per both, and merge their figures.

    The same call after an interruption skips finished runs and resumes the broken one; other seeds or splits in
    the same folder extend the study.

    Args:
        config: What all runs share; `out` is the study's folder.
        trials: The dataset's train/test splits, e.g. `range(1, 11)`; empty: the configuration's own.
        seeds: Seeds; empty: the configuration's own.
        notice: Called with a line for people: where the study stands, and what the run in hand says.
        progress_bars: Called with a label; gives the progress callable of one run's training or test.

    Returns:
        One result a protocol setting, also in `results.json` in the study's folder: the trials are the runs.

    Raises:
        UsageError: Splits that the dataset does not define, nothing to vary, or several processes.
        TrainingStopped: A signal; the run in hand is saved.
        IvreidError: A run that cannot go on, or runs that do not belong together.
    """
    require_one_process("a study")
    runs = plan_study(config, trials, seeds)
    with_earlier_runs(runs, config)
    if config.data.root is not None and config.data.root.exists():  # before hours of work
        config = tell_unserved(config, prepare_dataset(runs[0].config), notice)
        runs = plan_study(config, trials, seeds)
    everything = with_earlier_runs(runs, config)
    if len(everything) > len(runs):
        planned = {run.name for run in runs}
        names = ", ".join(run.name for run in everything if run.name not in planned)
        notice(f"{config.out} holds {names} already: the study goes on from there, and they count, too")
    return run_all(everything, notice=notice, progress_bars=progress_bars)


def run_all(
    runs: Sequence[StudyRun],
    *,
    train: Train = train_run,
    evaluate: Evaluate = evaluate_run,
    notice: Notice = lambda _: None,
    progress_bars: ProgressBars = no_progress_bars,
) -> list[Result]:
    """Train and test every run that is not finished, one after the other, and merge their figures.

    Args:
        runs: From `plan_study`.
        train: Trains one run.
        evaluate: Tests one run and writes the results into its folder.
        notice: As for `run_study`.
        progress_bars: As for `run_study`; so is what is returned and raised.
    """
    check_output(_merged_file(runs))
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
            with progress_bars(label) as (tick,):
                train(run.config, resume=status == "unfinished", progress=tick, notice=notice)
        with progress_bars(f"{label}, testing") as (tick,):
            found = evaluate(
                run.folder.path,
                data_root=run.config.data.root,
                settings=run.config.protocol_settings(),
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
    found = {run.name: tested_results(run) for run in runs}
    missing = [name for name, results in found.items() if results is None]
    if missing:
        raise UsageError(f"not tested under every setting yet: {', '.join(missing)}")
    tested = {name: results for name, results in found.items() if results is not None}
    count = len(next(iter(tested.values())))
    merged = [merge_results({name: results[i] for name, results in tested.items()}) for i in range(count)]
    write_results(_merged_file(runs), merged)
    return merged


def _merged_file(runs: Sequence[StudyRun]) -> Path:
    return runs[0].folder.path.parent / "results.json"


def _in_short(result: Result) -> str:
    return f"Rank-1 {100 * result.mean['rank1']:.2f}%, mAP {100 * result.mean['mAP']:.2f}%"
