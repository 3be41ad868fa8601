"""Random changes to training images, each decided by (seed, epoch, sample, occurrence) alone.

Everything works on uint8 pixels before normalisation. Padding is black, as in the published pipeline.
Colour changes concern visible images only and leave the padding black. Erased rectangles of `erasing` take
ImageNet's mean colour, which normalisation maps to zero within half a grey level; those of `channel_erasing`
take the colour that normalisation maps to (0.4914, 0.4822, 0.4465), the constants of Ye et al.'s code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ivreid.data import counter_rng as rng
from ivreid.data.images import Pixels
from ivreid.data.settings import IMAGENET_MEAN, IMAGENET_STD, AugmentSettings
from ivreid.types import BoolArray, IntArray

MEAN_COLOUR = tuple(round(255 * m) for m in IMAGENET_MEAN)
CHANNEL_COLOUR = tuple(
    round(255 * (m + s * v))
    for m, s, v in zip(IMAGENET_MEAN, IMAGENET_STD, (0.4914, 0.4822, 0.4465), strict=True)
)
(
    _FLIP,
    _ROW,
    _COLUMN,
    _JITTER,
    _BRIGHTNESS,
    _CONTRAST,
    _SATURATION,
    _GREY,
    _EXCHANGE,
    _CHANNEL,
    _ERASE,
    _CHANNEL_ERASE,
) = range(12)
_RECTANGLE_TRIES = 20
ERASE, CHANNEL_ERASE, VIEWS = 1, 2, 3  # what keys are derived for

Draws = NDArray[np.float64]


class Augmenter:
    """Applies `AugmentSettings` to images; stateless, so it may run in any thread in any order.

    Args:
        settings: What to do and how often.
        seed: The run's seed.
    """

    def __init__(self, settings: AugmentSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed

    def draws(
        self, epoch: int, indices: IntArray, occurrences: IntArray, views: NDArray[np.int8] | None = None
    ) -> tuple[rng.Keys, Draws]:
        """The keys (B,) and uniform numbers (B, 12) that decide what changes in these samples.

        A view's key is derived from its image's, so that view 0 is changed as where there is no other.
        """
        key = rng.keys(self.seed, epoch, indices, occurrences)
        if views is not None and views.any():
            key = np.where(views == 0, key, rng.keys(key.view(np.int64), VIEWS, views))
        return key, rng.uniforms(key, 12)

    def apply(self, pixels: Pixels, out: Pixels, infrared: bool, key: rng.Keys, draw: Draws) -> None:
        """Write one changed image.

        Args:
            pixels: (H, W, 3) the image as decoded; not changed.
            out: (H, W, 3) filled with zeros; receives the result.
            infrared: Whether colour changes pass it by.
            key: (1,) the image's key.
            draw: (12,) the image's uniform numbers.
        """
        s = self.settings
        region = self._flip_and_crop(pixels, out, draw)
        if not infrared:
            if draw[_JITTER] < s.jitter:
                self._jitter(region, draw)
            if draw[_GREY] < s.grey:
                region[...] = _rounded(_luminance(region.astype(np.float32)))[..., None]
            if draw[_EXCHANGE] < s.channel_exchange:
                region[...] = region[..., int(3 * draw[_CHANNEL]), None].copy()
        if draw[_ERASE] < s.erasing:
            self._erase(out, rng.keys(key.view(np.int64), ERASE), MEAN_COLOUR)
        if draw[_CHANNEL_ERASE] < s.channel_erasing:
            self._erase(out, rng.keys(key.view(np.int64), CHANNEL_ERASE), CHANNEL_COLOUR)

    def _flip_and_crop(self, pixels: Pixels, out: Pixels, draw: Draws) -> Pixels:
        """Flip, pad, crop back; returns the part of `out` that shows the image rather than padding."""
        pad, (height, width) = self.settings.padding, pixels.shape[:2]
        down, right = (int((2 * pad + 1) * draw[i]) - pad for i in (_ROW, _COLUMN))
        rows, columns = (
            slice(max(down, 0), height + min(down, 0)),
            slice(max(right, 0), width + min(right, 0)),
        )
        region = out[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
        if draw[_FLIP] < self.settings.flip:
            # three bytes moved as one item: twice as fast as reversing an axis of single bytes
            whole = np.ascontiguousarray(pixels).view("V3")[..., 0][:, ::-1]
            out.view("V3")[..., 0][
                max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
            ] = whole[rows, columns]
        else:
            region[...] = pixels[rows, columns]
        return region

    def _jitter(self, region: Pixels, draw: Draws) -> None:
        s = self.settings
        brightness, contrast, saturation = (
            np.float32(1 + amount * (2 * draw[i] - 1))
            for amount, i in (
                (s.brightness, _BRIGHTNESS),
                (s.contrast, _CONTRAST),
                (s.saturation, _SATURATION),
            )
        )
        x = region.astype(np.float32) * brightness
        mean = _luminance(x).mean(dtype=np.float64).astype(np.float32)
        x = mean + contrast * (x - mean)
        luminance = _luminance(x)[..., None]
        region[...] = _rounded(luminance + saturation * (x - luminance))

    def _erase(self, out: Pixels, key: rng.Keys, colour: tuple[int, ...]) -> None:
        """Fill the first random rectangle that fits; shapes as in Zhong et al., Algorithm 1."""
        (low, high), aspect = self.settings.erasing_area, self.settings.erasing_aspect
        height, width = out.shape[:2]
        u = rng.uniforms(key, 2 * _RECTANGLE_TRIES + 2)[0]
        areas = height * width * (low + (high - low) * u[0:-2:2])
        ratios = aspect + (1 / aspect - aspect) * u[1:-2:2]
        h, w = np.rint(np.sqrt(areas * ratios)).astype(int), np.rint(np.sqrt(areas / ratios)).astype(int)
        fits = np.flatnonzero((h < height) & (w < width))
        if len(fits):
            h, w = h[fits[0]], w[fits[0]]
            top, left = int(u[-2] * (height - h + 1)), int(u[-1] * (width - w + 1))
            out[top : top + h, left : left + w] = colour

    def batch(
        self,
        read: list[Pixels],
        epoch: int,
        indices: IntArray,
        occurrences: IntArray,
        infrared: BoolArray,
        views: NDArray[np.int8] | None = None,
    ) -> Pixels:
        """Change the images of one batch: list of (H, W, 3) -> (B, H, W, 3); without `views` each is view 0."""
        keys, draws = self.draws(epoch, indices, occurrences, views)
        out = np.zeros((len(read), *read[0].shape), dtype=np.uint8)
        for row, pixels in enumerate(read):
            self.apply(pixels, out[row], bool(infrared[row]), keys[row : row + 1], draws[row])
        return out


def _luminance(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """ITU-R BT.601 luma, written out so that no BLAS may reorder the sum: (..., 3) -> (...)."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    luma: NDArray[np.float32] = x[..., 0] * weights[0] + x[..., 1] * weights[1] + x[..., 2] * weights[2]
    return luma


def _rounded(values: NDArray[np.float32]) -> Pixels:
    return np.rint(values).clip(0, 255).astype(np.uint8)
