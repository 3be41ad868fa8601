"""Augmentation by kind of image, and the changes that the field's methods make, against their definitions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from test_augment import H, W, image, run

from ivreid.data import Augmenter, AugmentSettings, exchange_channels, normalise
from ivreid.data.augment import CHANNEL_COLOUR
from ivreid.data.erasing import colour_of

OFF = {"flip": 0.0, "padding": 0}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def is_channel(out: np.ndarray, pixels: np.ndarray) -> int | None:
    return next((c for c in range(3) if np.array_equal(out, np.repeat(pixels[..., c, None], 3, 2))), None)


def is_grey(out: np.ndarray) -> bool:
    return bool((out == out[..., :1]).all())


def views(settings: dict[str, object], count: int = 600, epoch: int = 0) -> dict[str, np.ndarray]:
    """One image `count` times as each kind: visible, second view, infrared."""
    augmenter = Augmenter(AugmentSettings(**{**OFF, **settings}), seed=5)  # type: ignore[arg-type]
    index, zeros = np.arange(count), np.zeros(count, dtype=np.int64)
    kinds = {"visible": (False, 0), "second": (False, 1), "infrared": (True, 0)}
    return {
        name: augmenter.batch(
            [image()] * count,
            epoch,
            index,
            zeros,
            np.full(count, infrared),
            np.full(count, view, dtype=np.int8),
        ).pixels
        for name, (infrared, view) in kinds.items()
    }


# Kinds


def test_each_kind_inherits_and_overrides() -> None:
    settings = AugmentSettings(
        flip=0.1,
        jitter=0.3,
        erasing=0.5,
        visible={"flip": 0.2},
        second={"jitter": 1.0},
        infrared={"erasing": 0.0},
    )
    visible, second, infrared = (settings.kind(k) for k in ("visible", "second", "infrared"))
    assert (visible.flip, visible.jitter, visible.erasing) == (0.2, 0.3, 0.5)
    assert (second.flip, second.jitter, second.erasing) == (0.1, 1.0, 0.5)
    assert (infrared.flip, infrared.jitter, infrared.erasing) == (0.1, 0.0, 0.0)


def test_infrared_changes_colour_only_where_it_says_so() -> None:
    colours = {
        "jitter": 1.0,
        "grey": 1.0,
        "weighted_grey": 1.0,
        "channel_cutmix": 1.0,
        "spectrum_jitter": 1.0,
    }
    made = views({**colours, "blur": [3, 1.0, 1.0], "colour_choice": ["jitter", "blur"]}, 5)
    assert all(np.array_equal(out, image()) for out in made["infrared"])
    assert not any(np.array_equal(out, image()) for out in made["visible"])
    made = views({"infrared": {"channel_exchange": 1.0}}, 5)
    assert all(is_channel(out, image()) is not None for out in made["infrared"])
    assert all(np.array_equal(out, image()) for out in made["visible"])


def test_a_second_view_has_its_own_draws_and_settings() -> None:
    made = views({"channel_exchange": 0.5, "second": {"channel_exchange": 1.0}}, 400)
    first = [is_channel(out, image()) for out in made["visible"]]
    second = [is_channel(out, image()) for out in made["second"]]
    assert 160 < sum(c is not None for c in first) < 240
    assert None not in second
    both = Counter((a, b) for a, b in zip(first, second, strict=True) if a is not None)
    assert len(both) == 9  # independent of each other


def test_exclusive_probabilities_add() -> None:
    settings = {"infrared": {"channel_exchange": 0.75, "grey": 0.125, "exclusive": True}}
    outs = views(settings, 2000)["infrared"]
    kinds = Counter(
        "channel" if is_channel(out, image()) is not None else "grey" if is_grey(out) else "same"
        for out in outs
    )
    assert abs(kinds["channel"] - 1500) < 80
    assert abs(kinds["grey"] - 250) < 60
    assert abs(kinds["same"] - 250) < 60


def test_one_of_a_choice_is_drawn_and_then_has_its_own_probability() -> None:
    settings = {
        "visible": {
            "channel_exchange": 0.5,
            "weighted_grey": 1.0,
            "colour_choice": ["channel_exchange", "weighted_grey"],
        }
    }
    kinds = Counter(
        "channel" if is_channel(out, image()) is not None else "grey" if is_grey(out) else "same"
        for out in views(settings, 2000)["visible"]
    )
    assert abs(kinds["grey"] - 1000) < 100
    assert abs(kinds["channel"] - 500) < 90
    assert abs(kinds["same"] - 500) < 90


def test_what_is_outside_a_choice_stands_alone() -> None:
    outs = views({"grey": 1.0, "jitter": 1.0, "colour_choice": ["jitter"]}, 20)["visible"]
    assert all(is_grey(out) for out in outs)


def test_visible_images_are_grey_in_the_first_epochs() -> None:
    for epoch, expected in ((0, True), (2, True), (3, False)):
        made = views({"grey_epochs": 3}, 3, epoch)
        assert is_grey(made["visible"][0]) == is_grey(made["second"][0]) == expected
        assert np.array_equal(made["infrared"][0], image())


# Channel operations after normalisation


def test_channels_are_exchanged_after_normalisation_and_after_erasing() -> None:
    settings = AugmentSettings(
        **OFF, channel_exchange=0.6, grey=0.2, exclusive=True, channel_stage="normalized", channel_erasing=1.0
    )
    count = 400
    index, zeros = np.arange(count), np.zeros(count, dtype=np.int64)
    infrared = np.zeros(count, dtype=np.bool_)
    pixels, codes = Augmenter(settings, 1).batch([image()] * count, 0, index, zeros, infrared)
    raw = settings.model_copy(update={"channel_exchange": 0.0, "grey": 0.0})
    assert np.array_equal(
        pixels, Augmenter(raw, 1).batch([image()] * count, 0, index, zeros, infrared).pixels
    )
    share = np.bincount(codes, minlength=5) / count
    assert np.abs(share - [0.2, 0.2, 0.2, 0.2, 0.2]).max() < 0.07
    x = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), MEAN.tolist(), STD.tolist())
    out = exchange_channels(x, torch.from_numpy(codes)).numpy()
    for row, code in enumerate(codes.tolist()):
        before = x[row].numpy()
        if code == 0:
            expected = before
        elif code < 4:
            expected = np.repeat(before[code - 1 : code], 3, axis=0)
        else:
            expected = np.repeat(
                (np.array([0.2989, 0.587, 0.114])[:, None, None] * before).sum(0)[None], 3, axis=0
            )
        np.testing.assert_allclose(out[row], expected, atol=0 if code < 4 else 1e-6)
    # a grey pixel of .5 becomes the copy of one normalised channel, another colour than grey
    half = normalise(torch.full((1, 3, 8, 8), 128, dtype=torch.uint8), MEAN.tolist(), STD.tolist())
    assert exchange_channels(half, torch.tensor([1]))[0, :, 0, 0].tolist() == [half[0, 0, 0, 0].item()] * 3


def test_codes_come_only_where_they_are_asked_for() -> None:
    one = np.array([0]), np.array([0]), np.array([False])
    assert Augmenter(AugmentSettings(channel_exchange=1.0), 0).batch([image()], 0, *one).channels is None
    mixed = AugmentSettings(channel_exchange=1.0, second={"channel_stage": "normalized"})
    assert Augmenter(mixed, 0).batch([image()], 0, *one).channels.tolist() == [0]


# Single changes


def test_weighted_grey_mixes_the_channels() -> None:
    pixels = image()
    weights = []
    for i in range(200):
        out = run(pixels, index=i, weighted_grey=1.0)
        assert is_grey(out)
        x, y = pixels.reshape(-1, 3).astype(float), out[..., 0].ravel() + 0.5
        weight, *_ = np.linalg.lstsq(x, y, rcond=None)
        assert np.abs(x @ weight - y).max() < 0.75
        weights.append(weight)
    assert np.abs(np.sum(weights, axis=1) - 1).max() < 0.02
    assert np.abs(np.mean(weights, axis=0) - 1 / 3).max() < 0.06
    assert np.min(weights) < 0.05 and np.max(weights) > 0.7
    flat = np.repeat(pixels[..., :1], 3, axis=2)
    assert all(np.array_equal(run(flat, index=i, weighted_grey=1.0), flat) for i in range(50))


def test_channel_cutmix_pastes_a_rectangle_of_another_channel() -> None:
    pixels = np.random.default_rng(1).permutation(60 * 40 * 3).reshape(60, 40, 3).astype(np.uint8)
    pixels = np.stack([np.full((60, 40), v, dtype=np.uint8) for v in (10, 100, 200)], axis=2)
    pairs, unchanged = set(), 0
    for i in range(300):
        out = run(pixels, index=i, channel_cutmix=1.0)
        if np.array_equal(out, pixels):
            unchanged += 1
            continue
        assert is_grey(out)
        values, counts = np.unique(out[..., 0], return_counts=True)
        assert len(values) == 2
        base, pasted = values[np.argsort(counts)[::-1]].tolist()
        inside = out[..., 0] == pasted
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert inside.sum() == h * w, "a full rectangle"
        assert 0.015 < h * w / 2400 < 0.345 and 0.25 < h / w < 3.8
        pairs.add((base, pasted))
    assert len(pairs) == 6 and unchanged < 3


def test_spectrum_jitter_blends_with_one_channel() -> None:
    pixels = image()
    x = pixels.astype(float)
    shares, channels = [], []
    for i in range(150):
        out = run(pixels, index=i, spectrum_jitter=1.0).astype(float)
        fits = []
        for c in range(3):
            away = x - x[..., c, None]
            share = (away * (out - x[..., c, None])).sum() / (away**2).sum()
            fits.append((np.abs(share * away + x[..., c, None] - out).max(), c, share))
        error, channel, share = min(fits)
        assert error < 0.75  # a rounded pixel, and the share found by least squares
        shares.append(share)
        channels.append(channel)
    assert min(shares) < 0.1 and max(shares) > 0.9 and abs(np.mean(shares) - 0.5) < 0.08
    assert np.bincount(channels).min() > 30


def test_blur_is_a_gaussian_filter_with_a_mirrored_edge() -> None:
    pixels = image()
    out = run(pixels, blur=(5, 1.5, 1.5)).astype(float)
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 1.5) ** 2)
    weights /= weights.sum()
    big = np.pad(pixels.astype(float), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    for y in range(H):
        for x in range(W):
            window = big[y : y + 5, x : x + 5]
            expected = (window * weights[:, None, None] * weights[None, :, None]).sum((0, 1))
            assert np.abs(out[y, x] - expected).max() < 0.51
    sharp = [
        np.abs(np.diff(run(pixels, index=i, blur=(5, 0.1, 3.0)).astype(float), axis=0)).mean()
        for i in range(60)
    ]
    assert max(sharp) > 3 * min(sharp)  # sigma varies


def test_hue_turns_colours_and_leaves_grey() -> None:
    red = np.zeros((H, W, 3), dtype=np.uint8)
    red[..., 0] = 200
    amounts = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "jitter": 1.0}
    outs = [run(red, index=i, hue=0.5, **amounts)[0, 0].tolist() for i in range(200)]
    assert all(max(out) == 200 and min(out) == 0 for out in outs)
    assert {int(np.argmax(out)) for out in outs} == {0, 1, 2}
    near = [run(red, index=i, hue=0.05, **amounts)[0, 0].tolist() for i in range(50)]
    assert all(out[0] == 200 and max(out[1:]) <= 70 for out in near)
    flat = np.repeat(image()[..., :1], 3, axis=2)
    assert np.array_equal(run(flat, hue=0.5, **amounts), flat)


# Padding and erasing


@pytest.mark.parametrize("fill", [127, "symmetric"])
def test_padding_has_the_fill_that_is_asked_for(fill: object) -> None:
    pixels, pad = image(), 4
    mode = {"mode": "symmetric"} if fill == "symmetric" else {"constant_values": fill}
    big = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), **mode)
    possible = {big[r : r + H, c : c + W].tobytes() for r in range(9) for c in range(9)}
    outs = {run(pixels, index=i, padding=pad, padding_fill=fill).tobytes() for i in range(1500)}
    assert outs == possible


def test_a_mirrored_edge_has_the_images_colours() -> None:
    outs = [run(image(), index=i, padding=5, padding_fill="symmetric", grey=1.0) for i in range(20)]
    assert all(is_grey(out) for out in outs)


def test_the_log_law_has_its_own_ratios_and_may_fail() -> None:
    pixels = np.zeros((60, 40, 3), dtype=np.uint8)
    options = {
        "erasing": 1.0,
        "erasing_law": "log",
        "erasing_area": (0.02, 0.33),
        "erasing_fill": (0.0, 1.0, -1.0),
    }
    colour = colour_of((0.0, 1.0, -1.0))
    logs = []
    for i in range(400):
        filled = (run(pixels, index=i, **options) == colour).all(axis=2)
        if not filled.any():
            continue
        rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert filled.sum() == h * w
        assert 0.015 < h * w / 2400 < 0.345
        logs.append(np.log(h / w))
    assert abs(np.mean(logs)) < 0.15  # symmetric in the logarithm, which ratios uniform in 0.3..3.3 are not
    tall = np.zeros((400, 8, 3), dtype=np.uint8)
    erased = [run(tall, index=i, **options).any() for i in range(300)]
    assert 0 < sum(erased) < 300  # most shapes are wider than this image


def test_fills_are_colours_after_normalisation() -> None:
    for normalised in ((0.485, 0.456, 0.406), (0.028, 0.117, 0.180)):
        back = (np.array(colour_of(normalised)) / 255 - MEAN) / STD
        assert (np.abs(back - normalised) <= 0.5 / 255 / STD + 1e-9).all()
    assert colour_of((9.0, -9.0, 0.0))[:2] == (255, 0)


def test_noise_is_normal_after_normalisation() -> None:
    pixels = np.zeros((120, 80, 3), dtype=np.uint8)
    values = []
    for i in range(6):
        out = run(pixels, index=i, erasing=1.0, erasing_fill="noise", erasing_area=(0.4, 0.4))
        inside = out[(out != 0).any(axis=2)]
        values.append((inside / 255 - MEAN) / STD)
    x = np.concatenate(values)
    assert len(x) > 15000
    low, high = (0 - MEAN) / STD, (1 - MEAN) / STD
    for c in range(3):  # quantiles inside 0..255
        for share, z in ((0.1587, -1.0), (0.5, 0.0), (0.8413, 1.0), (0.9332, 1.5)):
            assert low[c] < z < high[c]
            assert abs(np.mean(x[:, c] < z) - share) < 0.02
    assert abs(np.corrcoef(x.T) - np.eye(3)).max() < 0.03


def test_the_two_erasings_have_areas_of_their_own() -> None:
    pixels = np.zeros((60, 40, 3), dtype=np.uint8)
    options = {"channel_erasing": 1.0, "erasing_area": (0.02, 0.03), "channel_erasing_area": (0.3, 0.4)}
    for i in range(30):
        filled = (run(pixels, index=i, **options) == CHANNEL_COLOUR).all(axis=2)
        assert filled.mean() > 0.27


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"infrared": {"jiter": 1.0}}, r"`infrared\.jiter`: Extra inputs"),
        ({"second": {"flip": 2}}, r"`second\.flip`: Input should be less than or equal to 1"),
        ({"visible": {"visible": {}}}, r"`visible\.visible`: Extra inputs"),
        ({"blur": [4, 0.1, 1.0]}, "odd side"),
        ({"blur": [5, 2.0, 1.0]}, "smallest sigma"),
        ({"colour_choice": ["blur"]}, "names blur"),
        ({"colour_choice": ["flip"]}, "Input should be"),
        ({"channel_exchange": 0.8, "grey": 0.3, "exclusive": True}, "come to 1 at most"),
        ({"exclusive": True, "colour_choice": ["grey"]}, "exclude each other"),
        ({"channel_erasing_area": [0.5, 0.1]}, "`channel_erasing_area` must be"),
        ({"padding_fill": 256}, "less than or equal to 255"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AugmentSettings(**wrong)


def test_settings_survive_a_round_trip() -> None:
    settings = AugmentSettings(erasing_fill=(0.1, 0.2, 0.3), blur=(5, 0.1, 1.0), infrared={"grey": 0.5})
    assert AugmentSettings.model_validate(settings.model_dump(mode="json")) == settings
