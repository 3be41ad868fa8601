"""The whole story on synthetic data, from pictures to a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivreid.config import Config
from ivreid.errors import ConfigError
from ivreid.evaluation import ResultsNotSaved, evaluate_run
from ivreid.inference import explain_pairs
from ivreid.protocols import Result
from ivreid.report import write_report
from ivreid.synthetic import SynthSummary
from ivreid.training import Summary, draw_people, train
from ivreid.training.estimate import estimate_run
from ivreid.training.start import StartSummary
from ivreid.types import Notice, ProgressBars, no_progress_bars

STAGES = (
    "Synthetic people in SYSU-MM01's layout",
    "Training",
    "Evaluation by the SYSU-MM01 protocol",
    "Report",
)


@dataclass(frozen=True)
class DemoSummary:
    """What a demonstration made.

    Attributes:
        people: The pictures; None where the configuration draws none.
        training: What training came to; its run folder holds everything below.
        results: One result a protocol setting.
        report: The page.
    """

    people: SynthSummary | None
    training: Summary
    results: tuple[Result, ...]
    report: Path


def run_demo(
    config: Config,
    *,
    stage: Callable[[int, str], None] = lambda number, name: None,
    notice: Notice = lambda line: None,
    show_results: Callable[[Sequence[Result]], None] = lambda results: None,
    progress_bars: ProgressBars = no_progress_bars,
    on_start: Callable[[StartSummary], None] | None = None,
) -> DemoSummary:
    """Draw people, train, evaluate by the SYSU-MM01 protocol, write a report.

    What is already there is used again: the same call goes on where an interrupted one stood.

    Args:
        config: `ivreid.load_config("demo")`, or another one that draws its people (`data.synthetic`).
        stage: Called with the number (from 1) and name of each of the four stages as it begins.
        notice: Called with a line for people.
        show_results: Called with the results as soon as they are there.
        progress_bars: Called with labels; gives a progress callable for each.
        on_start: As for `ivreid.train`.

    Raises:
        ConfigError: No folder for the run.
        IvreidError: As the parts raise it.
    """
    if config.out is None:
        raise ConfigError("out is not set: say where the run folder shall be with --out RUN_DIR")
    if not config.out.is_dir() and (expected := estimate_run(config)) is not None:
        notice(f"this will take {expected}")
    stage(1, STAGES[0])
    with progress_bars("Drawing") as (drawing,):
        people = draw_people(config.data, drawing)
    if people is not None:
        how = "already there" if people.reused else f"drawn in {people.seconds:.0f} s"
        notice(f"{people.images:,} pictures of {people.identities} people in {people.root}, {how}")
    stage(2, STAGES[1])
    with progress_bars("Preparing images", "Training") as (preparing, tick):
        training = train(
            config,
            resume=config.out.is_dir(),
            preparing=preparing,
            progress=tick,
            notice=notice,
            on_start=lambda start: notice(
                "\n".join(f"{word:<8} {sentence}" for word, sentence in start.lines())
            ),
        )
    stage(3, STAGES[2])
    with progress_bars("Embedding") as (tick,):
        try:
            results = evaluate_run(
                training.folder, settings=config.protocol_settings(), notice=notice, progress=tick
            )
        except ResultsNotSaved as error:
            show_results(error.results)
            raise
    show_results(results)
    stage(4, STAGES[3])
    report = write_report(training.folder, attention=explain_pairs(training.folder))
    notice(f"{report}: open it in a browser, it needs no network")
    return DemoSummary(people, training, tuple(results), report)
