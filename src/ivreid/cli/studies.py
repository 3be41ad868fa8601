"""Several runs as one: what `ivreid train --trials --seeds` shows."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
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


def study_and_show(
    config: Config, trials: str | None, seeds: str | None, notice: Callable[[str], None]
) -> None:
    """Run or go on with a study, and print its mean ± standard deviation."""
    from ivreid.analysis.merge import parse_numbers
    from ivreid.cli.progress import progress_bars
    from ivreid.cli.results_table import show_results
    from ivreid.studies import run_study

    results = run_study(
        config,
        trials=parse_numbers(trials, "--trials") if trials is not None else (),
        seeds=parse_numbers(seeds, "--seeds") if seeds is not None else (),
        notice=notice,
        progress_bars=progress_bars,
    )
    show_results(results)
    notice(f"written to {shlex.quote(str(Path(str(config.out), 'results.json')))}")
