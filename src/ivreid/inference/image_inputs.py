"""Images as callers have them: files and their bytes, folders, Pillow images, arrays and tensors, one or a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ivreid.data import decode, resize
from ivreid.data.pixels import Filter, Pixels
from ivreid.datasets.found_pictures import find_pictures
from ivreid.errors import ImageError, UsageError
from ivreid.io import REFUSE, ValueRange, read_image_bytes, to_grey, to_rgb

ImageLike = str | Path | bytes | Image.Image | NDArray[Any] | torch.Tensor
"""A file, the bytes of one, a Pillow image, or an array or tensor with its pixels, see `GivenImages`."""
Colour = Literal["rgb", "bgr"]
"""The order of an array's channels; OpenCV's is bgr."""

_SHAPES = "(height, width, 3), (3, height, width) or (height, width)"


def one_by_one(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """The images of a call: one, several, those of a batch (four dimensions), or of a folder, sorted by path.

    Raises:
        UsageError: Something that holds no images.
        DataError: A folder without images, or one that cannot be read.
    """
    if isinstance(images, str | Path) and Path(images).is_dir():
        return [Path(images, file) for file in find_pictures(images).files]
    if isinstance(images, bytearray | memoryview):
        images = bytes(images)
    if isinstance(images, str | Path | bytes | Image.Image):
        return [images]
    if not isinstance(images, torch.Tensor | np.ndarray) and hasattr(images, "__array__"):
        images = np.asarray(images)
    if isinstance(images, torch.Tensor | np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise UsageError(
            f"images are given as {type(images).__name__}; give files, their bytes, a folder, "
            "Pillow images, arrays or tensors, one or many"
        )
    return list(images)


class GivenImages:
    """Given images as a source of pixels.

    Arrays and tensors, on any device: (height, width, 3) or (3, height, width), with one channel in place of
    three or a fourth that is opacity, or (height, width). Values are uint8, or, where there is a channel dimension, floats from 0 (black) to
    1 (white). Other values of shape (height, width) are grey of more than eight bits and follow the rule
    `value_range`.

    Args:
        images: One each.
        size: Height and width to resize to.
        value_range: How grey of more than eight bits becomes 256 greys.
        by: The filter to resize by.
        colour: The order of the channels of arrays and tensors; files and Pillow images know theirs.

    Raises:
        UsageError: An unknown order.
    """

    def __init__(
        self,
        images: Sequence[ImageLike],
        size: tuple[int, int],
        value_range: ValueRange = REFUSE,
        by: Filter = "bilinear",
        colour: Colour = "rgb",
    ) -> None:
        if colour not in get_args(Colour):
            raise UsageError(f"color {colour!r} is unknown; it is rgb, or bgr as OpenCV has it")
        self._colour = colour
        self._images, self._size, self._value_range, self._by = images, size, value_range, by

    def __len__(self) -> int:
        return len(self._images)

    def read(self, row: int) -> Pixels:
        """Pixels of one image, resized.

        Raises:
            ImageError: It cannot be used; the message names the file, or the image's number.
        """
        image = self._images[row]
        if isinstance(image, str | Path):
            return decode(image, self._size, self._value_range, self._by)
        try:
            if isinstance(image, bytes):
                return resize(read_image_bytes(image, self._value_range), self._size, self._by)
            if not isinstance(image, Image.Image):
                image = _picture(_array(image), self._value_range, self._colour)
            return resize(to_rgb(image, self._value_range), self._size, self._by)
        except ImageError as error:
            raise ImageError(f"image {row}: {error}") from error


def _array(image: Any) -> NDArray[Any]:
    if not isinstance(image, torch.Tensor):
        try:
            return np.asarray(image)
        except (TypeError, ValueError) as error:
            raise ImageError(f"no file, Pillow image, array or tensor but {type(image).__name__}") from error
    if image.is_meta or image.is_quantized or image.layout != torch.strided or image.is_complex():
        raise ImageError(
            f"a tensor of {image.dtype} without plain values; it must be uint8 of shape {_SHAPES}"
        )
    image = image.detach().cpu()
    return np.asarray((image.float() if image.is_floating_point() else image).numpy())


def _picture(array: NDArray[Any], value_range: ValueRange, colour: Colour) -> Image.Image:
    channels_last = _layout(array)
    if channels_last is None:
        if array.dtype == np.uint8:
            return Image.fromarray(array)
        if value_range == REFUSE or array.dtype.kind not in "iuf":
            raise _wrong(array)
        return Image.fromarray(to_grey(array, value_range))
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise ImageError(
                f"floats from {low:g} to {high:g}; they must lie from 0 (black) to 1 (white), or be uint8: what is "
                "normalised already cannot be normalised again"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise _wrong(array)
    array = array if channels_last else np.moveaxis(array, 0, 2)
    if array.shape[2] == 1:
        return Image.fromarray(np.ascontiguousarray(array[:, :, 0]))
    if colour == "bgr":
        array = array[:, :, [2, 1, 0, 3][: array.shape[2]]]
    return Image.fromarray(np.ascontiguousarray(array))


def _layout(array: NDArray[Any]) -> bool | None:
    """Whether the last dimension is that of the channels; None where there is none."""
    if array.ndim == 2 and array.size:
        return None
    if array.ndim == 3 and array.size:
        last, first = array.shape[2], array.shape[0]
        for channels in (3, 4, 1):
            if last == channels and first != channels:
                return True
            if first == channels and last != channels:
                return False
            if first == last == channels:
                raise ImageError(f"shape {array.shape} can be read in two ways; give a Pillow image")
    raise _wrong(array)


def _wrong(array: NDArray[Any]) -> ImageError:
    return ImageError(
        f"values of {array.dtype} and shape {array.shape}; it must be uint8 of shape {_SHAPES}; batches have one "
        "dimension more, before these three"
    )
