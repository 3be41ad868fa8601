"""`ivreid gallery delete`: crops out of every answer."""

from __future__ import annotations

from contextlib import closing

from ivreid.cli.gallery_options import (
    Address,
    Cameras,
    From,
    Ids,
    OfModality,
    Pids,
    To,
    Tracklets,
    Zone,
    the_filter,
)
from ivreid.reading import shown_address


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
    from ivreid.errors import UsageError, counted
    from ivreid.gallery import EVERYTHING
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
    if where == EVERYTHING:
        raise UsageError("say what to delete: --id, --camera, --from, --to, --tracklet, --pid or --modality")
    with closing(open_store(gallery)) as store:
        count = store.delete(where)
    Terminal().print(f"{counted(count, 'crop')} deleted from {shown_address(gallery)}: {where}")
