"""`ivreid gallery export` and `copy`: a gallery's crops elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address, Cameras, From, OfModality, To, Zone, the_filter
from ivreid.reading import shown_address


def export(
    gallery: Address,
    out: Annotated[Path, typer.Option(help="The file to write (.parquet)", metavar="OUT.parquet")],
    camera: Cameras = None,
    modality: OfModality = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
    pictures: Annotated[bool, typer.Option("--pictures", help="Write the pictures too")] = False,
) -> None:
    """Write crops with their vectors as a Parquet file; needs pyarrow (pip install 'ivreid[parquet]')."""
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery.move import export as write
    from ivreid.gallery.opening import open_store

    where = the_filter(cameras=camera, modality=modality, start=start, stop=stop, zone=zone)
    store = open_store(gallery)
    with progress_bar("Exporting") as tick:
        count = write(store, out, where, pictures=pictures, progress=tick)
    store.close()
    Terminal().print(f"{count:,} crop(s) -> {out}")


def copy(
    gallery: Address,
    target: Annotated[
        str, typer.Argument(help="A folder or URL; made where it is not there", metavar="TARGET")
    ],
    camera: Cameras = None,
    modality: OfModality = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
) -> None:
    """Copy crops with vectors, pictures and what is refused into another store; may be repeated or resumed."""
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery.move import copy as move
    from ivreid.gallery.opening import open_store

    where = the_filter(cameras=camera, modality=modality, start=start, stop=stop, zone=zone)
    store = open_store(gallery)
    with progress_bar("Copying") as tick:
        added, erased = move(store, target, where, progress=tick)
    store.close()
    refused = f", {erased:,} refused, for they were erased there" if erased else ""
    Terminal().print(f"{added:,} new crop(s){refused} -> {shown_address(target)}")
