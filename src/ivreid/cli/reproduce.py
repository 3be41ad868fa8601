"""`ivreid reproduce`: a method's published figures beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.options import Permutations, Plugins

if TYPE_CHECKING:
    from rich.table import Table

    from ivreid.reproduction import Reproduction


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The method; `ivreid methods` lists them.")],
    data: Annotated[Path, typer.Option(metavar="ROOT", help="The dataset's folder.")],
    *,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The authors' checkpoint, or weights of ours; without it the published recipe is trained.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The dataset's name, where its folder does not tell.")
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(
            help="RegDB: the split. Without it a training takes every published one, an authors' checkpoint the first."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For weights, runs and the JSON; reproductions/NAME-DATASET."),
    ] = None,
    permutations: Permutations = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the training; told with the figures."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    batch_size: Annotated[
        int, typer.Option(help="Images per batch of the test: speed and memory only.", min=1)
    ] = 64,
    plugins: Plugins = None,
) -> None:
    """Reproduce a method's published figures: check the dataset, test its checkpoint or train, compare.

    Every published row is measured under exactly its own protocol and printed beside ours, with the 95% interval over
    query identities and everything that may make a difference. DIR/reproduction.json holds all of it and no path of this
    machine, to be attached to a report.
    """
    from ivreid.cli.progress import progress_bars
    from ivreid.cli.terminal import Terminal
    from ivreid.reproduction import reproduce

    notices = Terminal(stderr=True)
    found = reproduce(
        name,
        data,
        checkpoint=checkpoint,
        dataset=dataset,
        trial=trial,
        out=out,
        permutations=permutations,
        overrides=overrides or (),
        device=device,
        batch_size=batch_size,
        notice=notices.print,
        progress_bars=progress_bars,
    )
    console = Terminal(wrap=True)
    console.print(_table(found))
    for line in found.may_differ:
        console.print(f"- {line}")
    console.print(f"{found.file}: attach it to a report")


def _table(found: Reproduction) -> Table:
    from rich.table import Table

    table = Table(title=f"{found.method} on {found.dataset}, percent", title_justify="left")
    for column in ("setting", "figure"):
        table.add_column(column)
    for column in ("published", "ours", "95% interval", "ours - published"):
        table.add_column(column, justify="right")
    for row in found.rows:
        one = row.published
        setting = f"{one.setting}, from {one.source}" + ("" if one.kind == "plain" else f", {one.kind}")
        figures = row.figures()
        for number, figure in enumerate(figures):
            interval, std = figure["interval"], figure["std"]
            spread = "" if std is None else f" ± {100 * std:.2f}"
            table.add_row(
                setting if number == 0 else "",
                figure["figure"].replace("rank1", "Rank-1"),
                "-" if figure["published"] is None else f"{100 * figure['published']:.2f}",
                f"{100 * figure['ours']:.2f}{spread}",
                f"{100 * interval['low']:.2f} .. {100 * interval['high']:.2f}" if interval else "-",
                "-" if figure["difference"] is None else f"{100 * figure['difference']:+.2f}",
                end_section=number == len(figures) - 1,
            )
    return table
