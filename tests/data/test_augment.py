from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ivreid.data import Augmenter, AugmentSettings
from ivreid.data.augment import CHANNEL_COLOUR, MEAN_COLOUR

OFF = {"flip": 0.0, "padding": 0}
H, W = 24, 10


def image(seed: int = 0, low: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 256, (H, W, 3), dtype=np.uint8)


def run(
    pixels: np.ndarray,
    epoch: int = 0,
    index: int = 0,
    occurrence: int = 0,
    infrared: bool = False,
    **options: object,
) -> np.ndarray:
    augmenter = Augmenter(AugmentSettings(**{**OFF, **options}), seed=5)  # type: ignore[arg-type]
    one = np.array([index]), np.array([occurrence]), np.array([infrared])
    return augmenter.batch([pixels], epoch, *one).pixels[0]


def padded_crops(pixels: np.ndarray, pad: int) -> dict[bytes, tuple[int, int, bool]]:
    """Every flip, pad and crop there can be, by its bytes."""
    found = {}
    for flip in (False, True):
        turned = pixels[:, ::-1] if flip else pixels
        big = np.pad(turned, ((pad, pad), (pad, pad), (0, 0)))
        for row in range(2 * pad + 1):
            for column in range(2 * pad + 1):
                crop = np.ascontiguousarray(big[row : row + H, column : column + W])
                found[crop.tobytes()] = (row, column, flip)
    return found


def test_without_augmentation_an_image_stays_as_it_is() -> None:
    assert np.array_equal(run(image()), image())


def test_flip_pad_and_crop_reach_every_position_and_nothing_else() -> None:
    pixels = image()
    possible = padded_crops(pixels, 2)
    hits = [possible[run(pixels, index=i, flip=0.5, padding=2).tobytes()] for i in range(2000)]
    assert len(set(hits)) == 50, "5 x 5 crops, flipped or not"
    assert abs(np.mean([flip for _, _, flip in hits]) - 0.5) < 0.05
    rows = np.bincount([row for row, _, _ in hits], minlength=5)
    assert rows.min() > 320 and rows.max() < 480  # 400 expected of each


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 1000), st.integers(0, 10**6))
def test_padding_is_black_and_large_padding_works(seed: int, epoch: int, index: int) -> None:
    pixels = image(seed % 7)
    augmenter = Augmenter(AugmentSettings(flip=0.5, padding=W - 1), seed)
    one = np.array([index]), np.array([0]), np.array([False])
    assert augmenter.batch([pixels], epoch, *one).pixels[0].tobytes() in padded_crops(pixels, W - 1)


EVERYTHING = AugmentSettings(
    padding=3,
    padding_fill="symmetric",
    jitter=0.6,
    hue=0.2,
    grey=0.3,
    channel_exchange=0.3,
    weighted_grey=0.3,
    channel_cutmix=0.3,
    spectrum_jitter=0.3,
    tone=0.5,
    blur=(5, 0.1, 2.0),
    erasing=0.5,
    erasing_law="log",
    erasing_fill="noise",
    channel_erasing=0.5,
)


def test_an_image_is_changed_the_same_in_any_company() -> None:
    augmenter = Augmenter(EVERYTHING, seed=1)
    pixels = [image(i) for i in range(12)]
    index, occurrence, infrared = np.arange(12) * 37, np.arange(12) % 3, np.arange(12) % 2 == 0
    together = augmenter.batch(pixels, 4, index, occurrence, infrared).pixels
    backwards = augmenter.batch(pixels[::-1], 4, index[::-1], occurrence[::-1], infrared[::-1]).pixels[::-1]
    alone = [
        augmenter.batch([pixels[i]], 4, index[i : i + 1], occurrence[i : i + 1], infrared[i : i + 1]).pixels[
            0
        ]
        for i in range(12)
    ]
    assert np.array_equal(together, backwards)
    assert np.array_equal(together, np.stack(alone))


def test_seed_epoch_sample_and_occurrence_each_matter() -> None:
    pixels, differing = image(), set()
    for seed, epoch, index, occurrence in (
        (1, 1, 1, 1),
        (2, 1, 1, 1),
        (1, 2, 1, 1),
        (1, 1, 2, 1),
        (1, 1, 1, 2),
    ):
        augmenter = Augmenter(AugmentSettings(padding=9), seed)
        one = np.array([index]), np.array([occurrence]), np.array([False])
        differing.add(augmenter.batch([pixels], epoch, *one).pixels[0].tobytes())
    assert len(differing) == 5


def test_the_source_is_not_changed() -> None:
    pixels = image()
    pixels.setflags(write=False)
    Augmenter(EVERYTHING, 0).batch([pixels] * 8, 0, np.arange(8), np.zeros(8, int), np.zeros(8, bool))
    assert np.array_equal(pixels, image())


