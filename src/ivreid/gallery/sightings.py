"""Where and when somebody was seen: a crop's tracklet from its first crop to its last, or the crop alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ivreid.errors import IvreidError
from ivreid.gallery.record import Crop
from ivreid.gallery.store import Store
from ivreid.gallery.topology import Sighting
from ivreid.gallery.where import Where


def sightings(store: Store, crops: Iterable[Crop]) -> tuple[dict[str, Sighting], str]:
    """The sighting of each crop, by its id, and a note where a part of the store could not be read.

    A crop of a tracklet stands for the time from the first to the last crop that the store holds of it, before that
    camera: who left at the end of a tracklet was on the way from then on, not from the crop that looks most alike.
    """
    crops = tuple(crops)
    tracks: dict[tuple[str, str | None], Sighting] = {
        (crop.camera, crop.tracklet): Sighting(crop.camera, crop.time) for crop in crops if crop.tracklet
    }
    note = ""
    if tracks:
        names = frozenset(tracklet for _, tracklet in tracks if tracklet)
        where = Where(tracklets=names, cameras=frozenset(camera for camera, _ in tracks))
        try:
            for found, _, _ in store.iterate(where):
                for crop in found:
                    key = crop.camera, crop.tracklet
                    if (seen := tracks.get(key)) is not None:
                        until = max(seen.until or seen.time, crop.time)
                        tracks[key] = replace(seen, time=min(seen.time, crop.time), until=until)
        except IvreidError as error:  # a shard that a partial answer does without
            note = f"travel times may miss the start or end of a tracklet: {error}"
    alone = {crop.id: Sighting(crop.camera, crop.time) for crop in crops}
    return {crop.id: tracks.get((crop.camera, crop.tracklet), alone[crop.id]) for crop in crops}, note
