"""Image decoding with limits: a file becomes RGB pixels, upright, on black, by a stated rule, or one clear error."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops

from ivreid.errors import ImageError
from ivreid.io.image_formats import START, kind_of, readable_kinds
from ivreid.io.jpeg import closed
from ivreid.io.png import is_intact, pixels_only
from ivreid.io.value_range import REFUSE, ValueRange, span, to_grey

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 64_000_000
"""Images larger than this many pixels are refused: pedestrian crops are thousands of times smaller."""
MAX_FILE_BYTES = 256 * 1024 * 1024
BACKGROUND = (0, 0, 0)
"""What stands behind transparent pixels, whatever colour they hide."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0


def read_image(path: Path | str, value_range: ValueRange = REFUSE) -> Image.Image:
    """Decode one image as RGB (a grey image becomes three equal channels), as `to_rgb` says.

    Args:
        path: A JPEG, PNG or BMP file, or one that is named .webp or .tif and is such.
        value_range: How values of more than eight bits become grey.

    Raises:
        ImageError: Missing, empty, truncated, too large, not an image, or of more than eight bits without a
            rule; the message names the file.
    """
    path = Path(path)
    with naming(path):
        return to_rgb(open_image(path).image, value_range)


def read_image_bytes(
    data: bytes, value_range: ValueRange = REFUSE, *, kinds: tuple[str, ...] | None = None
) -> Image.Image:
    """Decode an image file's content, as `read_image` does the file itself.

    Args:
        data: The content.
        value_range: How values of more than eight bits become grey.
        kinds: Those that may be read (JPEG, PNG, BMP, WebP, TIFF); by default those of a file without a suffix.

    Raises:
        ImageError: As `read_image`; the message names no file.
    """
    try:
        return to_rgb(_opened(data, kinds or readable_kinds(Path())).image, value_range)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many kinds on hostile bytes
        raise ImageError(f"not a readable image ({error})") from error


def size_in_header(data: bytes, kinds: tuple[str, ...]) -> tuple[int, int]:
    """Width and height as an image file's header says them; no pixel is decoded.

    Args:
        data: The file's content.
        kinds: Those that may be read.

    Raises:
        ImageError: Empty, of another kind, or a damaged header; the message names no file.
    """
    _check_size(len(data))
    kind = kind_of(data[:START])
    if kind not in kinds:
        raise ImageError(f"not a {', '.join(kinds[:-1])} or {kinds[-1]} image")
    try:
        return _class(kind)(io.BytesIO(data)).size
    except Exception as error:  # Pillow raises many kinds on hostile bytes
        raise ImageError(f"not a readable image ({error})") from error


def value_range_of(path: Path | str) -> tuple[float, float] | None:
    """Smallest and largest value of a picture of more than eight bits; None for one of eight bits, which is not decoded.

    Raises:
        ImageError: As `read_image`, but for the missing rule.
    """
    path = Path(path)
    with naming(path):
        image = open_image(path).image
        return span(raw_values(image)) if has_high_bit_depth(image) else None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever reading an image raises into one error that names the file."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except Exception as error:  # Pillow raises many kinds on hostile bytes
        raise ImageError(f"{path}: not a readable image ({error})") from error


@dataclass(frozen=True)
class OpenedImage:
    """An image whose structure, kind and size are in order.

    Attributes:
        image: Its pixels are decoded when they are used.
        kind: JPEG, PNG, BMP, WebP or TIFF.
        whole: Whether its structure says that nothing is missing or changed; else decoding it tells.
        colour_16: Whether it holds colour of 16 bits, of which the upper eight count.
    """

    image: ImageFile
    kind: str
    whole: bool
    colour_16: bool


def open_image(path: Path, *, verify: bool = False) -> OpenedImage:
    """Open an image without decoding it.

    Args:
        path: The file.
        verify: Look for damage that decoding would find; else `OpenedImage.whole` says nothing.

    Raises:
        ImageError: It cannot be used; the message does not name the file.
        Exception: Whatever else Pillow raises.
    """
    _check_size(path.stat().st_size)
    return _opened(path.read_bytes(), readable_kinds(path), verify=verify)


def _check_size(size: int) -> None:
    if size == 0:
        raise ImageError("the file is empty")
    if size > MAX_FILE_BYTES:
        raise ImageError(f"{size:,} bytes is more than an image of a person can be")


def _opened(data: bytes, kinds: tuple[str, ...], *, verify: bool = False) -> OpenedImage:
    _check_size(len(data))
    kind = kind_of(data[:START])
    if kind not in kinds:
        raise ImageError(f"not a readable {', '.join(kinds[:-1])} or {kinds[-1]} image{_named(kind)}")
    if kind == "PNG":
        data = pixels_only(data)
    elif kind == "JPEG":
        data = closed(data, lambda whole: _checked(whole, "JPEG").tobytes())
    whole = kind == "JPEG" or (kind == "PNG" and verify and is_intact(data))
    colour_16 = kind == "PNG" and data[24:26] in (b"\x10\x02", b"\x10\x06")
    return OpenedImage(_checked(data, kind), kind, whole, colour_16)


def _named(kind: str) -> str:
    if kind in ("WebP", "TIFF"):
        return f": it is {kind}; rename it, or convert it"
    if kind == "Git LFS pointer":
        return ": it is a Git LFS pointer; `git lfs pull` fetches the image"
    return f": it is {kind}" if kind else ""


def _checked(data: bytes, kind: str) -> ImageFile:
    image = _class(kind)(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{image.width}x{image.height} is over the limit of {MAX_PIXELS:,} pixels")
    if getattr(image, "is_animated", False):
        raise ImageError("several pictures in one file; save each as a file of its own")
    return image


def _class(kind: str) -> type[ImageFile]:
    """Pillow's reader of one kind, without the guessing of `Image.open` (and its warnings)."""
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    return {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
    }[kind]


def has_high_bit_depth(image: Image.Image) -> bool:
    """Whether an image holds grey values of more than eight bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def raw_values(image: Image.Image) -> np.ndarray:
    """The values of an image of more than eight bits, (H, W).

    Raises:
        ImageError: Values that do not stand for brightness as they are.
    """
    if image.has_transparency_data:
        raise ImageError(
            "grey of more than eight bits with a transparent value is not read; save it without transparency"
        )
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise ImageError(
            "a TIFF of more than eight bits whose zero is white is not read; save it with black as zero"
        )
    return np.asarray(image)


def to_rgb(image: Image.Image, value_range: ValueRange = REFUSE) -> Image.Image:
    """The image as one sees it: turned upright as its EXIF says, on `BACKGROUND` where it is transparent.

    Of 16-bit colour the upper eight bits count; grey of more than eight bits follows the rule `value_range`.

    Raises:
        ImageError: An image of more than eight bits without a rule, or one that has nothing to see.
    """
    image.load()
    turn = _turn(image)
    if has_high_bit_depth(image):
        rgb = Image.fromarray(to_grey(raw_values(image), value_range)).convert("RGB")
    elif image.has_transparency_data:
        rgb = _on_background(image)
    else:
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # not to hold large pixels twice
    return rgb if turn is None else rgb.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    with suppress(Exception):  # damage beside the pixels does not stop reading them
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return None


def _on_background(image: Image.Image) -> Image.Image:
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (0, 0):
        if image.format == "BMP":  # many programs leave the fourth byte 0 and mean nothing by it
            return rgba.convert("RGB")
        raise ImageError("every pixel is transparent, nothing can be seen; save it without transparency")
    rgb = rgba.convert("RGB")
    rgb.paste(BACKGROUND, mask=ImageChops.invert(alpha))
    return rgb
