"""Random changes to training images, each decided by (seed, epoch, sample, occurrence, view) alone.

Everything works on uint8 pixels before normalisation, but for channel operations that are asked for after it:
those leave a code per row, which `exchange_channels` applies to the network's input. Colour changes leave the
padding as it is. Erased rectangles take ImageNet's mean colour unless another is asked for, which
normalisation maps to zero within half a grey level; those of `channel_erasing` take the colour that it maps
to (0.4914, 0.4822, 0.4465), the constants of Ye et al.'s code.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivreid.data import colour
from ivreid.data import counter_rng as rng
from ivreid.data.erasing import colour_of, noise, rectangle
from ivreid.data.own_changes import apply_own
from ivreid.data.pixels import LUMA_CODE, Pixels
from ivreid.data.planning import Int8Array
from ivreid.data.settings import AugmentSettings, ViewSettings
from ivreid.types import BoolArray, IntArray

MEAN_COLOUR = colour_of((0.0, 0.0, 0.0))
CHANNEL_COLOUR = colour_of((0.4914, 0.4822, 0.4465))
DRAWS = 28
# A number's place is part of every run, so a new one goes to the end.
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
    _HUE,
    _CHOICE,
    _WEIGHTED,
    _WEIGHT_R,
    _WEIGHT_G,
    _WEIGHT_B,
    _CUTMIX,
    _CUTMIX_PAIR,
    _SPECTRUM,
    _SPECTRUM_CHANNEL,
    _SPECTRUM_SHARE,
    _SIGMA,
    _TONE,
    _TONE_GAMMA,
    _TONE_CONTRAST,
    _TONE_BRIGHTNESS,
) = range(DRAWS)
_PAIRS = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
_ERASE_KEY, _CHANNEL_ERASE_KEY, _VIEW_KEY, _CUTMIX_KEY, _NOISE_KEY = range(1, 6)
_CUTMIX_AREA = (0.02, 0.33)

Draws = NDArray[np.float64]


class Augmented(NamedTuple):
    """A batch of changed images.

    Attributes:
        pixels: (B, H, W, 3).
        channels: (B,) int8 codes for `exchange_channels`, or None where nothing is left to be done.
    """

    pixels: Pixels
    channels: Int8Array | None


class Augmenter:
    """Applies `AugmentSettings` to images; stateless, so it may run in any thread in any order.

    Args:
        settings: What to do and how often.
        seed: The run's seed.
    """

    def __init__(self, settings: AugmentSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self._visible, self._second, self._infrared = (
            settings.kind(kind) for kind in ("visible", "second", "infrared")
        )
        stages = {kind.channel_stage for kind in (self._visible, self._second, self._infrared)}
        self._codes = "normalized" in stages

    @property
    def padding(self) -> int:
        """The most that any image is padded by."""
        return max(kind.padding for kind in (self._visible, self._second, self._infrared))

    def draws(
        self, epoch: int, indices: IntArray, occurrences: IntArray, views: Int8Array | None = None
    ) -> tuple[rng.Keys, Draws]:
        """The keys (B,) and uniform numbers (B, DRAWS) that decide what changes in these samples.

        A view's key is derived from its image's, so that view 0 is changed as where there is no other.
        """
        key = rng.keys(self.seed, epoch, indices, occurrences)
        if views is not None and views.any():
            key = np.where(views == 0, key, rng.keys(key.view(np.int64), _VIEW_KEY, views))
        return key, rng.uniforms(key, DRAWS)

    def batch(
        self,
        read: list[Pixels],
        epoch: int,
        indices: IntArray,
        occurrences: IntArray,
        infrared: BoolArray,
        views: Int8Array | None = None,
    ) -> Augmented:
        """Change the images of one batch: list of B (H, W, 3); without `views` each is view 0."""
        keys, draws = self.draws(epoch, indices, occurrences, views)
        out = np.zeros((len(read), *read[0].shape), dtype=np.uint8)
        codes = np.zeros(len(read), dtype=np.int8)
        again = np.zeros(len(read), dtype=np.bool_) if views is None else views > 0
        for row, pixels in enumerate(read):
            kind = self._infrared if infrared[row] else self._second if again[row] else self._visible
            all_grey = not infrared[row] and epoch < self.settings.grey_epochs
            image = _Image(kind, out[row], keys[row, None], draws[row], bool(infrared[row]))
            codes[row] = image.change(pixels, all_grey)
        return Augmented(out, codes if self._codes else None)


class _Image:
    """One image being changed: its settings, where it goes, its key (1,) and uniform numbers (DRAWS,)."""

    def __init__(
        self, settings: ViewSettings, out: Pixels, key: rng.Keys, draw: Draws, infrared: bool
    ) -> None:
        self.settings, self.out, self.draw, self._infrared = settings, out, draw, infrared
        self._key = key.view(np.int64)

    def change(self, pixels: Pixels, all_grey: bool) -> int:
        """Write the changed (H, W, 3) image into `out`; the code of what is to be done after normalisation."""
        s, draw = self.settings, self.draw
        region = self._flip_and_crop(pixels)
        code = self._colour(region, all_grey)
        if s.padding_fill == "symmetric":
            self._mirror_edges(region)
        if s.own:
            apply_own(s.own, self.out, self._infrared, self._key.view(np.uint64))
        if draw[_ERASE] < s.erasing:
            self._erase()
        if draw[_CHANNEL_ERASE] < s.channel_erasing:
            area = s.erasing_area if s.channel_erasing_area is None else s.channel_erasing_area
            key = rng.keys(self._key, _CHANNEL_ERASE_KEY)
            box = rectangle(key, self.out.shape[:2], "uniform", area, s.erasing_aspect)
            if box is not None:
                self.out[box] = CHANNEL_COLOUR
        return code

    def _offsets(self) -> tuple[int, int]:
        """How far the crop is moved down and right against the unpadded image."""
        pad = self.settings.padding
        down, right = (int((2 * pad + 1) * self.draw[i]) - pad for i in (_ROW, _COLUMN))
        return down, right

    def _flip_and_crop(self, pixels: Pixels) -> Pixels:
        """Flip, pad, crop back; returns the part of `out` that shows the image rather than padding."""
        (down, right), (height, width), out = self._offsets(), pixels.shape[:2], self.out
        rows, columns = _overlap(down, height), _overlap(right, width)
        shown = _overlap(-down, height), _overlap(-right, width)
        if self.settings.padding_fill not in (0, "symmetric"):
            out[...] = self.settings.padding_fill
        if self.draw[_FLIP] < self.settings.flip:
            # three bytes moved as one item: twice as fast as reversing an axis of single bytes
            whole = np.ascontiguousarray(pixels).view("V3")[..., 0][:, ::-1]
            out.view("V3")[..., 0][shown] = whole[rows, columns]
        else:
            out[shown] = pixels[rows, columns]
        return out[shown]

    def _mirror_edges(self, region: Pixels) -> None:
        """Fill the padding with what lies on the other side of the image's edge."""
        edges = [(max(-moved, 0), max(moved, 0)) for moved in self._offsets()]
        self.out[...] = np.pad(region, (*edges, (0, 0)), mode="symmetric")

    def _colour(self, region: Pixels, all_grey: bool) -> int:
        s, draw = self.settings, self.draw
        chosen = s.colour_choice[int(len(s.colour_choice) * draw[_CHOICE])] if s.colour_choice else None

        def happens(name: str, place: int) -> bool:
            return (name == chosen or name not in s.colour_choice) and bool(draw[place] < getattr(s, name))

        if happens("jitter", _JITTER):
            brightness, contrast, saturation, hue = (
                amount * (2 * draw[i] - 1)
                for amount, i in (
                    (s.brightness, _BRIGHTNESS),
                    (s.contrast, _CONTRAST),
                    (s.saturation, _SATURATION),
                    (s.hue, _HUE),
                )
            )
            colour.jitter(region, 1 + brightness, 1 + contrast, 1 + saturation, hue)
        exchange = happens("channel_exchange", _EXCHANGE)
        if s.exclusive:
            grey = s.channel_exchange <= draw[_EXCHANGE] < s.channel_exchange + s.grey
        else:
            grey = happens("grey", _GREY)
        code = 0
        if s.channel_stage == "normalized":
            code = 1 + int(3 * draw[_CHANNEL]) if exchange else LUMA_CODE if grey else 0
            exchange = grey = False
        if grey or all_grey:
            colour.grey(region)
        if exchange:
            colour.one_channel(region, int(3 * draw[_CHANNEL]))
        if happens("weighted_grey", _WEIGHTED):
            colour.weighted_grey(region, draw[_WEIGHT_R : _WEIGHT_B + 1])
        if happens("channel_cutmix", _CUTMIX):
            pair = _PAIRS[int(len(_PAIRS) * draw[_CUTMIX_PAIR])]
            key = rng.keys(self._key, _CUTMIX_KEY)
            colour.channel_cutmix(region, *pair, rectangle(key, region.shape[:2], "log", _CUTMIX_AREA))
        if happens("spectrum_jitter", _SPECTRUM):
            colour.spectrum_jitter(region, int(3 * draw[_SPECTRUM_CHANNEL]), draw[_SPECTRUM_SHARE])
        if draw[_TONE] < s.tone:
            gamma, contrast, brightness = (
                amount * (2 * draw[i] - 1)
                for amount, i in (
                    (s.tone_gamma, _TONE_GAMMA),
                    (s.tone_contrast, _TONE_CONTRAST),
                    (s.tone_brightness, _TONE_BRIGHTNESS),
                )
            )
            colour.tone(region, math.exp(gamma), 1 + contrast, brightness)
        if s.blur is not None and (chosen == "blur" or "blur" not in s.colour_choice):
            side, low, high = s.blur
            colour.blur(region, side, low + (high - low) * draw[_SIGMA])
        return code

    def _erase(self) -> None:
        s, key = self.settings, rng.keys(self._key, _ERASE_KEY)
        box = rectangle(key, self.out.shape[:2], s.erasing_law, s.erasing_area, s.erasing_aspect)
        if box is None:
            return
        if s.erasing_fill == "noise":
            self.out[box] = noise(rng.keys(self._key, _NOISE_KEY), self.out[box].shape[:2])
        else:
            self.out[box] = MEAN_COLOUR if s.erasing_fill == "mean" else colour_of(s.erasing_fill)


def _overlap(moved: int, length: int) -> slice:
    """What of a line a window of its length shows that is moved along it."""
    return slice(max(moved, 0), length + min(moved, 0))
