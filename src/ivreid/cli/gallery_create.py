"""`ivreid gallery create`: an empty gallery for a model's vectors."""

from __future__ import annotations

from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address
from ivreid.reading import shown_address


def create(
    gallery: Address,
    model: Annotated[
        str,
        typer.Option(help="Run folder, weights file, or hf://ORG/NAME[@REVISION]", metavar="RUN_DIR|WEIGHTS"),
    ],
) -> None:
    """Make an empty gallery for a model's vectors. It keeps a copy of the weights: `add` and `search` need no other."""
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery import Gallery

    with Gallery.create(gallery, model, device="cpu") as made:
        bound = made.store.binding
        Terminal().print(
            f"an empty gallery of {bound.name} ({bound.dimension} values a crop) -> {shown_address(gallery)}"
        )
