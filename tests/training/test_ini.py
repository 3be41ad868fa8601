"""The published INI files: every key used, named as dead, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivreid.config import load_config
from ivreid.config.ini import read_ini
from ivreid.errors import ConfigError

# the keys and values of the two published files (../shared/spec/method-iv-reid.md), paths changed
PUBLISHED = """
[DATA]
# Size of the image during training
SIZE_TRAIN = 384, 128
SIZE_TEST  = 384, 128
FLIP_PROB = 0.5
RE_PROB = 0
NORMALIZATION_MEAN = 0.485, 0.456, 0.406
NORMALIZATION_STD  = 0.229, 0.224, 0.225
PADDING = 10
NUM_WORKERS = 8
SAMPLER = balanced
COLLATE_FN = org
TRAIN_BATCH_SIZE = 64
SAMPLE_ID_INSTANCE = 4
TEST_BATCH_SIZE  = 64
DATASET_NAME = {dataset}

[MODEL]
DEVICE = cuda
DEVICE_ID = 977
NAME = resnet50
LAST_STRIDE = 1
PRETRAIN_PATH = weights/resnet50.pth
OUTPUT_PATH = ./output/run
LOGGER_NAME = run
FC_BIAS = yes
USING_NORM = yes
NORM_TYPE = bn
SEED = 2019

