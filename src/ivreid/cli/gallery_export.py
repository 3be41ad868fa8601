"""`ivreid gallery export`: a gallery's crops as a file for other programs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address, Cameras, From, OfModality, To, Zone, the_filter


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
    from ivreid.errors import counted
    from ivreid.gallery.move import export as write
    from ivreid.gallery.opening import open_store

    where = the_filter(cameras=camera, modality=modality, start=start, stop=stop, zone=zone)
    with closing(open_store(gallery)) as store, progress_bar("Exporting") as tick:
        count = write(store, out, where, pictures=pictures, progress=tick)
    Terminal().print(f"{counted(count, 'crop')} -> {out}")
