"""An error names the file and the word at fault, and none of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ivreid.config import load_config, make_config
from ivreid.config.sources import Sources
from ivreid.errors import ConfigError

INTERNAL = [("data.synthetic", None), ("data.root", "/people"), ("out", "runs/e2"), ("data.dataset", "regdb")]
"""What the command line sets for its options, and what it sets by itself."""


def message(*words: str | tuple[str, Any], recipe: str | None = None, path: Path | None = None) -> str:
    notices: list[str] = []
    with pytest.raises(ConfigError) as caught:
        load_config(path, [*words, *INTERNAL], recipe=recipe, notice=notices.append)
    assert notices == []  # nothing is said of a configuration that is refused
    return str(caught.value)


def test_a_wrong_recipe_is_led_by_its_option_alone() -> None:
    said = message("method.backbone=resnet18", recipe="agww")
    assert said.startswith("--recipe agww: unknown recipe 'agww'; did you mean agw")


def test_a_wrong_word_is_named_and_the_right_ones_are_not(tmp_path: Path) -> None:
    words = ("epochs=1", "epoch=3", "batch.identities=4")
    assert message(*words).startswith("--set epoch=3: epoch: unknown key; did you mean epochs")
    file = tmp_path / "c.yaml"
    file.write_text("seed: 3\n")
    assert message(*words, path=file).startswith(f"{file} with --set epoch=3: epoch: unknown key")
    file.write_text("sead: 3\n")
    assert message("epochs=1", path=file).startswith(f"{file}: sead: unknown key")


def test_each_problem_has_its_own_word() -> None:
    lines = message("epochs=0", "data.size=[32,0]", "seed=1").splitlines()
    assert {line.partition(": ")[0] for line in lines} == {"--set data.size=[32,0]", "--set epochs=0"}


def test_the_last_of_two_words_for_a_key_is_at_fault() -> None:
    assert message("epochs=2", "epochs=0").startswith("--set epochs=0: epochs = 0")


def test_an_option_is_named_as_it_was_typed() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [("data.synthetic", None), ("data.dataset", "regbd")], recipe="agw")
    assert str(caught.value).startswith("--dataset regbd: data.dataset: ")
    assert "synthetic" not in str(caught.value)


def test_what_several_keys_make_wrong_together_names_those_that_were_said() -> None:
    said = message("data.train_on=train+val", "seed=3")
    assert said.startswith("--set data.train_on=train+val: data.train_on = train+val leaves no identity")
    said = message("batch.images=4", "batch.identities=2")
    assert said.startswith("--set batch.images=4: batch: `images` is for")
    said = message("method.name=deen", recipe="agw")
    assert said.startswith("--recipe agw --set method.name=deen: recipe agw is of method agw, but")
    both = message("init_from=a.pth", "method.pretrained=b.pth", "seed=3")
    assert both.startswith("--set init_from=a.pth --set method.pretrained=b.pth: init_from = a.pth and")


def test_a_configuration_of_ones_own_goes_by_the_name_given() -> None:
    assert Sources("c").at("epochs") == "c"
    with pytest.raises(ConfigError, match=r"^study: epochs = 0"):
        make_config({"epochs": 0}, "study")


def test_the_dataset_is_checked_before_anything_is_said_about_its_recipe() -> None:
    notices: list[str] = []
    with pytest.raises(ConfigError, match=r"--dataset nonsense: data\.dataset"):
        load_config(None, [("data.dataset", "nonsense")], recipe="agw", notice=notices.append)
    assert notices == []
    load_config(None, [("data.dataset", "llcm")], recipe="iv-reid", notice=notices.append)
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (
            {"method": {"name": "saai", "grid": [2]}},
            "c: method.grid = [2]: it takes two whole numbers: rows and columns of the position table",
        ),
        (
            {"data": {"size": [32]}},
            "c: data.size = [32]: it takes two whole numbers: height and width in pixels",
        ),
        (
            {"data": {"size": [32, 16, 3]}},
            "c: data.size = [32, 16, 3]: it takes two whole numbers: height and width in pixels",
        ),
        (
            {"data": {"mean": [0.5]}},
            "c: data.mean = [0.5]: it takes three numbers: subtracted per channel",
        ),
        ({"data": {"synthetic": {"seed": 1}}}, "c: data.synthetic.identities is missing: how many people"),
    ],
)
def test_a_list_of_the_wrong_length_is_told_its_length_and_meaning(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(tree, "c")
    assert str(caught.value).splitlines()[0] == said
