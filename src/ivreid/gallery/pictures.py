"""Pictures on their way into a gallery: decoded once, named by their pixels, kept without what a file may hide."""

from __future__ import annotations

import io
from datetime import datetime, tzinfo
from pathlib import Path

from PIL import Image

from ivreid.errors import DataError, ImageError
from ivreid.gallery.store import Store
from ivreid.io import ValueRange, read_image
from ivreid.reading import clean

LARGEST_SIDE = 1024
QUALITY = 92
_EXIF, _TIME, _OFFSET, _FRACTION = 0x8769, 0x9003, 0x9011, 0x9291


def encoded(image: Image.Image) -> bytes:
    """The picture that a gallery keeps: a JPEG of the pixels alone, not larger than a crop needs to be."""
    small = image.convert("RGB")
    if max(small.size) > LARGEST_SIDE:
        small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def query_pictures(store: Store, name: str, value_range: ValueRange) -> list[bytes]:
    """The encoded pictures behind a query's name in an answer: of files, and of crops that the store has one of.

    Args:
        store: Where was searched.
        name: One name, or those of several crops of one person, with " + " between.
        value_range: How a file's grey of more than eight bits becomes 256 greys.
    """
    out = []
    for part in name.split(" + "):
        crop = store.get([part]).get(part)
        try:
            picture = encoded(read_image(part, value_range)) if crop is None else store.picture(crop.address)
        except ImageError:  # embeddings have none
            continue
        out += [picture] if picture else []
    return out


def exif_time(path: Path, zone: tzinfo | None) -> datetime:
    """When a file's EXIF says that it was taken.

    Args:
        path: A JPEG, PNG, WebP or TIFF file.
        zone: Where its clock stood, for files that do not say.

    Raises:
        DataError: It says no time, or no zone where `zone` is None.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP", "TIFF")) as image:
            exif = image.getexif().get_ifd(_EXIF)
        text, offset = str(exif.get(_TIME, "")), str(exif.get(_OFFSET, "")).strip("\0 ")
        fraction = str(exif.get(_FRACTION, "")).strip("\0 ") or "0"
        time = datetime.strptime(f"{text.strip(chr(0))}.{fraction[:6]}", "%Y:%m:%d %H:%M:%S.%f")
        if offset:
            return datetime.fromisoformat(f"{time.isoformat()}{offset}")
    except Exception as error:  # Pillow raises many kinds on hostile bytes
        raise DataError(f"{clean(path)}: its EXIF says no time of taking; give --time") from error
    if zone is None:
        raise DataError(f"{clean(path)}: its EXIF says no zone; name it (--zone Europe/Berlin)")
    return time.replace(tzinfo=zone)
