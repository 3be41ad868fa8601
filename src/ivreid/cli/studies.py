"""Several runs as one: what `ivreid train --trials --seeds` shows."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from ivreid.errors import UsageError

if TYPE_CHECKING:
    from ivreid.config import Config


def check_study_options(trial: int | None, trials: str | None) -> None:
    """Refuse two answers to one question.

    Raises:
        UsageError: Both --trial and --trials.
    """
    if trial is not None and trials is not None:
        raise UsageError(f"--trial {trial} and --trials {trials} exclude each other: one run, or a study")


def one_process(what: str) -> None:
    """Refuse to start a whole study in several processes at once.

    Raises:
        UsageError: torchrun launched this.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"{what} runs in one process. Several runs of one configuration can be trained with torchrun one "
            "by one (--trial 1 --out DIR/trial-01, ...); --trials without torchrun then tests and merges them"
        )


def study_and_show(
    config: Config, trials: str | None, seeds: str | None, notice: Callable[[str], None]
) -> None:
    """Run or go on with a study, and print its mean ± standard deviation."""
    from ivreid.analysis.merge import parse_numbers
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.tables import show_results
    from ivreid.evaluation import evaluate_run
    from ivreid.studies.study import plan_study, run_study
    from ivreid.training import train

    one_process("a study")
    runs = plan_study(
        config,
        parse_numbers(trials, "--trials") if trials is not None else (),
        parse_numbers(seeds, "--seeds") if seeds is not None else (),
    )
    results = run_study(runs, train=train, evaluate=evaluate_run, notice=notice, watch=progress_bar)
    show_results(results)
    notice(f"written to {shlex.quote(str(runs[0].folder.path.parent / 'results.json'))}")
