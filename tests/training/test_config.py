"""Configurations: defaults are the published ones, every mistake is named with its place and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ivreid.config import Config, dump_config, load_config, make_config
from ivreid.config.parse import to_yaml
from ivreid.errors import ConfigError, UsageError

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["sysu-mm01", "regdb", "llcm"])
def test_the_shipped_configurations_say_only_defaults_or_published_differences(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    plain = make_config({"data": {"dataset": name}})
    differing = {k for k, v in dump_config(config).items() if v != dump_config(plain)[k]}
    assert differing <= {"evaluation", "method"}
    if name == "regdb":
        assert (config.method["margin"], config.method["mutual_reduction"]) == (0.2, "mean")
    else:
        assert "method" not in differing


def test_the_defaults_are_the_published_settings() -> None:
    config = make_config({})
    assert (config.seed, config.epochs, config.data.size) == (2019, 100, (384, 128))
    assert (config.optimizer.name, config.optimizer.lr, config.optimizer.weight_decay) == ("adam", 1e-4, 5e-4)
    assert (config.method["classifier_lr"], config.method["margin"]) == (1e-3, 0.3)
    assert (config.batch.identities, config.batch.instances) == (8, 4)
    assert (config.augment.flip, config.augment.padding, config.augment.erasing) == (0.5, 10, 0.0)
    assert (config.validation.every, config.schedule.name, config.accumulate) == (2, "constant", 1)
    assert (config.clip, config.ema) == (None, None)


def test_a_configuration_written_out_reads_back_equal(tmp_path: Path) -> None:
    config = make_config({"data": {"root": "somewhere"}, "ema": 0.99, "schedule": {"name": "cosine"}})
    assert load_config(write(tmp_path, to_yaml(config))) == config
    assert make_config(dump_config(config)) == config


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lrr=1", ["optimizer.lrr", "did you mean lr?"]),
        ("epochz=1", ["epochz", "did you mean epochs?"]),
        ("augment.flop=1", ["augment.flop", "did you mean flip?"]),
        ("method.marginn=1", ["method.marginn", "did you mean margin?"]),
        ("evaluation=[{mod: all}]", ["evaluation.0.mod", "did you mean mode?"]),
        ("epochs=many", ["epochs = 'many'", "integer"]),
        ("epochs=0", ["epochs = 0", "greater than or equal to 1"]),
        ("optimizer.lr=true", ["optimizer.lr", "true does not fit"]),
        ("optimizer.lr=.nan", ["optimizer.lr = nan", "finite"]),
        ("data.size=[384]", ["data.size"]),
        ("data.std=[0.2, 0, 0.2]", ["data.std", "positive"]),
        ("data.dataset=sysu", ["data.dataset", "did you mean sysu-mm01?"]),
        ("device=gpu", ["device", "'gpu' is no device", "cuda:N"]),
        ("method.margin=-1", ["method.margin = -1"]),
        ("method=iv-reid", ["method = 'iv-reid'", "dictionary"]),
        ("schedule.name=step", ["schedule", "milestones"]),
        ("schedule.milestones=[30, 20]", ["schedule", "ascend"]),
        ("data.train_on=train+val", ["validation.select", "last", "published-test"]),
    ],
)
def test_a_mistake_is_named_with_file_key_and_cure(
    tmp_path: Path, override: str, expected: list[str]
) -> None:
    path = write(tmp_path, "epochs: 5\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, [override])
    for part in [str(path), *expected]:
        assert part in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "epoch: 5\noptimizer: {lr: fast}\n"))
    assert "did you mean epochs?" in str(caught.value)
    assert "optimizer.lr = 'fast'" in str(caught.value)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UsageError, match="iv-reid"):
        make_config({"method": {"name": "iv-read"}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1\n", "must hold `key: value` lines"),
        ("a: [1\n", "not valid YAML"),
        ("epochs: 1\nepochs: 2\n", "stands twice, line 2"),
        ("data:\n  size: [1, 1]\n  size: [2, 2]\n", "stands twice, line 3"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_config(write(tmp_path, text))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("word", ["epochs", "=3", ".a=1", "epochs.x=1", "a.=1"])
def test_a_set_that_is_no_key_and_value(tmp_path: Path, word: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_config(write(tmp_path, "epochs: 5\n"), [word])


def test_sets_win_over_the_file_and_later_ones_over_earlier(tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump({"optimizer": {"lr": 1.0, "name": "sgd"}}))
    config = load_config(path, ["optimizer.lr=1e-3", "optimizer.lr=2e-3", "data.size=[64, 32]", "clip=null"])
    assert (config.optimizer.lr, config.optimizer.name) == (2e-3, "sgd")
    assert config.data.size == (64, 32)


def test_a_configuration_cannot_be_changed() -> None:
    config = make_config({})
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]
    assert isinstance(config, Config)


def test_a_number_without_end_and_a_path_that_is_a_number(tmp_path: Path) -> None:
    for value in (".inf", ".nan", "1e400", "inf"):
        with pytest.raises(ConfigError, match=r"clip = .*: it must be a finite number; null where"):
            load_config(_file(tmp_path, f"clip: {value}"))
    for value in ("1000", "1.10"):
        with pytest.raises(ConfigError, match=r"out: a path is text and .* a number; quote it: '"):
            load_config(_file(tmp_path, f"out: {value}"))
    assert load_config(_file(tmp_path, "out: 2024-05-01")).out == Path("2024-05-01")
    with pytest.raises(ConfigError, match="seed = '2019-01-01': input should be a valid integer"):
        load_config(_file(tmp_path, "seed: 2019-01-01"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_as_windows_programs_save_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("epochs: 7\r\nout: käfer\r\n".encode(encoding))
    config = load_config(path)
    assert (config.epochs, config.out) == (7, Path("käfer"))


def _file(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text + "\n")
    return path
