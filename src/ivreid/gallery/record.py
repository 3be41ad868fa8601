"""What a gallery holds: crops, each one image of one person with where and when it was taken."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ivreid.errors import DataError
from ivreid.reading import clean
from ivreid.types import UNKNOWN_PID, Modality

if TYPE_CHECKING:
    from PIL import Image

ID_DIGITS = 32
"""Hexadecimal digits of an id, an address and a digest of pixels: 128 bits."""
LONGEST_NAME = 200
LONGEST_SOURCE = 4000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS = range(1900, 9000)
_HEX = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")


def new_address() -> str:
    """A random name under which a crop's picture may be shown: it says nothing about the picture."""
    return secrets.token_hex(ID_DIGITS // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """One image of one person.

    Attributes:
        pixels: Digest of the decoded pixels, see `pixel_digest`.
        camera: The camera's name.
        time: When it was taken, to the microsecond, with its zone.
        modality: Visible or infrared.
        tracklet: The name of the track it belongs to; None without one.
        pid: The person, below 0 where unknown.
        source: The file it came from, as the user named it; may be empty.
        quality: 0 (useless) to 1, where somebody judged it.
        address: Random; names the picture in addresses.
        id: Digest of pixels, camera, time and modality: the same crop has the same id wherever it is added.

    Raises:
        DataError: A value that cannot be kept, a time without a zone among them.
    """

    pixels: str
    camera: str
    time: datetime
    modality: Modality
    tracklet: str | None = None
    pid: int = UNKNOWN_PID
    source: str = ""
    quality: float | None = None
    address: str = field(default_factory=new_address, compare=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        for name in ("pixels", "address"):
            if not _HEX.fullmatch(getattr(self, name)):
                raise DataError(
                    f"`{name}` is {clean(getattr(self, name), 60)!r}; it must be {ID_DIGITS} of the digits 0-9a-f"
                )
        check_name("camera", self.camera)
        if self.tracklet is not None:
            check_name("tracklet", self.tracklet)
        if len(self.source) > LONGEST_SOURCE or not storable(self.source):
            raise DataError(f"the source {clean(self.source, 60)!r} is too long, or no text that can be kept")
        if self.quality is not None and not (math.isfinite(self.quality) and 0 <= self.quality <= 1):
            raise DataError(f"the quality is {self.quality!r}; it must lie from 0 to 1")
        if type(self.pid) is not int or not -(2**63) <= self.pid < 2**63:
            raise DataError(f"the pid is {clean(repr(self.pid), 60)}; it must be a whole number")
        object.__setattr__(self, "modality", Modality(self.modality))
        object.__setattr__(self, "time", checked_time(self.time))
        key = "\0".join((self.pixels, self.camera, str(microseconds(self.time)), self.modality))
        object.__setattr__(self, "id", hashlib.sha256(key.encode()).hexdigest()[:ID_DIGITS])

    def to_json(self) -> dict[str, Any]:
        """The crop as plain JSON values; an unknown person is null."""
        return {
            "id": self.id,
            "camera": self.camera,
            "time": self.time.isoformat(),
            "modality": self.modality.value,
            "tracklet": self.tracklet,
            "pid": self.pid if self.pid >= 0 else None,
            "source": self.source,
            "quality": self.quality,
            "address": self.address,
        }


def pixel_digest(image: Image.Image) -> str:
    """Digest of an RGB image's size and pixels: two files of the same pixels have the same one."""
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:ID_DIGITS]


def erased_mark(key: bytes, pixels: str) -> bytes:
    """What a gallery keeps of erased pixels so that they are refused ever after.

    It is keyed with a secret of the gallery: nobody without the gallery can try pictures against its list.
    """
    return hashlib.blake2b(pixels.encode(), key=key, digest_size=16).digest()


def checked_time(time: datetime, what: str = "the time") -> datetime:
    """The same instant, with its distance from UTC as its zone.

    Raises:
        DataError: No zone, or a year outside `YEARS`.
    """
    offset = time.utcoffset()
    if offset is None:
        raise DataError(
            f"{what} {time.isoformat()} has no zone; write one, as in {time.isoformat()}+02:00 or ...Z, or name one "
            "for all (--zone Europe/Berlin)"
        )
    if time.year not in YEARS or offset.microseconds:
        raise DataError(
            f"{what} {time.isoformat()} is no time of a picture; years from {YEARS[0]} to {YEARS[-1]} are"
        )
    return time.astimezone(timezone(offset))


def microseconds(time: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (time - EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int, offset_seconds: int = 0) -> datetime:
    """The time that `microseconds` came from, shown at a distance from UTC."""
    return (EPOCH + timedelta(microseconds=value)).astimezone(timezone(timedelta(seconds=offset_seconds)))


def check_name(what: str, name: str) -> None:
    """Refuse a camera's or tracklet's name that cannot be kept or shown.

    Raises:
        DataError: Empty, too long, with spaces around it, or with unprintable characters.
    """
    if not name or len(name) > LONGEST_NAME or name != name.strip() or not name.isprintable():
        raise DataError(
            f"the {what} is {clean(name, 60)!r}; a name has 1 to {LONGEST_NAME} printable letters, without spaces "
            "around it"
        )


def storable(text: str) -> bool:
    """Whether every store keeps a text as it is: no half characters (names on disk may hold some), no zeros."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
