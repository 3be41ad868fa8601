"""Changes of colour, on uint8 pixels in place; what is random comes in as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ivreid.data.pixels import Pixels


def luminance(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """ITU-R BT.601 luma, written out so that no BLAS may reorder the sum: (..., 3) -> (...)."""
    return mixture(x, (0.299, 0.587, 0.114))


def mixture(x: NDArray[np.float32], weights: tuple[float, ...]) -> NDArray[np.float32]:
    """Weighted sum of the channels: (..., 3) -> (...)."""
    a, b, c = np.array(weights, dtype=np.float32)
    mixed: NDArray[np.float32] = x[..., 0] * a + x[..., 1] * b + x[..., 2] * c
    return mixed


def rounded(values: NDArray[np.float32]) -> Pixels:
    """The nearest pixel values."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


def jitter(region: Pixels, brightness: float, contrast: float, saturation: float, hue: float) -> None:
    """Multiply brightness, distance from the mean luminance and from each pixel's luminance; turn the hue.

    Args:
        region: (H, W, 3), changed.
        brightness: Factor, as the next two.
        contrast: See above.
        saturation: See above.
        hue: Share of the circle.
    """
    x = region.astype(np.float32) * np.float32(brightness)
    mean = luminance(x).mean(dtype=np.float64).astype(np.float32)
    x = mean + np.float32(contrast) * (x - mean)
    luma = luminance(x)[..., None]
    region[...] = rounded(luma + np.float32(saturation) * (x - luma))
    if hue:
        hsv = np.array(Image.fromarray(np.ascontiguousarray(region)).convert("HSV"))
        hsv[..., 0] += np.uint8(round(256 * hue) % 256)  # the circle has 256 steps
        region[...] = np.asarray(Image.frombytes("HSV", hsv.shape[1::-1], hsv.tobytes()).convert("RGB"))


def grey(region: Pixels) -> None:
    """The luminance in all channels."""
    region[...] = rounded(luminance(region.astype(np.float32)))[..., None]


def one_channel(region: Pixels, channel: int) -> None:
    """One channel in all three."""
    region[...] = region[..., channel, None].copy()


def weighted_grey(region: Pixels, weights: NDArray[np.float64]) -> None:
    """A mixture of the channels in all three, cut to whole numbers; weights (3,) of any positive sum."""
    shares = weights / weights.sum() if weights.sum() > 0 else np.full(3, 1 / 3)
    # the shares may add to a hair less than 1, which must not darken a grey image by a level
    mixed = mixture(region.astype(np.float32), tuple(shares.tolist())) + np.float32(1e-3)
    region[...] = mixed.astype(np.uint8)[..., None]


def channel_cutmix(region: Pixels, channel: int, other: int, box: tuple[slice, slice] | None) -> None:
    """One channel in all three, with a rectangle of another; no change where no rectangle fits."""
    if box is None:
        return
    mixed = region[..., channel].copy()
    mixed[box] = region[..., other][box]
    region[...] = mixed[..., None]


def tone(region: Pixels, gamma: float, contrast: float, brightness: float) -> None:
    """A tone curve, as another sensor or exposure would have: v -> 1/2 + contrast (v^gamma - 1/2) + brightness.

    Args:
        region: (H, W, 3), changed; v is 1 for white.
        gamma: Exponent.
        contrast: Factor.
        brightness: Added, as a share of white.
    """
    curve = 0.5 + contrast * ((np.arange(256) / 255) ** gamma - 0.5) + brightness
    region[...] = rounded((255 * curve).astype(np.float32))[region]


def spectrum_jitter(region: Pixels, channel: int, share: float) -> None:
    """The image by `share`, one of its channels for the rest."""
    x = region.astype(np.float32)
    region[...] = rounded(np.float32(share) * x + np.float32(1 - share) * x[..., channel, None])


def blur(region: Pixels, side: int, sigma: float) -> None:
    """Gaussian filter of side x side pixels; the image is mirrored beyond its edge."""
    places = np.arange(side) - (side - 1) / 2
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    weights /= weights.sum()
    x = region.astype(np.float32)
    for axis in (0, 1):
        x = ndimage.correlate1d(x, weights, axis=axis, mode="mirror")
    region[...] = rounded(x)
