"""`ivreid card`: the page that weights need where others find them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.options import Plugins


def run(
    path: Annotated[Path, typer.Argument(metavar="RUN_DIR|WEIGHTS", help="A run folder or a weights file.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write.  [default: README.md beside the weights]"),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="SPDX identifier of the weights' licence, e.g. mit.")
    ] = "other",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    plugins: Plugins = None,
) -> None:
    """Write a model card: data, protocol, figures, licence and limits of trained weights.

    Put it beside weights.safetensors on a page of the Hugging Face hub, and `ivreid embed hf://ORG/NAME IMAGES`
    finds both.
    """
    from ivreid.evaluation.model_card import write_model_card

    typer.echo(str(write_model_card(path, out, licence=licence, overwrite=overwrite)))
