"""A search for better hyper-parameters, scored on validation identities alone.

Every trial is a run of its own in `trials/NNNN`. `study.db` (SQLite, written by Optuna) remembers the trials,
the run folders how far each came: a search killed anywhere goes on with the trial it was in, from that
trial's last checkpoint. Each proposal is seeded by the trial's number, so an interrupted search proposes what
an uninterrupted one would have.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from ivreid.config.parse import dump_config, to_yaml
from ivreid.config.schema import Config
from ivreid.distributed.processes import require_one_process
from ivreid.errors import ConfigError, TrainingError, UsageError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.io import write_text
from ivreid.studies.importance import importance
from ivreid.studies.optuna_store import (
    ERROR,
    LOSABLE,
    Attempt,
    attempts,
    inside,
    losers,
    only_process,
    open_study,
    require_optuna,
    sampler,
    suggest,
)
from ivreid.studies.search_space import (
    Choices,
    Range,
    check_space,
    default_space,
    flat,
    read_space,
    with_values,
)
from ivreid.studies.tuning_plot import plot_tuning
from ivreid.studies.tuning_result import TuningResult
from ivreid.training.health import Diverged
from ivreid.training.log import read_log
from ivreid.training.run import Summary
from ivreid.training.run import train as train_run
from ivreid.types import Notice, Progress, ProgressBars, no_progress_bars

if TYPE_CHECKING:
    import optuna

Row = dict[str, Any]


class Train(Protocol):
    """What a search needs of `train`."""

    def __call__(  # noqa: D102 - that of ivreid.training.train
        self,
        config: Config,
        *,
        resume: bool,
        progress: Progress | None,
        notice: Notice,
        on_validation: Callable[[Row], None],
    ) -> Summary: ...


class _Stop(Exception):
    """Ends the run in hand from within its validation callback."""


class _Pruned(_Stop):
    """It is worse than half of its predecessors."""


class _OutOfTime(_Stop):
    """It goes on at the next call."""


def tune(
    config: Config,
    space: Mapping[str, Range | Choices] | Path | str | None = None,
    *,
    train: Train = train_run,
    trials: int = 30,
    minutes: float | None = None,
    keep: int | None = 1,
    notice: Notice = lambda _: None,
    progress_bars: ProgressBars = no_progress_bars,
) -> TuningResult:
    """Search the space until so many trials have ended, or time is up.

    The configuration's own values are tried first. A trial's score is the best `validation.metric` of its
    epochs; it is stopped early where, after a fifth of the epochs, its best is below the median of its
    predecessors at that epoch (Golovin et al., KDD 2017). Proposals come from a tree-structured Parzen
    estimator (Bergstra et al., NeurIPS 2011). Ended trials keep their configuration, log and curves; the best ones
    and those that were tested keep their weights, too; checkpoints go.

    Args:
        config: What all trials share; `out` is the search's folder.
        space: What varies, by key; a YAML file that says it; None: what usually matters.
        train: Trains one run.
        trials: Trials in all, those of earlier calls included.
        minutes: Stop after so many minutes, at the next validation; the same call goes on later.
        keep: So many of the best trials keep their weights; None: all of this call's trials, for ever.
        notice: Called with a line for people.
        progress_bars: Called with a label; gives the progress callable of one trial's training.

    Raises:
        ConfigError: Weights would be selected on test identities, or on none; or an unfitting space.
        TrainingError: Another process searches in this folder, or training cannot go on.
        TrainingStopped: A signal; the trial in hand is saved.
        CheckpointError: The folder holds a search of another configuration or space.
        UsageError: Optuna is not installed, or there are several processes.
    """
    require_optuna()
    require_one_process("a search")
    check_honest(config)
    if space is None:
        space = default_space(config)
    elif isinstance(space, str | Path):
        space = read_space(Path(space), config)
    check_space(space, config, "search space")
    if trials < 1:
        raise UsageError(f"--trials {trials}: a search needs at least one trial")
    if keep is not None and keep < 1:
        raise UsageError(f"--keep {keep}: the best trial keeps its weights at least, so 1 or more")
    out = Path(str(config.out))
    deadline = None if minutes is None else monotonic() + 60 * minutes
    with only_process(out), open_study(config, space, out) as study:
        search = _Search(
            config,
            space,
            study,
            train=train,
            deadline=deadline,
            keep=keep,
            notice=notice,
            progress_bars=progress_bars,
        )
        search.take_up_interrupted()
        search.clear()
        try:
            while search.ended() < trials and not search.out_of_time():
                search.attempt(f"of {trials}")
        except _OutOfTime:
            pass
        return search.report()


def check_honest(config: Config) -> None:
    """Refuse to tune on test identities, or on no score at all.

    Raises:
        ConfigError: `validation.select` is not `validation`, or no folder is named.
    """
    if config.out is None:
        raise ConfigError("out is not set: say where the search shall be with --out DIR")
    if config.steps is not None:
        raise ConfigError(
            f"steps = {config.steps}: a search compares trials epoch by epoch; set steps=null and give epochs"
        )
    select = config.validation.select
    if select == "published-test":
        raise ConfigError(
            "validation.select = published-test would choose hyper-parameters on the TEST identities, and "
            "no figure would be a test any more; use --set validation.select=validation --set "
            "data.train_on=train"
        )
    if select != "validation":
        raise ConfigError(
            f"validation.select = {select} scores nobody, so there is nothing to compare trials by; use "
            "--set validation.select=validation --set data.train_on=train"
        )


class _Search:
    """One call's view of a search."""

    def __init__(
        self,
        config: Config,
        space: Mapping[str, Range | Choices],
        study: optuna.Study,
        *,
        train: Train,
        deadline: float | None,
        keep: int | None,
        notice: Notice,
        progress_bars: ProgressBars,
    ) -> None:
        self.config, self.space, self.study, self.train = config, space, study, train
        self.deadline, self.keep, self.notice, self.progress_bars = deadline, keep, notice, progress_bars
        self.out = Path(str(config.out))

    def out_of_time(self) -> bool:
        """Whether the call's minutes are over."""
        return self.deadline is not None and monotonic() >= self.deadline

    def ended(self) -> int:
        """Trials that count: complete, stopped early or diverged."""
        return len(attempts(self.study))

    def take_up_interrupted(self) -> None:
        """Enqueue again what was running when the last call ended; its run folder is the next one's too."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        waiting = any(one.state is TrialState.WAITING for one in trials)
        for one in trials:
            if one.state is not TrialState.RUNNING:
                continue
            if one.params.keys() == self.space.keys() and not waiting:
                self.study.enqueue_trial(dict(one.params))
                waiting = True
            self.study.tell(one.number, state=TrialState.FAIL)

    def attempt(self, of: str) -> None:
        """One trial, from proposal to score."""
        from optuna.trial import TrialState

        number = self.ended()
        folder = self.out / "trials" / f"{number:04d}"
        if number == 0:
            self._enqueue_own_values()
        self.study.sampler = sampler(self.config.seed, number)
        trial = self.study.ask()
        values = {key: suggest(trial, key, one, self.config) for key, one in self.space.items()}
        config = with_values(self.config, {**values, "out": str(folder)})
        self.notice(f"trial {number + 1} {of}: " + "  ".join(f"{k}={_short(v)}" for k, v in values.items()))
        if self.keep is not None:
            trial.set_user_attr(LOSABLE, True)
        judge = _Judge(trial, config, self.out_of_time)
        try:
            with self.progress_bars(f"Trial {number + 1} {of}") as (tick,):
                summary = self.train(
                    config,
                    resume=folder.is_dir(),
                    progress=tick,
                    notice=lambda _: None,
                    on_validation=judge,
                )
        except (_Pruned, Diverged) as error:
            if isinstance(error, Diverged):
                trial.set_user_attr(ERROR, str(error))
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            judge.catch_up()
            self.study.tell(trial, _score(summary, config))
        self._say(attempts(self.study)[-1])
        self.clear()

    def clear(self) -> None:
        """Remove what ended trials need no more: checkpoints, and weights of those that lost and were not tested.

        What a kill left between a trial's end and this is removed by the next call.
        """
        folders = [RunFolder(self.out / "trials" / one.folder) for one in attempts(self.study)]
        for folder in folders:
            shutil.rmtree(folder.last.parent, ignore_errors=True)
        lost = set() if self.keep is None else set(losers(self.study, self.keep))
        for folder in folders:
            if folder.path.name in lost and not folder.results.exists() and not folder.evaluations():
                folder.weights.unlink(missing_ok=True)

    def _enqueue_own_values(self) -> None:
        from optuna.trial import TrialState

        if self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return  # the first trial was interrupted and stands there
        own = {key: flat(dump_config(self.config))[key] for key in self.space}
        outside = [key for key, value in own.items() if not inside(self.space[key], value)]
        if outside:
            self.notice(
                f"the configuration's own values are not tried: outside the space: {', '.join(outside)}"
            )
        else:
            self.study.enqueue_trial(own)

    def _say(self, one: Attempt) -> None:
        metric = self.config.validation.metric
        score = "no score" if one.score is None else f"{metric} {100 * one.score:.2f}%"
        self.notice(f"  {one.outcome}, {score}")

    def report(self) -> TuningResult:
        """What the search has found, written beside it: `best.yaml` and `tuning.png`."""
        ended = attempts(self.study)
        complete = [one for one in ended if one.outcome == "complete" and one.score is not None]
        best = max(complete, key=lambda one: one.score or 0.0, default=None)
        metric = self.config.validation.metric
        config = None
        if best is not None:
            config = with_values(self.config, {**best.values, "out": str(self.out / "best")})
            score = f"{metric} {100 * (best.score or 0.0):.2f}% on validation identities"
            write_text(
                self.out / "best.yaml",
                f"# Trial {best.folder}, the best of {len(ended)}: {score}.\n{to_yaml(config)}",
            )
        scores = [
            0.0 if one.score is None else one.score for one in ended
        ]  # one that diverged learnt nothing
        shares = importance(self.space, [one.values for one in ended], scores)
        found = TuningResult(self.out, metric, self.space, ended, shares, best, config)
        if ended:
            plot_tuning(found, self.out / "tuning.png")
        return found


class _Judge:
    """Reports a run's validations to its trial, and stops it where it is hopeless or out of time."""

    def __init__(self, trial: optuna.Trial, config: Config, out_of_time: Callable[[], bool]) -> None:
        self.trial, self.config, self.out_of_time = trial, config, out_of_time
        self.reported: set[int] = set()

    def __call__(self, row: Row) -> None:
        self.catch_up()
        if row["epoch"] + 1 >= self.config.epochs:
            return
        if self.trial.should_prune():
            raise _Pruned
        if self.out_of_time():
            raise _OutOfTime

    def catch_up(self) -> None:
        """Report every validation in the run's log, those before an interruption too."""
        for row in read_log(RunFolder(Path(str(self.config.out))).metrics):
            if row["kind"] == "validation" and row["epoch"] not in self.reported:
                self.reported.add(row["epoch"])
                self.trial.report(row[self.config.validation.metric], row["epoch"] + 1)


def _score(summary: Summary, config: Config) -> float:
    if summary.best is None:
        raise TrainingError(f"{summary.folder} was trained without a single validation; there is no score")
    return float(summary.best[config.validation.metric])


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
