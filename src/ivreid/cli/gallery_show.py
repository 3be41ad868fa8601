"""`ivreid gallery show`: crops of a gallery, or its audit."""

from __future__ import annotations

import json as json_text
from contextlib import closing
from typing import Annotated

import typer

from ivreid.cli.gallery_options import (
    Address,
    Cameras,
    From,
    Json,
    OfModality,
    Pids,
    To,
    Tracklets,
    Zone,
    the_filter,
)
from ivreid.reading import shown_address


def show(
    gallery: Address,
    ids: Annotated[
        list[str] | None, typer.Argument(help="Of crops; the first of the gallery otherwise", metavar="ID")
    ] = None,
    camera: Cameras = None,
    modality: OfModality = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
    tracklet: Tracklets = None,
    pid: Pids = None,
    limit: Annotated[int, typer.Option(help="Most crops", min=1)] = 20,
    audit: Annotated[bool, typer.Option("--audit", help="Show what was done with it instead")] = False,
    json: Json = False,
) -> None:
    """Show crops, or the audit: who searched for what purpose, what was added, deleted and erased."""
    from ivreid.cli.gallery_text import crop_line
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.gallery.opening import open_store

    console = Terminal()
    with closing(open_store(gallery)) as store:
        if audit:
            for row in store.audit(last=limit):
                console.print(json_text.dumps(row.to_json()))
            return
        where = the_filter(
            cameras=camera,
            modality=modality,
            start=start,
            stop=stop,
            zone=zone,
            tracklets=tracklet,
            pids=pid,
            ids=ids,
        )
        crops, _, _ = next(store.iterate(where, batch=limit), ((), None, ()))
        if missing := set(ids or ()) - {crop.id for crop in crops}:
            raise UsageError(f"{shown_address(gallery)} has no crop {min(missing)}")
    if json:
        console.print(json_text.dumps([crop.to_json() for crop in crops], indent=1))
        return
    for crop in crops:
        console.print(crop_line(crop))
