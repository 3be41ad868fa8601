"""Training on 16-bit infrared pictures: the rule is chosen, written down, and the same in every use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import tiny_tree, write_dataset

import ivreid
from ivreid.config import load_config, make_config
from ivreid.errors import ConfigError, ImageError
from ivreid.models import read_weights
from ivreid.report import write_report
from ivreid.training import train

INFRARED = ("cam3", "cam6")


@pytest.fixture(scope="module")
def thermal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset with infrared pictures of 16 bits, values 2,600 to 2,855 and one hot spot in a test image."""
    root = write_dataset(
        tmp_path_factory.mktemp("thermal") / "data",
        {"train": range(1, 9), "val": range(9, 13), "test": range(13, 37)},
    )
    for camera in INFRARED:
        for path in (root / camera).rglob("*.jpg"):
            grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16) + 2600
            if path.parent.name == "0020":
                grey[0, 0] = 9000
            Image.fromarray(grey).save(path.with_suffix(".png"))
            path.unlink()
    return root


def changed(root: Path, out: Path, **data: object) -> dict:
    tree = tiny_tree(root, out)
    return {**tree, "epochs": 1, "data": {**tree["data"], **data}}


def values(root: Path, pids: range) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(path))
        for camera in INFRARED
        for pid in pids
        for path in sorted((root / camera / f"{pid:04d}").iterdir())
    ]


@pytest.mark.parametrize("cache", [False, True])
def test_without_a_rule_training_does_not_begin(thermal: Path, tmp_path: Path, cache: bool) -> None:
    config = make_config(changed(thermal, tmp_path / "run", cache=cache))
    assert config.data.value_range == "refuse"
    with pytest.raises(ImageError, match=r"cam[36]/.*no rule says how.*data\.value_range"):
        train(config)


@pytest.mark.parametrize("rule", ["image", [2600, 3000], "dataset"])
def test_the_rule_is_written_down_and_used(thermal: Path, tmp_path: Path, rule: object) -> None:
    first = train(make_config(changed(thermal, tmp_path / "run", value_range=rule)))
    run = first.folder
    trained = values(thermal, range(1, 9))
    low, high = min(map(np.min, trained)), max(map(np.max, trained))
    wanted = [float(low), float(high)] if rule == "dataset" else rule
    _, card = read_weights(run / "weights.safetensors")
    assert card["preprocessing"]["value_range"] == wanted
    settled = load_config(run / "config.yaml").data.value_range
    assert settled == (wanted if isinstance(wanted, str) else tuple(map(float, wanted)))
    again = train(make_config(changed(thermal, run, value_range=rule) | {"epochs": 2}), resume=True)
    assert again.steps > first.steps, "the same rule goes on, as a word or as numbers"

    model = ivreid.load(run, device="cpu", workers=0)
    paths = sorted((thermal / "cam3/0014").iterdir())
    by_hand = []
    for path in paths:
        raw = np.asarray(Image.open(path)).astype(float)
        bottom, top = (raw.min(), raw.max()) if rule == "image" else wanted
        by_hand.append(np.rint(np.clip((raw - bottom) / (top - bottom), 0, 1) * 255).astype(np.uint8))
    found = model.embed(paths, "infrared")
    assert np.array_equal(found, model.embed(by_hand, "infrared"))
    assert np.array_equal(found, model.embed([Image.open(path) for path in paths], "infrared"))
    assert np.abs(found[0] - found[1]).max() > 0
    assert len(ivreid.evaluate_run(run, settings=[{"mode": "all"}], device="cpu")) == 1
    assert write_report(run).is_file()


def test_a_range_of_nothing_is_refused(tmp_path: Path) -> None:
    plain = write_dataset(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"no training image .* more than eight bits"):
        train(make_config(changed(plain, tmp_path / "run", value_range="dataset")))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("picture", r"must be refuse, image, dataset or \[low, high\], it is 'picture'"),
        ([1], r"\[low, high\]"),
        ([3, 3], "low must be less than high"),
        ([1, float("inf")], "finite"),
        ([True, 4], r"\[low, high\]"),
        (5, r"\[low, high\]"),
    ],
)
def test_what_is_no_rule_is_named(rule: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_config({"data": {"value_range": rule}})
    assert str(caught.value).count("data.value_range") == 1
