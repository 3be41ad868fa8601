"""`ivreid demo`: the whole story on synthetic data, from pictures to a report."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from ivreid.config import Config


def run(
    config: Annotated[
        Path, typer.Option(metavar="CONFIG", help="Another configuration: a file, or a packaged one's name.")
    ] = Path("demo"),
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting, e.g. --set epochs=2; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN_DIR", help="The run folder.  [default: runs/demo]")
    ] = None,
) -> None:
    """The whole story on synthetic data: draw people, train, evaluate by the SYSU-MM01 protocol, report.

    Takes about ten minutes on two cores. What is already there is used again: stop it with Ctrl-C and the same
    command goes on from where it stood. To begin anew, delete the run folder.
    """
    from rich.console import Console

    from ivreid.config import load_config

    words = [*(overrides or []), *([f"out={out}"] if out else [])]
    settings = load_config(config, words)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    logging.basicConfig(format="%(message)s")
    _heading(console, 1, "Synthetic people in SYSU-MM01's layout")
    _draw(settings, console)
    _heading(console, 2, "Training")
    folder = _train(settings, console)
    _heading(console, 3, "Evaluation by the SYSU-MM01 protocol")
    _evaluate(settings, folder)
    _heading(console, 4, "Report")
    _report(folder, console)
    _next(folder, settings, console)


def _heading(console: Console, number: int, text: str) -> None:
    console.rule(f"{number} of 4  {text}", align="left")


def _draw(settings: Config, console: Console) -> None:
    from ivreid.cli.progress import progress_bar
    from ivreid.training import draw_people

    with progress_bar("Drawing") as tick:
        summary = draw_people(settings.data, tick)
    if summary is None:
        return
    verb = "already there" if summary.reused else f"drawn in {summary.seconds:.0f} s"
    console.print(f"{summary.images:,} pictures of {summary.identities} people in {summary.root}, {verb}")


def _train(settings: Config, console: Console) -> Path:
    from ivreid.cli.progress import progress_bars
    from ivreid.training import train

    if settings.out is None:
        raise ConfigError("out is not set: say where the run folder shall be with --out RUN_DIR")
    resume = settings.out.is_dir()
    with progress_bars("Preparing images", "Training") as (preparing, tick):
        summary = train(
            settings,
            resume=resume,
            preparing=preparing,
            progress=tick,
            notice=lambda line: console.print(line, markup=False),
        )
    return summary.folder


def _evaluate(settings: Config, folder: Path) -> None:
    from ivreid.cli.evaluate import evaluate_and_show

    evaluate_and_show(folder, [setting.model_dump() for setting in settings.evaluation])


def _report(folder: Path, console: Console) -> None:
    from ivreid.report import write_report

    console.print(f"{write_report(folder)}: open it in a browser, it needs no network")


def _next(folder: Path, settings: Config, console: Console) -> None:
    from rich.text import Text

    from ivreid.cli.name import command

    root, run, me = shlex.quote(str(settings.data.root)), shlex.quote(str(folder)), command()
    console.rule("What to try next", align="left")
    for words, meaning in (
        (f"evaluate {run} --mode indoor --shots 10", "one setting of the protocol"),
        (
            f"embed {run} {root}/cam3 --modality infrared --out features.npz",
            "embeddings of a folder of pictures",
        ),
        ("train demo --set data.size=[160,64] --set out=runs/larger", "another configuration"),
        (
            "train sysu-mm01 --data SYSU-MM01 --out runs/sysu",
            "the published system on the real data",
        ),
    ):
        console.print(Text(f"  {me} {words}", style="cyan"), Text(f"      {meaning}"), sep="\n")
