"""What a request asks, from the words of a form to values; every refusal says which field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from ivreid.errors import DataError, ImageError, UsageError
from ivreid.gallery.intake import with_zone
from ivreid.gallery.patterns import parse_time, parse_zone
from ivreid.gallery.record import checked_time
from ivreid.gallery.topology import Sighting
from ivreid.gallery.where import Where
from ivreid.io import size_in_header
from ivreid.reading import clean
from ivreid.serve.embedding import Upload
from ivreid.serve.limits import KINDS, LONGEST_PURPOSE, Limits
from ivreid.types import Modality


@dataclass(frozen=True, kw_only=True)
class SearchAsked:
    """The fields of a search as they were sent; see `docs/serve.md`."""

    uploads: Sequence[tuple[str, bytes]] = ()
    crops: Sequence[str] = ()
    modality: str = ""
    purpose: str = ""
    gallery_modality: str = ""
    cameras: Sequence[str] = ()
    start: str = ""
    stop: str = ""
    zone: str = ""
    k: int = 10
    fuse: str = ""
    by: str = ""
    query_camera: str = ""
    query_time: str = ""
    exclude_same_camera: bool = False
    travel_gate: bool = False

    def where(self) -> Where:
        """What may be found."""
        zone = the_zone(self.zone)
        return Where(
            cameras=frozenset(self.cameras) or None,
            modality=the_modality(self.gallery_modality, "gallery_modality")
            if self.gallery_modality
            else None,
            start=the_time(self.start, zone, "from"),
            stop=the_time(self.stop, zone, "to"),
        )

    def sighting(self) -> Sighting | None:
        """Where and when the queries were seen, if both are told."""
        time = the_time(self.query_time, the_zone(self.zone), "query_time")
        if not self.query_camera or time is None:
            return None
        return Sighting(self.query_camera, checked_time(time, "query_time"))

    def by_tracklet(self) -> bool | None:
        """Whether hits are tracklets; None where the gallery decides."""
        if self.by not in ("", "crop", "tracklet"):
            raise UsageError(f"`by` is {clean(self.by, 40)!r}; a hit is a crop or a tracklet")
        return None if not self.by else self.by == "tracklet"

    def check(self, limits: Limits) -> None:
        """Refuse what is asked without a purpose, for nobody, or for too many hits.

        Raises:
            UsageError: The field is named.
        """
        the_purpose(self.purpose)
        if not self.uploads and not self.crops:
            raise UsageError("nothing to search for: send pictures (`images`) or ids of crops (`crops`)")
        if self.uploads:
            the_modality(self.modality, "modality")
        if not 1 <= self.k <= limits.k:
            raise UsageError(f"`k` is {self.k}; it must be from 1 to {limits.k}")
        if len(self.crops) > limits.images:
            raise UsageError(f"{len(self.crops)} crops; a request may have {limits.images}")
        if self.exclude_same_camera and self.uploads and not self.query_camera:
            raise UsageError("`exclude_same_camera` needs the pictures' camera: `query_camera`")


@dataclass(frozen=True, kw_only=True)
class CropsAsked:
    """The fields of crops to take in as they were sent."""

    uploads: Sequence[tuple[str, bytes]]
    camera: str
    modality: str
    times: Sequence[str] = field(default_factory=tuple)
    zone: str = ""
    tracklet: str = ""
    pid: int | None = None
    quality: float | None = None

    def taken(self) -> list[datetime]:
        """When each was taken: one time for all, or one each."""
        zone = the_zone(self.zone)
        times = [the_time(one, zone, "time") for one in self.times]
        found = [checked_time(one, "`time`") for one in times if one is not None]
        if len(found) not in (1, len(self.uploads)):
            raise UsageError(
                f"{len(self.uploads)} images and {len(found)} times; give one for all, or one each"
            )
        return found * len(self.uploads) if len(found) == 1 else found


def the_purpose(text: str) -> str:
    """Why something is asked, which must be said."""
    if not text.strip():
        raise UsageError("say why you search: `purpose`, which the gallery's audit keeps")
    if len(text) > LONGEST_PURPOSE:
        raise UsageError(f"the purpose has {len(text)} letters; it may have {LONGEST_PURPOSE}")
    return clean(text.strip(), LONGEST_PURPOSE)


def the_modality(text: str, name: str) -> Modality:
    """A modality by any of its names."""
    found = Modality.called(text)
    if found is None:
        raise UsageError(f"`{name}` is {clean(text, 40)!r}; it is visible or infrared")
    return found


def the_zone(text: str) -> tzinfo | None:
    """A zone, None where none is said."""
    return parse_zone(text) if text else None


def the_time(text: str, zone: tzinfo | None, name: str) -> datetime | None:
    """A time in its zone or the given one, None where none is said."""
    if not text:
        return None
    time = with_zone(parse_time(text, where=f"`{name}`"), zone)
    if time.utcoffset() is None:
        raise DataError(f"`{name}` says no zone; write 2026-03-01T22:00+01:00, or give `zone`")
    return time


def checked(uploads: Sequence[tuple[str, bytes]], limits: Limits) -> list[Upload]:
    """Pictures within the limits by their headers; nothing is decoded.

    Raises:
        UsageError: None, or too many.
        ImageError: Another kind of file, damaged, or too large; the message names the picture.
    """
    if not uploads:
        raise UsageError("no picture was sent (`images`)")
    if len(uploads) > limits.images:
        raise UsageError(f"{len(uploads)} pictures; a request may have {limits.images}")
    found, total = [], 0
    for number, (given, data) in enumerate(uploads):
        name = clean(given, 80) or str(number)
        try:
            width, height = size_in_header(data, KINDS)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error
        total += width * height
        if total > limits.pixels:
            raise ImageError(
                f"{name} is {width}x{height}: the pictures of a request may have {limits.pixels:,} pixels together"
            )
        found.append(Upload(name, data, width * height))
    return found
