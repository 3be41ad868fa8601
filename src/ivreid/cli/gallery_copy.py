"""`ivreid gallery copy`: a gallery's crops in another gallery."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address, Cameras, From, OfModality, To, Zone, the_filter
from ivreid.reading import shown_address


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
    from ivreid.errors import counted
    from ivreid.gallery.move import copy as move
    from ivreid.gallery.opening import open_store

    where = the_filter(cameras=camera, modality=modality, start=start, stop=stop, zone=zone)
    with closing(open_store(gallery)) as store, progress_bar("Copying") as tick:
        added, erased = move(store, target, where, progress=tick)
    refused = f", {erased:,} refused, for they were erased there" if erased else ""
    Terminal().print(f"{counted(added, 'new crop')}{refused} -> {shown_address(target)}")