def test_channel_exchange_shows_one_of_the_three_channels() -> None:
    pixels = image()
    channels = [np.repeat(pixels[..., c, None], 3, axis=2) for c in range(3)]
    hits = []
    for i in range(600):
        out = run(pixels, index=i, channel_exchange=1.0)
        hits.append(next(c for c in range(3) if np.array_equal(out, channels[c])))
    assert np.bincount(hits).min() > 150
    changed = sum(
        not np.array_equal(run(pixels, index=i, channel_exchange=0.75), pixels) for i in range(1000)
    )
    assert 700 < changed < 800


def test_grey_is_the_luminance_of_every_pixel() -> None:
    pixels = image()
    out = run(pixels, grey=1.0)
    for y in range(H):
        for x in range(W):
            r, g, b = (int(v) for v in pixels[y, x])
            assert abs(int(out[y, x, 0]) - (299 * r + 587 * g + 114 * b) / 1000) <= 0.501
            assert len(set(out[y, x].tolist())) == 1


def test_jitter_multiplies_by_one_factor() -> None:
    """Each rounded pixel bounds the factor; some factor must lie within all bounds."""
    pixels = np.random.default_rng(3).integers(90, 160, (H, W, 3), dtype=np.uint8)
    x = pixels.astype(np.float64)
    luma = 0.299 * x[..., 0] + 0.587 * x[..., 1] + 0.114 * x[..., 2]
    centres = {
        "brightness": np.zeros_like(x),
        "contrast": np.full_like(x, luma.mean()),
        "saturation": luma[..., None],
    }
    for name, centre in centres.items():
        options = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, name: 0.4}
        factors = []
        for i in range(40):
            out = run(pixels, index=i, jitter=1.0, **options).astype(np.float64)
            away = np.where(x == centre, 1e-9, x - centre)
            ends = np.stack([(out - centre - 0.51) / away, (out - centre + 0.51) / away])
            lowest, highest = ends.min(axis=0).max(), ends.max(axis=0).min()
            assert lowest <= highest, f"no one {name} factor explains every pixel"
            factors.append((lowest + highest) / 2)
        assert 0.6 <= min(factors) < 0.75 and 1.25 < max(factors) <= 1.4, name


def test_colour_changes_pass_infrared_and_padding_by() -> None:
    pixels = image()
    options = {"jitter": 1.0, "grey": 1.0, "channel_exchange": 1.0}
    assert np.array_equal(run(pixels, infrared=True, **options), pixels)
    for i in range(30):
        plain = run(pixels, index=i, padding=6)
        coloured = run(pixels, index=i, padding=6, jitter=1.0)
        assert np.array_equal((plain == 0).all(axis=2), (coloured == 0).all(axis=2))


@pytest.mark.parametrize(
    ("option", "colour"), [("erasing", MEAN_COLOUR), ("channel_erasing", CHANNEL_COLOUR)]
)
def test_erasing_fills_one_rectangle_of_the_stated_area_and_shape(
    option: str, colour: tuple[int, ...]
) -> None:
    height, width = 60, 40
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    tops = []
    for i in range(300):
        out = run(pixels, index=i, infrared=True, **{option: 1.0})
        filled = (out == colour).all(axis=2)
        rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert filled.sum() == h * w, "a full rectangle"
        assert not out[~filled].any(), "nothing outside it"
        assert 0.015 < h * w / (height * width) < 0.42
        assert 0.25 < h / w < 3.8
        tops.append(rows[0] / max(height - h, 1))
    assert 0.4 < np.mean(tops) < 0.6


def test_the_two_erasings_are_independent() -> None:
    pixels = np.zeros((60, 40, 3), dtype=np.uint8)
    both = [run(pixels, index=i, erasing=0.5, channel_erasing=0.5) for i in range(400)]
    first = np.array([(out == MEAN_COLOUR).all(axis=2).any() for out in both])
    second = np.array([(out == CHANNEL_COLOUR).all(axis=2).any() for out in both])
    assert 160 < first.sum() < 240 and 160 < second.sum() < 240
    assert 65 < (first & second).sum() < 135


def test_erased_colours_after_normalisation() -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    step = 0.5 / 255 / std  # half a grey level
    assert (np.abs((np.array(MEAN_COLOUR) / 255 - mean) / std) <= step).all()
    wanted = np.array([0.4914, 0.4822, 0.4465])
    assert (np.abs((np.array(CHANNEL_COLOUR) / 255 - mean) / std - wanted) <= step).all()


def test_settings_refuse_what_makes_no_sense() -> None:
    for wrong in (
        {"flip": 1.5},
        {"padding": -1},
        {"erasing_area": (0.5, 0.1)},
        {"erasing_aspect": 0},
        {"blur": 1},
    ):
        with pytest.raises(ValidationError):
            AugmentSettings(**wrong)
