"""`ivreid gallery delete`, `erase` and `expire`: crops out of answers, or out of every file."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.gallery_options import (
    Address,
    Cameras,
    From,
    Ids,
    Json,
    OfModality,
    Pids,
    To,
    Tracklets,
    Zone,
    now,
    the_filter,
    the_zone,
)
from ivreid.reading import shown_address

if TYPE_CHECKING:
    from ivreid.gallery import Receipt


def delete(
    gallery: Address,
    ids: Ids = None,
    camera: Cameras = None,
    modality: OfModality = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
    tracklet: Tracklets = None,
    pid: Pids = None,
) -> None:
    """Take crops out of every answer; they may be added again. `erase` also removes their bytes."""
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.gallery import Where
    from ivreid.gallery.opening import open_store

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
    if where == Where():
        raise UsageError("say what to delete: --id, --camera, --from, --to, --tracklet, --pid or --modality")
    store = open_store(gallery)
    count = store.delete(where)
    store.close()
    Terminal().print(f"{count:,} crop(s) deleted from {shown_address(gallery)}: {where}")


def erase(
    gallery: Address,
    ids: Ids = None,
    camera: Cameras = None,
    modality: OfModality = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
    tracklet: Tracklets = None,
    pid: Pids = None,
    json: Json = False,
) -> None:
    """Remove crops so that no file of the gallery holds their vectors or pictures, and refuse their pixels ever after.

    Prints a receipt: what was done, and what it cannot reach. Exit status 1 where something is left to be done.
    """
    from ivreid.gallery.opening import open_store
    from ivreid.gallery.receipts import keep

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
    store = open_store(gallery)
    receipt = keep(store, store.erase(where))
    store.close()
    _print_receipt(receipt, json)


def expire(
    gallery: Address,
    older_than: Annotated[
        str, typer.Option(help="30d, 12h, 4w, or a time; crops taken before it go", metavar="AGE|TIME")
    ],
    zone: Zone = None,
    json: Json = False,
) -> None:
    """Remove old crops and their bytes, as `erase` does; for a nightly job."""
    from ivreid.gallery.intake import with_zone
    from ivreid.gallery.opening import open_store
    from ivreid.gallery.patterns import parse_age
    from ivreid.gallery.receipts import keep

    before = with_zone(parse_age(older_than, now()), the_zone(zone))
    store = open_store(gallery)
    receipt = keep(store, store.expire(before))
    store.close()
    _print_receipt(receipt, json)


def _print_receipt(receipt: Receipt, json: bool) -> None:
    from ivreid.cli.terminal import Terminal

    console = Terminal()
    if json:
        console.print(json_text.dumps(receipt.to_json(), indent=1))
    else:
        console.print(
            f"{receipt.action}, {receipt.time.isoformat(timespec='seconds')}, receipt {receipt.id} in the audit"
        )
        for title, lines in (
            ("done", receipt.done),
            ("left", receipt.left),
            ("out of reach", receipt.beyond),
        ):
            for line in lines:
                console.print(f"  {title}: {line}")
    if receipt.left:
        raise typer.Exit(1)
