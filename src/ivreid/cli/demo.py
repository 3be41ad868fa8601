"""`ivreid demo`: the whole story on synthetic data, from pictures to a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivreid.cli.options import Plugins

if TYPE_CHECKING:
    from ivreid.cli.terminal import Terminal
    from ivreid.config import Config


def run(
    config: Annotated[
        Path, typer.Option(metavar="CONFIG", help="Another configuration: a file, or a packaged one's name.")
    ] = Path("demo"),
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Another method in its compact form, e.g. --recipe baseline, which is ours."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting, e.g. --set epochs=2; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN_DIR", help="The run folder.  [default: runs/demo, runs/demo-NAME]"),
    ] = None,
    plugins: Plugins = None,
) -> None:
    """The whole story on synthetic data: draw people, train, evaluate by the SYSU-MM01 protocol, report.

    Takes about ten minutes on two cores; how long it takes here is measured and said first. What is already there
    is used again: stop it with Ctrl-C and the same command goes on from where it stood. To begin anew, delete the
    run folder.
    """
    from ivreid.cli.progress import progress_bars
    from ivreid.cli.results_table import show_results
    from ivreid.cli.terminal import Terminal
    from ivreid.cli.training_summary import show_start
    from ivreid.config import load_config
    from ivreid.config.recipes import COMPACT, PUBLISHED
    from ivreid.demo import STAGES, run_demo

    console = Terminal(stderr=True)
    words: list[str | tuple[str, Any]] = []
    if recipe is not None:
        words.append(("out", f"runs/demo-{recipe}"))
        if not recipe.endswith((COMPACT, PUBLISHED)):
            recipe += COMPACT
    words += [*(overrides or []), *([("out", str(out))] if out else [])]
    settings = load_config(config, words, recipe=recipe, notice=console.print)
    made = run_demo(
        settings,
        stage=lambda number, name: console.rule(f"{number} of {len(STAGES)}  {name}", align="left"),
        notice=console.print,
        show_results=show_results,
        progress_bars=progress_bars,
        on_start=show_start,
    )
    _next(made.training.folder, settings, console)


def _next(folder: Path, settings: Config, console: Terminal) -> None:
    from rich.text import Text

    from ivreid.cli.invocation import command

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
