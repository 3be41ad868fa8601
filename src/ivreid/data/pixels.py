"""From a file to pixels, and from pixels to the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ivreid.io import REFUSE, ValueRange, read_image

Pixels = NDArray[np.uint8]
"""Images as uint8 of shape (..., height, width, 3)."""


Filter = Literal["bilinear", "bicubic", "lanczos"]
"""How images are resized; all of Pillow's antialias."""
_FILTERS: dict[Filter, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resize(image: Image.Image, size: tuple[int, int], by: Filter = "bilinear") -> Pixels:
    """Resize to (height, width) as RGB by one of Pillow's antialiased filters: (H, W, 3) uint8."""
    height, width = size
    return np.asarray(image.convert("RGB").resize((width, height), _FILTERS[by]))


def decode(
    path: Path | str, size: tuple[int, int], value_range: ValueRange = REFUSE, by: Filter = "bilinear"
) -> Pixels:
    """Decode a file and resize it: (H, W, 3) uint8.

    Args:
        path: The file.
        size: Height and width.
        value_range: How grey of more than eight bits becomes 256 greys.
        by: The filter it is resized by.

    Raises:
        ImageError: The file is no readable image; the message names it.
    """
    return resize(read_image(path, value_range), size, by)


LUMA_CODE = 4
"""The code of `exchange_channels` for the luma; 0 leaves a row as it is, 1 to 3 are R, G and B."""


def exchange_channels(inputs: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Replace all channels of some rows of the network's input by one of them, or by their luma.

    After normalisation equal channels mean another colour than a grey image has; this is what the published
    code of Ye et al. (ICCV 2021) does.

    Shape:
        inputs (B, 3, H, W) float, codes (B,) int8 -> (B, 3, H, W).
    """
    table = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.2989, 0.5870, 0.1140]]
    weights = _constant(table, inputs.device, inputs.dtype)[codes.long()]
    one = (inputs * weights[:, :, None, None]).sum(1, keepdim=True)
    return torch.where((codes == 0)[:, None, None, None], inputs, one)


def _constant(
    values: Sequence[Any], device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Numbers on a device, without waiting for what the device has to do before."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """View (B, H, W, 3) pixels as a uint8 tensor (B, 3, H, W) without a copy: channels-last memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def normalise(
    images: torch.Tensor, mean: Sequence[float], std: Sequence[float], channels_last: bool = True
) -> torch.Tensor:
    """Turn uint8 images into the network's float32 input, on the images' device: (x / 255 - mean) / std.

    Args:
        images: (B, 3, H, W) uint8.
        mean: Per channel, on the scale where white is 1.
        std: Per channel, likewise.
        channels_last: Memory format of the result.
    """
    shift, scale = _constant(mean, images.device), _constant(std, images.device)
    if not channels_last:
        out = images.to(torch.float32, memory_format=torch.contiguous_format, copy=True).div_(255.0)
        return out.sub_(shift.view(3, 1, 1)).div_(scale.view(3, 1, 1))
    count, _, height, width = images.shape
    # whole rows at a time: broadcasting along an innermost dimension of three is much slower
    rows = images.permute(0, 2, 3, 1).contiguous().view(count, height, width * 3).to(torch.float32)
    rows.div_(255.0).sub_(shift.repeat(width)).div_(scale.repeat(width))
    return rows.view(count, height, width, 3).permute(0, 3, 1, 2)
