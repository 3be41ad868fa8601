"""`ivreid tune`: better hyper-parameters, found on validation identities."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivreid.cli.options import Csv, Latex, Markdown, Plugins, again, chosen_form
from ivreid.cli.terminal import Terminal

if TYPE_CHECKING:
    from ivreid.studies.tuning_result import TuningResult


def run(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", help="What to improve: a YAML or INI file, or a packaged one's name."
        ),
    ],
    *,
    trials: Annotated[int, typer.Option(help="Trials in all, those of earlier calls included.")] = 30,
    data: Annotated[Path | None, typer.Option(metavar="ROOT", help="The dataset's folder.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The search's folder.")] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What to vary: YAML, `search: {optimizer.lr: {low: 0.0001, high: 0.01, log: true}}`.",
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Stop after so long, at the next validation.")
    ] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", hidden=True)] = None,
    keep: Annotated[int, typer.Option(help="So many of the best trials keep their weights.", min=1)] = 1,
    keep_all: Annotated[bool, typer.Option("--keep-all", help="All trials keep their weights.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of every trial; repeatable."),
    ] = None,
    latex: Latex = False,
    markdown: Markdown = False,
    csv: Csv = False,
    plugins: Plugins = None,
) -> None:
    """Search for better hyper-parameters, scored on validation identities and never on the test.

    Each trial trains one model in DIR/trials; hopeless ones are stopped early. Stop it any time with Ctrl-C:
    the same command goes on where it stood. Logs and curves of all trials stay, weights only of the best and of
    those that you evaluate. DIR/best.yaml holds the best settings, ready for `ivreid train`;
    DIR/tuning.png shows which settings mattered. Optuna is needed: pip install 'ivreid[tune]'.
    """
    from ivreid.cli.progress import progress_bars
    from ivreid.config import load_config
    from ivreid.errors import UsageError
    from ivreid.io import check_output
    from ivreid.studies import tune
    from ivreid.studies.optuna_store import require_optuna

    form = chosen_form(latex, markdown, csv)
    require_optuna()
    if minutes is not None and timeout is not None:
        raise UsageError("--timeout is the old name of --minutes; give one of them")
    console = Terminal(stderr=True)

    def notice(line: str) -> None:
        console.print(line)

    words: list[str | tuple[str, Any]] = [
        *(overrides or []),
        *((key, str(path)) for key, path in (("data.root", data), ("out", out)) if path is not None),
        *([("data.synthetic", None)] if data is not None else []),  # these pictures, and none drawn
    ]
    settings = load_config(config, words, notice=notice)
    if settings.out is not None and config.is_file():
        check_output(settings.out / "best.yaml", inputs=[config, *([space] if space else [])])
    found = tune(
        settings,
        space,
        trials=trials,
        minutes=timeout if minutes is None else minutes,
        keep=None if keep_all else keep,
        notice=notice,
        progress_bars=progress_bars,
    )
    if len(found.attempts) < trials:
        notice(f"time is up after {len(found.attempts)} of {trials} trials; the same command goes on")
    _show(found, again(plugins), form)


def _show(found: TuningResult, more: str, form: str | None) -> None:
    from ivreid.cli.invocation import command
    from ivreid.cli.results_table import show_grids

    if found.best is None:
        Terminal(stderr=form is not None).print("no trial is complete yet")
        return
    show_grids([found.grid()], form)
    console = Terminal(stderr=form is not None)
    console.print(f"{found.out / 'tuning.png'}")
    console.print(f"next: {command()} train {shlex.quote(str(found.out / 'best.yaml'))}{more}")
