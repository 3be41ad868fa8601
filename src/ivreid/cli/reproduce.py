"""`ivreid reproduce`: a method's published figures beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.options import Permutations, Plugins


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
    from ivreid.cli.reproduce_text import show_reproduction
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
    show_reproduction(found)
