"""The published INI files, read as they are: every key is used, named as having no effect, or refused."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivreid.errors import ConfigError, did_you_mean
from ivreid.reading import clean, read_text

Parse = Callable[[str], Any]

DEAD = {
    "DATA": {"RE_PROB", "COLLATE_FN", "TEST_BATCH_SIZE"},
    "MODEL": {"LOGGER_NAME"},
    "TRAIN": {
        *("BIAS_LR_FACTOR", "WEIGHT_DECAY_BIAS", "GAMMA", "STEPS"),
        *("WARMUP_FACTOR", "WARMUP_ITERS", "WARMUP_EPOCHS", "WARMUP_METHOD"),
    },
}
"""Keys without effect: the published code never reads them, or what they name is settled elsewhere here."""

DATASET_NAMES = {"SYSUMM": "sysu-mm01", "REGDB": "regdb"}
OPTIMIZERS = {"ADAM": "adam", "SGD": "sgd"}


def read_ini(path: Path | str) -> tuple[dict[str, Any], list[str]]:
    """The configuration that a published INI file means, and what its reader should know.

    The published run trained on every training and validation identity and kept the epoch that was best on
    the TEST identities. This gives the same training and keeps the last epoch; the notes say how to get the
    rest.

    Returns:
        A nested mapping for `make_config`, and notes for people.

    Raises:
        ConfigError: Not an INI file, or unknown, missing or wrong keys: all of them, one a line.
    """
    path = Path(path)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str.upper  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(read_text(path, 1 << 20, error=ConfigError), source=str(path))
    except configparser.Error as error:
        raise ConfigError(f"{path} is not a valid INI file: {clean(error)}") from error
    reader = _Reader(path, {name: dict(parser[name]) for name in parser.sections()})
    tree = _translate(reader)
    reader.finish()
    return tree, _notes(reader, tree)


class _Reader:
    """Takes keys one by one, and remembers every problem and every key nobody asked for."""

    def __init__(self, path: Path, sections: dict[str, dict[str, str]]) -> None:
        self.path, self.left, self.problems = path, sections, list[str]()
        self.dead = [key for name, keys in DEAD.items() for key in sections.get(name, {}) if key in keys]
        self.known = {name: set(keys) for name, keys in DEAD.items()}
        for name, keys in DEAD.items():
            for key in keys:
                sections.get(name, {}).pop(key, None)

    def take(self, section: str, key: str, parse: Parse, default: Any) -> Any:
        """The value of a key, or the default where it is absent or wrong (the problem is noted)."""
        self.known.setdefault(section, set()).add(key)
        text = self.left.get(section, {}).pop(key, None)
        if text is None:
            return default
        try:
            return parse(text.strip())
        except ValueError as error:
            self.problems.append(f"{self.path}: [{section}] {key} = {text}: {error}")
            return default

    def finish(self) -> None:
        for section, keys in self.left.items():
            if section not in self.known:
                names = ", ".join(f"[{name}]" for name in self.known)
                self.problems.append(
                    f"{self.path}: [{section}]: unknown section; the published files have {names}"
                )
                continue
            for key in keys:
                hint = did_you_mean(key, sorted(self.known[section]))
                self.problems.append(f"{self.path}: [{section}] {key}: unknown key; {hint}")
        if self.problems:
            raise ConfigError("\n".join(self.problems))


def _translate(ini: _Reader) -> dict[str, Any]:
    dataset = ini.take("DATA", "DATASET_NAME", _choice(DATASET_NAMES), None)
    if dataset is None and not ini.problems:
        ini.problems.append(f"{ini.path}: [DATA] DATASET_NAME is missing; it must be SYSUMM or RegDB")
    size = ini.take("DATA", "SIZE_TRAIN", _numbers(int, 2), [384, 128])
    if (test_size := ini.take("DATA", "SIZE_TEST", _numbers(int, 2), size)) != size:
        ini.problems.append(f"{ini.path}: [DATA] SIZE_TEST = {test_size} must equal SIZE_TRAIN = {size}")
    optimizer = ini.take("TRAIN", "OPTIMAZER", _choice(OPTIMIZERS), "adam")
    ini.take("TRAIN", "LOSS_TYPE", _choice({"SOFTMAX_TRIPLET": None}), None)
    regdb = dataset == "regdb"
    return {
        "seed": ini.take("MODEL", "SEED", int, 2019),
        "device": _device(ini),
        "out": ini.take("MODEL", "OUTPUT_PATH", str, None),
        "epochs": ini.take("TRAIN", "MAX_EPOCHS", int, 100),
        "data": {
            "dataset": dataset,
            "size": size,
            "mean": ini.take("DATA", "NORMALIZATION_MEAN", _numbers(float, 3), [0.485, 0.456, 0.406]),
            "std": ini.take("DATA", "NORMALIZATION_STD", _numbers(float, 3), [0.229, 0.224, 0.225]),
            "workers": ini.take("DATA", "NUM_WORKERS", int, None),
            "train_on": "train" if regdb else "train+val",
        },
        "augment": {
            "flip": ini.take("DATA", "FLIP_PROB", float, 0.5),
            "padding": ini.take("DATA", "PADDING", int, 10),
        },
        "batch": _batch(ini),
        "method": {
            "name": "iv-reid",
            "backbone": ini.take("MODEL", "NAME", str, "resnet50"),
            "last_stride": ini.take("MODEL", "LAST_STRIDE", int, 1),
            "pretrained": ini.take("MODEL", "PRETRAIN_PATH", lambda text: text or None, None),
            "norm": _norm(ini),
            "classifier_bias": ini.take("MODEL", "FC_BIAS", _yes, True),
            "margin": ini.take("TRAIN", "MARGIN", float, 0.2 if regdb else 0.3),
            "mutual_reduction": "mean" if regdb else "batchmean",
        },
        "optimizer": {
            "name": optimizer,
            "lr": ini.take("TRAIN", "BASE_LR", float, 1e-4),
            "weight_decay": ini.take("TRAIN", "WEIGHT_DECAY", float, 5e-4),
            "momentum": ini.take("TRAIN", "MOMENTUM", float, 0.9),
        },
        "validation": {"select": "last", "every": ini.take("TRAIN", "EVAL_PERIOD", int, 2)},
        "checkpoint": {"keep_every": ini.take("TRAIN", "CHECKPOINT_PERIOD", int, None)},
        "evaluation": [
            {"direction": "infrared-to-visible"} if regdb else {"mode": "all", "shots": 1, "draw": "iv-reid"}
        ],
    }


def _batch(ini: _Reader) -> dict[str, Any]:
    size = ini.take("DATA", "TRAIN_BATCH_SIZE", int, 64)
    instances = ini.take("DATA", "SAMPLE_ID_INSTANCE", int, 4)
    if instances < 1 or size < 1 or size % (2 * instances):
        ini.problems.append(
            f"{ini.path}: [DATA] TRAIN_BATCH_SIZE = {size} must be a multiple of 2 x SAMPLE_ID_INSTANCE = "
            f"{2 * instances}: that many images each identity has in a batch"
        )
        return {}
    sampler = ini.take("DATA", "SAMPLER", _choice({"BALANCED": "balanced", "RANDOM": "random"}), "balanced")
    return {"sampler": sampler, "identities": size // (2 * instances), "instances": instances}


def _norm(ini: _Reader) -> str:
    kind: str = ini.take("MODEL", "NORM_TYPE", _choice({"BN": "bn", "GN": "gn"}), "bn")
    return kind if ini.take("MODEL", "USING_NORM", _yes, True) else "none"


def _device(ini: _Reader) -> str:
    """The GPU that the file names where this machine has it, else whatever this machine has."""
    device = ini.take("MODEL", "DEVICE", _choice({"CUDA": "cuda", "CPU": "cpu"}), "auto")
    number = ini.take("MODEL", "DEVICE_ID", int, 0)
    if device != "cuda":
        return str(device)
    import torch

    return f"cuda:{number}" if 0 <= number < torch.cuda.device_count() else "auto"


def _notes(ini: _Reader, tree: dict[str, Any]) -> list[str]:
    notes = []
    if ini.dead:
        notes.append(
            f"{ini.path}: these keys have no effect, here as in the published code: {', '.join(ini.dead)}"
        )
    if tree["device"] == "auto":
        notes.append(
            f"{ini.path}: this machine lacks the GPU that DEVICE and DEVICE_ID name; the device is chosen"
        )
    who = "training" if tree["data"]["dataset"] == "regdb" else "training and validation"
    notes.append(
        f"{ini.path}: training on all {who} identities as published and keeping the last epoch. The "
        "published run kept the epoch that was best on the TEST identities: --set "
        "validation.select=published-test. To select on identities held back from training: --set "
        "data.train_on=train --set validation.select=validation"
    )
    return notes


def _choice(meanings: dict[str, Any]) -> Parse:
    def parse(text: str) -> Any:
        if text.upper() not in meanings:
            raise ValueError(f"must be {' or '.join(meanings)} (in any case)")
        return meanings[text.upper()]

    return parse


def _numbers(kind: Parse, count: int) -> Parse:
    def parse(text: str) -> Any:
        numbers = [kind(part) for part in text.split(",")]
        if len(numbers) != count:
            raise ValueError(f"must be {count} numbers with commas between")
        return numbers

    return parse


def _yes(text: str) -> bool:
    return bool(_choice({"YES": True, "NO": False})(text))
