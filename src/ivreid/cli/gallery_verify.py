"""`ivreid gallery verify`: whether a gallery is as it was written."""

from __future__ import annotations

import json as json_text
from contextlib import closing

import typer

from ivreid.cli.gallery_options import Address, Json
from ivreid.reading import shown_address


def verify(gallery: Address, json: Json = False) -> None:
    """Compare every row, vector and picture with what was written, and the cache byte by byte.

    Exit status: 0 no problem, 1 problems found.
    """
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import counted
    from ivreid.gallery.opening import open_store

    with closing(open_store(gallery)) as store, progress_bar("Verifying") as tick:
        report = store.verify(progress=tick)
    console = Terminal()
    if json:
        console.print(json_text.dumps(report.to_json(), indent=1))
    else:
        for line in (*report.problems, *report.notes):
            console.print(line)
        console.print(
            f"{counted(report.crops, 'crop')}, {counted(len(report.problems), 'problem')} in {shown_address(gallery)}"
        )
    if report.problems:
        raise typer.Exit(1)
