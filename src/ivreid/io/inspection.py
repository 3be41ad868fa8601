"""What one picture is, and what is wrong with it: for whoever examines a dataset before trusting it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivreid.errors import ImageError
from ivreid.io.image_formats import START, kind_of, readable_kinds
from ivreid.io.images import has_high_bit_depth, naming, open_image, raw_values, to_rgb
from ivreid.io.value_range import REFUSE, ValueRange, span


@dataclass(frozen=True, slots=True)
class ImageInspection:
    """What was found.

    Attributes:
        fault: Why the picture cannot be used; empty where it can.
        no_image: Whether the file is no picture of a kind that is read.
        kind: The kind its content has, where its suffix says another; else empty.
        value_range: Smallest and largest value of grey of more than eight bits, None for other pictures.
        transparent: Whether pixels may be transparent.
        colour_16: Whether it is colour of 16 bits.
    """

    fault: str = ""
    no_image: bool = False
    kind: str = ""
    value_range: tuple[float, float] | None = None
    transparent: bool = False
    colour_16: bool = False


def inspect_image(path: Path, *, decode: bool = False, value_range: ValueRange = REFUSE) -> ImageInspection:
    """Examine a picture.

    Args:
        path: The file.
        decode: Decode it in any case. Else it is decoded where its structure does not tell whether it is whole,
            and where it holds more than eight bits, whose values are wanted.
        value_range: The rule for grey of more than eight bits; under "refuse" such a picture has no fault, the
            `value_range` of what is returned says what it is.
    """
    try:
        with naming(path):
            found = open_image(path, verify=not decode)
            image, values = found.image, None
            if has_high_bit_depth(image):
                values = span(raw_values(image))
                if value_range != REFUSE:
                    to_rgb(image, value_range)
            elif decode or not found.whole:
                to_rgb(image)
    except ImageError as error:
        return ImageInspection(str(error).removeprefix(f"{path}: "), no_image=not _readable(path))
    transparent = image.has_transparency_data
    return ImageInspection(
        kind="" if _fits(path, found.kind) else found.kind,
        value_range=values,
        transparent=transparent,
        colour_16=found.colour_16,
    )


def _readable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return kind_of(file.read(START)) in readable_kinds(path)
    except OSError:
        return False


def _fits(path: Path, kind: str) -> bool:
    suffixes = {"JPEG": (".jpg", ".jpeg"), "TIFF": (".tif", ".tiff")}
    return path.suffix.lower() in suffixes.get(kind, (f".{kind.lower()}",))
