"""Every change against one written down here: from the numbers drawn, in plain loops, to the last pixel."""

from __future__ import annotations

import math
import re
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from ivreid.data import Augmenter, AugmentSettings, colour
from ivreid.data import counter_rng as rng
from ivreid.data.augment import CHANNEL_COLOUR, MEAN_COLOUR
from ivreid.data.erasing import colour_of, noise, rectangle
from ivreid.data.settings import ViewSettings

SEED, EPOCH = 11, 3
ORDER = re.findall(
    r"\w+",
    "flip row column jitter brightness contrast saturation grey channel_exchange channel erasing channel_erasing "
    "hue choice weighted_grey red green blue channel_cutmix pair spectrum_jitter spectrum_channel spectrum_share sigma "
    "tone gamma curve_contrast curve_brightness",
)
"""What each of an image's numbers is for; part of every run, so that it may never change."""
AMOUNTS = ("brightness", "contrast", "saturation", "hue")
ERASE, CHANNEL_ERASE, VIEW, CUTMIX, NOISE = 1, 2, 3, 4, 5
PAIRS = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def image(height: int = 24, width: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)


def box_by_hand(
    key: np.ndarray, size: tuple[int, int], law: str, area: tuple[float, float], aspect: float
) -> tuple[slice, slice] | None:
    """One try after the other, each of two numbers; the last two numbers place what fits."""
    tries = {"uniform": 20, "log": 10}[law]
    drawn = rng.uniforms(key, 2 * tries + 2)[0].tolist()
    for share, shape in zip(drawn[0 : 2 * tries : 2], drawn[1 : 2 * tries : 2], strict=True):
        surface = size[0] * size[1] * (area[0] + (area[1] - area[0]) * share)
        if law == "uniform":
            ratio = aspect + (1 / aspect - aspect) * shape
        else:
            ratio = math.exp(math.log(0.3) + (math.log(3.3) - math.log(0.3)) * shape)
        h, w = round(math.sqrt(surface * ratio)), round(math.sqrt(surface / ratio))
        if h < size[0] and w < size[1]:
            top, left = math.floor(drawn[-2] * (size[0] - h + 1)), math.floor(drawn[-1] * (size[1] - w + 1))
            return slice(top, top + h), slice(left, left + w)
    return None


