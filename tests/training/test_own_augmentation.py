"""A change to training images that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import ivreid
from ivreid.catalogue import AUGMENTATIONS
from ivreid.config import Config, make_config
from ivreid.data import Augmenter, AugmentSettings
from ivreid.errors import ConfigError, DataError, UsageError
from ivreid.models import read_weights
from ivreid.training import train

PLAIN = {"flip": 0.0, "padding": 0}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    kept = AUGMENTATIONS.snapshot()
    yield
    AUGMENTATIONS.restore(kept)


def stripes(pixels: np.ndarray, infrared: bool, generator: np.random.Generator) -> np.ndarray:
    pixels[generator.integers(len(pixels))] = 255 if infrared else 0
    return pixels


def batch(settings: AugmentSettings, epoch: int = 0, rows: slice = slice(None)) -> np.ndarray:
    images = [np.full((16, 8, 3), 100, np.uint8) for _ in range(6)]
    indices, infrared = np.arange(6), np.array([False, True] * 3)
    views = np.array([0, 0, 1, 0, 1, 0], dtype=np.int8)
    occurrences = np.zeros(6, dtype=np.int64)
    made = Augmenter(settings, seed=5).batch(
        images[rows], epoch, indices[rows], occurrences[rows], infrared[rows], views[rows]
    )
    return made.pixels


def test_it_is_a_function_of_seed_epoch_sample_and_view_alone() -> None:
    ivreid.register_augmentation(stripes)
    settings = AugmentSettings(**PLAIN, own=("stripes",))
    whole = batch(settings)
    for row in range(6):
        alone = batch(settings, rows=slice(row, row + 1))
        assert np.array_equal(alone[0], whole[row])
        (changed,) = np.flatnonzero((whole[row] != 100).all((1, 2)))
        assert (whole[row][changed] == (255 if row % 2 else 0)).all()
    assert not np.array_equal(batch(settings, epoch=1), whole)
    assert (batch(AugmentSettings(**PLAIN)) == 100).all()


def test_each_kind_of_image_names_its_own() -> None:
    ivreid.register_augmentation(stripes)
    settings = AugmentSettings(**PLAIN, infrared={"own": ["stripes"]})
    changed = (batch(settings) != 100).any((1, 2, 3))
    assert changed.tolist() == [False, True] * 3
    assert settings.own_names == ("stripes",)


def test_several_are_applied_in_order_with_draws_of_their_own() -> None:
    seen = []

    def first_one(pixels: np.ndarray, infrared: bool, generator: np.random.Generator) -> np.ndarray:
        seen.append(("first", generator.random()))
        return pixels // 2

    def second_one(pixels: np.ndarray, infrared: bool, generator: np.random.Generator) -> np.ndarray:
        seen.append(("second", generator.random()))
        return pixels + 1

    for one in (first_one, second_one):
        ivreid.register_augmentation(one)
    out = batch(AugmentSettings(**PLAIN, own=("first-one", "second-one")), rows=slice(0, 1))
    assert (out == 51).all()
    assert [name for name, _ in seen] == ["first", "second"]
    assert seen[0][1] != seen[1][1]


def test_wrong_ones_are_one_sentence() -> None:
    with pytest.raises(
        UsageError, match="takes 1 arguments; it must take three: pixels, infrared, generator"
    ):
        ivreid.register_augmentation(lone)
    with pytest.raises(ConfigError, match="unknown augmentation 'fog'"):
        make_config({"augment": {"own": ["fog"]}})
    ivreid.register_augmentation(too_small)
    with pytest.raises(
        DataError, match=r"'too-small' returned uint8 of shape \(2, 2, 3\); it must return uint8"
    ):
        batch(AugmentSettings(**PLAIN, own=("too-small",)))


def lone(pixels: np.ndarray) -> np.ndarray:
    return pixels


def too_small(pixels: np.ndarray, infrared: bool, generator: np.random.Generator) -> np.ndarray:
    return pixels[:2, :2]


def test_a_plugin_brings_one_and_the_run_records_it(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import ivreid\n@ivreid.register_augmentation\ndef darker(pixels, infrared, generator):\n"
        "    return pixels // 2\n"
    )
    ivreid.load_plugin(plugin)
    summary = train(tiny_config(epochs=1, augment={"own": ["darker"]}))
    _, card = read_weights(summary.folder / "weights.safetensors")
    assert [(one["kind"], one["name"], one["source"]) for one in card["plugins"]] == [
        ("augmentation", "darker", "mine.py")
    ]
