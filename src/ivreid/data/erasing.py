"""Random rectangles, and what they are filled with."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from ivreid.data import counter_rng as rng
from ivreid.data.pixels import Pixels
from ivreid.data.settings import IMAGENET_MEAN, IMAGENET_STD

Box = tuple[slice, slice]
Law = Literal["uniform", "log"]

TRIES: dict[Law, int] = {"uniform": 20, "log": 10}
"""The published "uniform" tries 100 times; with a chance of 1/3 or less that a try fails, 20 end without a rectangle
once in 3 * 10^9 images."""
LOG_ASPECT = (0.3, 3.3)
_LEVELS = 1 << 16


def rectangle(
    key: rng.Keys, size: tuple[int, int], law: Law, area: tuple[float, float], aspect: float = 0.3
) -> Box | None:
    """The first random rectangle that fits, or None.

    Args:
        key: (1,), decides it.
        size: Height and width of the image.
        law: "uniform": shapes as in Zhong et al., Algorithm 1; "log": log-uniform ratios, fewer tries.
        area: Smallest and largest share of the image.
        aspect: Smallest height/width ratio of "uniform"; the largest is its inverse.
    """
    (height, width), (low, high), tries = size, area, TRIES[law]
    u = rng.uniforms(key, 2 * tries + 2)[0]
    shares, shapes = u[:-2].reshape(tries, 2).T
    areas = height * width * (low + (high - low) * shares)
    if law == "uniform":
        ratios = aspect + (1 / aspect - aspect) * shapes
    else:
        start, end = np.log(LOG_ASPECT)
        ratios = np.exp(start + (end - start) * shapes)
    h, w = np.rint(np.sqrt(areas * ratios)).astype(int), np.rint(np.sqrt(areas / ratios)).astype(int)
    fits = np.flatnonzero((h < height) & (w < width))
    if not len(fits):
        return None
    h, w = h[fits[0]], w[fits[0]]
    top, left = int(u[-2] * (height - h + 1)), int(u[-1] * (width - w + 1))
    return slice(top, top + h), slice(left, left + w)


def colour_of(normalised: tuple[float, ...]) -> tuple[int, ...]:
    """The pixel that ImageNet's normalisation maps to a colour, within half a grey level and 0..255."""
    levels = (
        round(255 * (m + s * v)) for m, s, v in zip(IMAGENET_MEAN, IMAGENET_STD, normalised, strict=True)
    )
    return tuple(min(max(level, 0), 255) for level in levels)


def noise(key: rng.Keys, shape: tuple[int, int]) -> Pixels:
    """Pixels that are standard normal after ImageNet's normalisation, cut to 0..255: (h, w, 3)."""
    count = shape[0] * shape[1] * 3
    words = rng.bits(key, -(-count // 4))[0].astype("<u8")  # four levels in each
    levels = words.view("<u2")[:count].reshape(*shape, 3)
    drawn: Pixels = _normal_pixels()[levels, np.arange(3)]
    return drawn


@cache
def _normal_pixels() -> Pixels:
    """Pixel values at evenly spaced quantiles of the normal distribution: (65536, 3)."""
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS)[:, None]
    values = 255 * (np.array(IMAGENET_MEAN) + np.array(IMAGENET_STD) * quantiles)
    pixels: Pixels = np.rint(values).clip(0, 255).astype(np.uint8)
    return pixels
