"""`ivreid gallery erase`: crops out of every file of a gallery."""

from __future__ import annotations

from contextlib import closing

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
    the_filter,
)


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
    from ivreid.cli.gallery_receipt import print_receipt
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
    with closing(open_store(gallery)) as store:
        receipt = keep(store, store.erase(where))
    print_receipt(receipt, json)