def noise_by_hand(key: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sixteen bits a value, the low ones of a word first, as quantiles of the normal distribution."""
    words = rng.bits(key, height * width)[0].tolist()
    made = np.zeros((height, width, 3), dtype=np.uint8)
    for number in range(height * width * 3):
        level = words[number // 4] >> 16 * (number % 4) & 0xFFFF
        channel = number % 3
        value = 255 * (MEAN[channel] + STD[channel] * NormalDist().inv_cdf((level + 0.5) / 65536))
        made.reshape(-1)[number] = min(max(round(value), 0), 255)
    return made


def drawn_for(index: int, view: int = 0) -> tuple[np.ndarray, dict[str, float]]:
    """The key of a sample and its numbers by name."""
    key = rng.keys(SEED, EPOCH, index, 0)
    if view:
        key = rng.keys(key.view(np.int64), VIEW, view)
    return key, dict(zip(ORDER, rng.uniforms(key, len(ORDER))[0].tolist(), strict=True))


def by_hand(pixels: np.ndarray, s: ViewSettings, index: int, view: int = 0, grey: bool = False) -> Any:
    """The image that the definition gives, and its code for the time after normalisation."""
    key, drawn = drawn_for(index, view)
    (height, width), pad = pixels.shape[:2], s.padding
    down, right = (math.floor((2 * pad + 1) * drawn[name]) - pad for name in ("row", "column"))
    place: dict[tuple[int, int], tuple[int, int]] = {}  # of what is seen, where in the image it was
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                from_x = width - 1 - (x + right) if drawn["flip"] < s.flip else x + right
                place[y, x] = (y + down, from_x)
    rows, columns = sorted({y for y, _ in place}), sorted({x for _, x in place})
    region = np.zeros((len(rows), len(columns), 3), dtype=np.uint8)
    for (y, x), source in place.items():
        region[y - rows[0], x - columns[0]] = pixels[source]
    code = colours_by_hand(region, s, key, drawn, grey)
    out = np.zeros_like(pixels)
    for y in range(height):
        for x in range(width):
            if (y, x) in place:
                out[y, x] = region[y - rows[0], x - columns[0]]
            elif s.padding_fill != "symmetric":
                out[y, x] = s.padding_fill
            else:
                mirrored = [mirror(y - rows[0], len(rows)), mirror(x - columns[0], len(columns))]
                out[y, x] = region[tuple(mirrored)]
    if drawn["erasing"] < s.erasing:
        box = box_by_hand(
            rng.keys(key.view(np.int64), ERASE),
            (height, width),
            s.erasing_law,
            s.erasing_area,
            s.erasing_aspect,
        )
        if box is not None and s.erasing_fill == "noise":
            part = out[box]
            part[...] = noise_by_hand(rng.keys(key.view(np.int64), NOISE), *part.shape[:2])
        elif box is not None:
            wanted = (0.0, 0.0, 0.0) if s.erasing_fill == "mean" else s.erasing_fill
            out[box] = [
                min(max(round(255 * (m + d * v)), 0), 255) for m, d, v in zip(MEAN, STD, wanted, strict=True)
            ]
    if drawn["channel_erasing"] < s.channel_erasing:
        area = s.channel_erasing_area or s.erasing_area
        key = rng.keys(key.view(np.int64), CHANNEL_ERASE)
        box = box_by_hand(key, (height, width), "uniform", area, s.erasing_aspect)
        if box is not None:
            out[box] = (152, 144, 129)
    return out, code


def mirror(place: int, length: int) -> int:
    """A place beyond a line of pixels, back on it: the edge's pixel stands on both sides of the edge."""
    while not 0 <= place < length:
        place = -1 - place if place < 0 else 2 * length - 1 - place
    return place


def colours_by_hand(
    region: np.ndarray, s: ViewSettings, key: np.ndarray, drawn: dict[str, float], grey: bool
) -> int:
    """Change `region` by the functions that have tests of their own, with numbers worked out here."""
    chosen = s.colour_choice[math.floor(len(s.colour_choice) * drawn["choice"])] if s.colour_choice else None
    happens = {
        name: drawn[name] < getattr(s, name) and (name == chosen or name not in s.colour_choice)
        for name in (
            "jitter",
            "grey",
            "channel_exchange",
            "weighted_grey",
            "channel_cutmix",
            "spectrum_jitter",
        )
    }
    if s.exclusive:
        at = drawn["channel_exchange"]
        happens["channel_exchange"] = at < s.channel_exchange
        happens["grey"] = not at < s.channel_exchange and at < s.channel_exchange + s.grey
    if happens["jitter"]:
        around = {name: getattr(s, name) * (2 * drawn[name] - 1) for name in AMOUNTS}
        colour.jitter(
            region, 1 + around["brightness"], 1 + around["contrast"], 1 + around["saturation"], around["hue"]
        )
    code, channel = 0, math.floor(3 * drawn["channel"])
    if s.channel_stage == "normalized":
        code = (1 + channel) if happens["channel_exchange"] else 4 if happens["grey"] else 0
        happens["channel_exchange"] = happens["grey"] = False
    if happens["grey"] or grey:
        colour.grey(region)
    if happens["channel_exchange"]:
        region[...] = np.stack([region[..., channel]] * 3, axis=2)
    if happens["weighted_grey"]:
        colour.weighted_grey(region, np.array([drawn["red"], drawn["green"], drawn["blue"]]))
    if happens["channel_cutmix"]:
        one, other = PAIRS[math.floor(6 * drawn["pair"])]
        box = box_by_hand(rng.keys(key.view(np.int64), CUTMIX), region.shape[:2], "log", (0.02, 0.33), 0.3)
        colour.channel_cutmix(region, one, other, box)
    if happens["spectrum_jitter"]:
        colour.spectrum_jitter(region, math.floor(3 * drawn["spectrum_channel"]), drawn["spectrum_share"])
    if drawn["tone"] < s.tone:
        gamma = math.exp(s.tone_gamma * (2 * drawn["gamma"] - 1))
        contrast = 1 + s.tone_contrast * (2 * drawn["curve_contrast"] - 1)
        brightness = s.tone_brightness * (2 * drawn["curve_brightness"] - 1)
        curve = [
            min(255, max(0, round(255 * (0.5 + contrast * ((v / 255) ** gamma - 0.5) + brightness))))
            for v in range(256)
        ]
        region[...] = np.array(curve, dtype=np.uint8)[region]
    if s.blur is not None and ("blur" not in s.colour_choice or chosen == "blur"):
        side, low, high = s.blur
        colour.blur(region, side, low + (high - low) * drawn["sigma"])
    return code


SETTINGS: dict[str, dict[str, Any]] = {
    "crop": {"padding": 4},
    "grey padding": {"padding": 3, "padding_fill": 1},
    "mirrored padding": {"padding": 9, "padding_fill": "symmetric", "grey": 0.5},
    "jitter": {"jitter": 0.7, "hue": 0.3, "brightness": 0.2, "contrast": 0.4, "saturation": 0.5},
    "channels": {"channel_exchange": 0.5, "grey": 0.3, "weighted_grey": 0.3},
    "exclusive": {"channel_exchange": 0.4, "grey": 0.3, "exclusive": True},
    "normalized": {"channel_exchange": 0.5, "grey": 0.5, "channel_stage": "normalized", "grey_epochs": 4},
    "choice": {
        "jitter": 0.9,
        "channel_cutmix": 0.8,
        "spectrum_jitter": 0.9,
        "blur": (3, 0.5, 2.0),
        "colour_choice": ("jitter", "channel_cutmix", "spectrum_jitter", "blur"),
    },
    "mixtures": {"channel_cutmix": 0.5, "spectrum_jitter": 0.5, "blur": (5, 0.1, 1.0)},
    "tone": {"tone": 0.6, "jitter": 0.3, "padding": 3},
    "tone wide": {"tone": 1.0, "tone_gamma": 2.0, "tone_contrast": 1.0, "tone_brightness": 0.5, "grey": 0.2},
    "first epochs": {"grey_epochs": 4, "padding": 2},
    "erasing": {"erasing": 0.8, "channel_erasing": 0.5, "channel_erasing_area": (0.1, 0.5)},
    "erasing large": {"erasing": 0.9, "erasing_area": (0.4, 1.0), "erasing_aspect": 0.6},
    "erasing log": {"erasing": 0.9, "erasing_law": "log", "erasing_fill": (3.0, -2.5, 0.5)},
    "noise": {"erasing": 0.9, "erasing_law": "log", "erasing_fill": "noise", "channel_erasing": 0.2},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_image_is_what_its_numbers_say(name: str) -> None:
    settings = AugmentSettings(
        **{"padding": 0, **SETTINGS[name]},
        second={"flip": 0.25, "padding": 1, "weighted_grey": 0.5},
        infrared={"flip": 0.75, "channel_exchange": 0.3, "channel_stage": "normalized"},
    )
    count = 48
    index, zeros, view = np.arange(count) * 7, np.zeros(count, dtype=np.int64), np.arange(count) % 3
    infrared = np.arange(count) % 4 == 3
    pixels = [image(seed=row) for row in range(count)]
    made, codes = Augmenter(settings, SEED).batch(pixels, EPOCH, index, zeros, infrared, view.astype(np.int8))
    for row in range(count):
        kind = "infrared" if infrared[row] else "second" if view[row] else "visible"
        grey = bool(not infrared[row] and settings.grey_epochs > EPOCH)
        wanted, code = by_hand(pixels[row], settings.kind(kind), int(index[row]), int(view[row]), grey)
        assert np.array_equal(made[row], wanted), f"row {row}, {kind}"
        assert codes is not None and codes[row] == code, f"row {row}, {kind}"


def test_a_batch_of_one_without_views_is_its_first_view() -> None:
    settings = AugmentSettings(padding=4, erasing=0.5, second={"flip": 0.0}, grey_epochs=EPOCH)
    for index in range(10):
        one = np.array([index]), np.array([0]), np.array([False])
        made = Augmenter(settings, SEED).batch([image()], EPOCH, *one)
        assert np.array_equal(made.pixels[0], by_hand(image(), settings.kind("visible"), index)[0])
        assert made.channels is None


def test_the_numbers_are_those_of_sample_and_view_in_their_order() -> None:
    index, views = np.array([4, 4, 9]), np.array([0, 2, 1], dtype=np.int8)
    found, draws = Augmenter(AugmentSettings(), SEED).draws(EPOCH, index, np.zeros(3, dtype=np.int64), views)
    for row in range(3):
        key, drawn = drawn_for(int(index[row]), int(views[row]))
        assert found[row] == key[0]
        assert draws[row].tolist() == list(drawn.values())


@pytest.mark.parametrize(
    "name",
    [name for name in ORDER if name in ViewSettings.model_fields and name not in AMOUNTS],
)
def test_a_change_of_probability_p_happens_for_numbers_below_p(name: str) -> None:
    """p = 0 must never happen, also for the number 0; so the number p itself is out."""
    _, drawn = drawn_for(5)
    one = np.array([5]), np.array([0]), np.array([False])
    for probability, changed in ((drawn[name], False), (math.nextafter(drawn[name], 1), True)):
        settings = AugmentSettings(**{"flip": 0.0, "padding": 0, name: probability})
        out = Augmenter(settings, SEED).batch([image()], EPOCH, *one).pixels[0]
        assert np.array_equal(out, image()) != changed


def test_exclusive_probabilities_meet_without_gap_or_overlap() -> None:
    _, drawn = drawn_for(5)
    at = drawn["channel_exchange"]
    one = np.array([5]), np.array([0]), np.array([False])
    for exchange, grey, wanted in (
        (at, 0.01, "grey"),
        (math.nextafter(at, 1), 0.01, "exchange"),
        (0.0, at, ""),
    ):
        settings = AugmentSettings(flip=0.0, padding=0, channel_exchange=exchange, grey=grey, exclusive=True)
        out = Augmenter(settings, SEED).batch([image()], EPOCH, *one).pixels[0]
        expected = image()
        if wanted == "grey":
            colour.grey(expected)
        elif wanted == "exchange":
            colour.one_channel(expected, math.floor(3 * drawn["channel"]))
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("law", ["uniform", "log"])
@pytest.mark.parametrize("size", [(60, 40), (6, 5), (40, 4)])
def test_rectangles_are_the_first_that_fit(law: str, size: tuple[int, int]) -> None:
    found = []
    for number in range(400):
        key, area = rng.keys(2, number), ((0.02, 0.4), (0.3, 1.0))[number % 2]
        found.append(rectangle(key, size, law, area))  # type: ignore[arg-type]
        assert found[-1] == box_by_hand(key, size, law, area, 0.3)
    assert any(found)
    if size == (40, 4):
        assert None in found


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 20)])
def test_noise_takes_sixteen_bits_a_value(size: tuple[int, int]) -> None:
    made = noise(rng.keys(6), size)
    assert np.array_equal(made, noise_by_hand(rng.keys(6), *size))
    if size == (40, 20):
        assert made.min() == 0 and made.max() == 255  # cut at both ends


def test_the_pixels_of_colours() -> None:
    assert MEAN_COLOUR == (124, 116, 104)  # 255 x 0.485 = 123.7, 116.3, 103.5
    assert CHANNEL_COLOUR == (152, 144, 129)  # 255 (0.485 + 0.229 x 0.4914) = 152.4, 143.8, 129.1
    assert colour_of((9.0, -9.0, -1.8)) == (255, 0, 0)  # 255 (0.406 - 0.225 x 1.8) = 0.3
    assert colour_of((0.0, 2.426, 0.0))[1] == 255  # 254.9