[TRAIN]
LOSS_TYPE = softmax_triplet
OPTIMAZER = Adam
MAX_EPOCHS = 100
BASE_LR = 1e-4
BIAS_LR_FACTOR = 1
MOMENTUM = 0.9
WEIGHT_DECAY = 0.0005
WEIGHT_DECAY_BIAS = 0.
GAMMA = 0.1
STEPS = 30
CHECKPOINT_PERIOD = 10
EVAL_PERIOD = 2
MARGIN = {margin}
"""
DEAD = ("RE_PROB", "COLLATE_FN", "TEST_BATCH_SIZE", "LOGGER_NAME", "BIAS_LR_FACTOR", "WEIGHT_DECAY_BIAS")


def write(folder: Path, *changes: tuple[str, str], dataset: str = "SYSUMM", margin: float = 0.3) -> Path:
    text = PUBLISHED.format(dataset=dataset, margin=margin)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "published.ini"
    path.write_text(text)
    return path


def test_the_published_sysu_file(tmp_path: Path) -> None:
    notes: list[str] = []
    config = load_config(write(tmp_path), notice=notes.append)
    assert (config.seed, config.epochs, config.data.size, config.data.workers) == (2019, 100, (384, 128), 8)
    assert (config.data.dataset, config.data.train_on, config.validation.select) == (
        "sysu-mm01",
        "train+val",
        "last",
    )
    assert (config.batch.identities, config.batch.instances, config.batch.sampler) == (8, 4, "balanced")
    assert (config.augment.flip, config.augment.padding, config.augment.erasing) == (0.5, 10, 0.0)
    assert (config.optimizer.name, config.optimizer.lr, config.optimizer.weight_decay) == ("adam", 1e-4, 5e-4)
    assert (config.validation.every, config.checkpoint.keep_every) == (2, 10)
    method = {"backbone": "resnet50", "last_stride": 1, "norm": "bn", "classifier_bias": True, "margin": 0.3}
    method |= {"mutual_reduction": "batchmean", "pretrained": "weights/resnet50.pth", "stem_relu": False}
    assert {key: config.method[key] for key in method} == method
    assert str(config.out) == "output/run"
    assert config.schedule.name == "constant"  # GAMMA and STEPS are dead
    assert config.device == "auto"  # no machine has GPU 977
    assert config.evaluation[0].draw == "iv-reid"
    assert sum("no effect" in note for note in notes) == 1
    assert all(key in notes[0] for key in DEAD)
    assert any("published-test" in note for note in notes)


def test_the_published_regdb_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, dataset="RegDB", margin=0.2))
    assert (config.data.dataset, config.data.train_on, config.validation.select) == ("regdb", "train", "last")
    assert (config.method["margin"], config.method["mutual_reduction"]) == (0.2, "mean")
    assert config.evaluation[0].direction == "infrared-to-visible"


def test_every_key_of_the_published_files_is_known_and_no_dead_key_is_used(tmp_path: Path) -> None:
    # a dead key's value may be anything: nothing may parse it
    changes = [
        (f"{key} = ", f"{key} = nonsense ")
        for key in ("RE_PROB", "COLLATE_FN", "GAMMA", "STEPS", "LOGGER_NAME")
    ]
    assert read_ini(write(tmp_path, *changes))[0] == read_ini(write(tmp_path))[0]


@pytest.mark.parametrize(
    ("old", "new", "key", "value"),
    [
        ("USING_NORM = yes", "USING_NORM = no", "norm", "none"),
        ("NORM_TYPE = bn", "NORM_TYPE = gn", "norm", "gn"),
        ("FC_BIAS = yes", "FC_BIAS = no", "classifier_bias", False),
        ("NAME = resnet50", "NAME = resnet18", "backbone", "resnet18"),
        ("LAST_STRIDE = 1", "LAST_STRIDE = 2", "last_stride", 2),
        ("MARGIN = 0.3", "MARGIN = 0.5", "margin", 0.5),
        ("PRETRAIN_PATH = weights/resnet50.pth", "PRETRAIN_PATH =", "pretrained", None),
    ],
)
def test_a_live_model_key_moves_its_setting(
    tmp_path: Path, old: str, new: str, key: str, value: object
) -> None:
    assert load_config(write(tmp_path, (old, new))).method[key] == value


@pytest.mark.parametrize(
    ("old", "new", "path", "value"),
    [
        ("OPTIMAZER = Adam", "OPTIMAZER = SGD", "optimizer.name", "sgd"),
        ("MOMENTUM = 0.9", "MOMENTUM = 0.8", "optimizer.momentum", 0.8),
        ("BASE_LR = 1e-4", "BASE_LR = 3e-4", "optimizer.lr", 3e-4),
        ("WEIGHT_DECAY = 0.0005", "WEIGHT_DECAY = 0.1", "optimizer.weight_decay", 0.1),
        ("SAMPLER = balanced", "SAMPLER = random", "batch.sampler", "random"),
        ("TRAIN_BATCH_SIZE = 64", "TRAIN_BATCH_SIZE = 32", "batch.identities", 4),
        ("PADDING = 10", "PADDING = 4", "augment.padding", 4),
        ("FLIP_PROB = 0.5", "FLIP_PROB = 0.25", "augment.flip", 0.25),
        ("NORMALIZATION_STD  = 0.229", "NORMALIZATION_STD = 0.5", "data.std", (0.5, 0.224, 0.225)),
        ("DEVICE = cuda", "DEVICE = cpu", "device", "cpu"),
        ("SEED = 2019", "SEED = 7", "seed", 7),
        ("MAX_EPOCHS = 100", "MAX_EPOCHS = 3", "epochs", 3),
        ("EVAL_PERIOD = 2", "EVAL_PERIOD = 5", "validation.every", 5),
    ],
)
def test_a_live_key_moves_its_setting(tmp_path: Path, old: str, new: str, path: str, value: object) -> None:
    found: object = load_config(write(tmp_path, (old, new)))
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("FLIP_PROB", "FLIP_PROP", "[DATA] FLIP_PROP: unknown key; did you mean FLIP_PROB?"),
        ("[TRAIN]", "[TRAINING]", "[TRAINING]: unknown section"),
        ("DATASET_NAME = SYSUMM", "DATASET_NAME = MARKET", "DATASET_NAME = MARKET: must be SYSUMM or REGDB"),
        ("DATASET_NAME = SYSUMM", "", "DATASET_NAME is missing"),
        ("SIZE_TEST  = 384, 128", "SIZE_TEST = 256, 128", "must equal SIZE_TRAIN"),
        (
            "TRAIN_BATCH_SIZE = 64",
            "TRAIN_BATCH_SIZE = 60",
            "must be a multiple of 2 x SAMPLE_ID_INSTANCE = 8",
        ),
        ("MAX_EPOCHS = 100", "MAX_EPOCHS = hundred", "[TRAIN] MAX_EPOCHS = hundred"),
        ("SIZE_TRAIN = 384, 128", "SIZE_TRAIN = 384", "must be 2 numbers"),
        (
            "LOSS_TYPE = softmax_triplet",
            "LOSS_TYPE = softmax",
            "LOSS_TYPE = softmax: must be SOFTMAX_TRIPLET",
        ),
        ("[DATA]", "[DATA", "not a valid INI file"),
    ],
)
def test_a_wrong_file_is_refused_by_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = write(tmp_path, (old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_section_keeps_its_own_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[DATA\] MARGIN: unknown key"):
        load_config(write(tmp_path, ("[DATA]", "[DATA]\nMARGIN = 0.3")))


def test_the_published_selection_can_be_had(tmp_path: Path) -> None:
    config = load_config(write(tmp_path), ["validation.select=published-test"])
    assert (config.data.train_on, config.validation.select) == ("train+val", "published-test")
    config = load_config(write(tmp_path), ["data.train_on=train", "validation.select=validation"])
    assert (config.data.train_on, config.validation.select) == ("train", "validation")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_a_file_as_windows_programs_save_it(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path)
    expected = load_config(path)
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert load_config(path) == expected
