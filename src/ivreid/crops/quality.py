"""How good a crop is to recognise somebody by: 0 (useless) to 1, a product of five parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ivreid.crops.boxes import Box

FULL_SIZE = (128, 64)
"""Height and width from which on more pixels say no more."""
UPRIGHT = (1.5, 4.0)
"""Height over width of a standing person's box."""
SHARP = 0.05
"""Ratio of the Laplacian's variance to the picture's at which sharpness is one half."""
TOUCHES = 0.8
BEHIND = 0.5
"""A person in front hides; one behind only confuses."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The parts, each from 0 to 1.

    Attributes:
        area: Square root of the pixels, against 128 x 64.
        aspect: 1 where the box is as high and narrow as a standing person.
        inside: Square of the share of the box within the frame, and 0.8 of it where the box touches the border.
        sharpness: From the variance of the Laplacian against that of the picture, so contrast does not count.
        free: 1 minus the share that the box of one other person covers; of one behind, half of it.
    """

    area: float
    aspect: float
    inside: float
    sharpness: float
    free: float

    @property
    def score(self) -> float:
        """The product."""
        return self.area * self.aspect * self.inside * self.sharpness * self.free


def judge(crop: Image.Image, box: Box, size: tuple[int, int], others: Sequence[Box] = ()) -> Quality:
    """Judge one crop.

    Args:
        crop: The pixels within the box.
        box: The box as it was given.
        size: Width and height of the frame.
        others: The other boxes of the frame.
    """
    height, width = FULL_SIZE
    seen_width = max(0.0, min(box.right, size[0]) - max(box.left, 0.0))
    seen_height = max(0.0, min(box.bottom, size[1]) - max(box.top, 0.0))
    ratio, (low, high) = box.height / box.width, UPRIGHT
    off = max(low / ratio, ratio / high, 1.0)
    share = seen_width * seen_height / (box.width * box.height)
    touches = box.left <= 0 or box.top <= 0 or box.right >= size[0] or box.bottom >= size[1]
    return Quality(
        area=min(1.0, math.sqrt(seen_width * seen_height / (height * width))),
        aspect=1 / off**2,
        inside=share**2 * (TOUCHES if touches else 1.0),
        sharpness=_sharpness(crop),
        free=1 - max((_covered(box, other) for other in others), default=0.0),
    )


def _covered(box: Box, other: Box) -> float:
    width = min(box.right, other.right) - max(box.left, other.left)
    height = min(box.bottom, other.bottom) - max(box.top, other.top)
    share = max(0.0, width) * max(0.0, height) / (box.width * box.height)
    return share if other.bottom >= box.bottom else BEHIND * share


def _sharpness(crop: Image.Image) -> float:
    height, width = FULL_SIZE
    grey = np.asarray(crop.convert("L").resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    variance = float(grey.var())
    if variance < 1:  # one grey: nothing to see
        return 0.0
    ratio = float(laplacian.var()) / variance
    return ratio / (ratio + SHARP)
