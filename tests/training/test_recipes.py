"""Recipes: published settings below a file's values, or in their place from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ivreid.config import dump_config, load_config, make_config
from ivreid.config.recipes import recipe_names
from ivreid.errors import ConfigError
from ivreid.methods import METHODS, get_method
from ivreid.methods.recipe import merged
from ivreid.synthetic import synthesise
from ivreid.training import train
from ivreid.training.precision import choose_precision


def test_a_file_lies_above_its_recipe_and_set_above_both(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("recipe: iv-reid\ndata: {dataset: regdb}\nepochs: 7\nmethod: {mutual_weight: 0.5}\n")
    config = load_config(file, ["batch.instances=2"])
    assert config.epochs == 7
    assert config.batch.instances == 2
    assert config.batch.identities == 8
    assert config.method["name"] == "iv-reid"
    assert config.method["margin"] == 0.2  # the recipe's, on RegDB
    assert config.method["mutual_weight"] == 0.5
    assert config.recipe == "iv-reid"


def test_a_resolved_configuration_reads_back_equal(tmp_path: Path) -> None:
    for name in recipe_names():
        for dataset in ("sysu-mm01", "regdb", "llcm"):
            config = make_config({"recipe": name, "data": {"dataset": dataset}})
            assert make_config(dump_config(config)) == config


def test_a_recipe_of_the_command_line_replaces_the_files_training_settings(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "seed: 5\nepochs: 3\ndata: {root: here, size: [64, 32]}\naugment: {flip: 0.1}\n"
        "method: {name: iv-reid, margin: 0.9}\noptimizer: {lr: 7}\nvalidation: {every: 9}\n"
    )
    config = load_config(file, recipe="iv-reid")
    assert (config.seed, config.data.root, config.validation.every) == (5, Path("here"), 9)
    assert (config.epochs, config.data.size, config.augment.flip) == (100, (384, 128), 0.5)
    assert (config.method["margin"], config.optimizer.lr) == (0.3, 1e-4)
    assert load_config(file, ["epochs=4"], recipe="iv-reid").epochs == 4


def test_a_recipe_stands_without_a_file() -> None:
    config = load_config(None, ["data.dataset=regdb"], recipe="iv-reid")
    assert config.data.dataset == "regdb"
    assert config.method["mutual_reduction"] == "mean"


def test_the_published_twin_selects_as_the_published_program_did() -> None:
    sysu = make_config({"recipe": "iv-reid-published"})
    assert (sysu.data.train_on, sysu.validation.select) == ("train+val", "published-test")
    regdb = make_config({"recipe": "iv-reid-published", "data": {"dataset": "regdb"}})
    assert (regdb.data.train_on, regdb.validation.select) == ("train", "published-test")


def test_on_the_command_line_the_published_twin_brings_its_selection(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "data: {root: here, train_on: train}\nvalidation: {select: validation, every: 9, metric: rank1}\n"
    )
    published = load_config(file, recipe="pmt-published")
    assert (published.data.train_on, published.validation.select) == ("train+val", "published-test")
    assert published.validation == make_config({"recipe": "pmt-published"}).validation
    assert published.data.root == Path("here")
    changed = load_config(file, ["validation.every=4"], recipe="mpanet-published")
    assert changed.validation.every == 4
    # the published 120, 125, ... 140 among them
    assert make_config({"recipe": "mpanet-published"}).validation.every == 5


def test_the_recipe_of_a_transformer_is_its_own() -> None:
    vit = {"backbone": "vit_base_patch16_224"}
    for config in (
        make_config({"recipe": "baseline", "method": vit}),
        load_config(None, ["method.backbone=vit_base_patch16_224"], recipe="baseline"),
    ):
        assert config.data.size == (256, 128) and config.clip == 1.0
        assert (config.optimizer.name, config.optimizer.lr) == ("adamw", 3e-4)
        assert (config.optimizer.weight_decay, config.epochs, config.batch.size) == (1e-4, 60, 96)
    plain = make_config({"recipe": "baseline"})
    assert (plain.data.size, plain.clip, plain.optimizer.name) == ((288, 144), None, "adam")
    compact = make_config({"recipe": "baseline-compact", "method": {**vit, "parts": 0}})
    assert (compact.data.size, compact.clip) == ((96, 48), None)
    own = make_config({"recipe": "baseline", "method": vit, "optimizer": {"lr": 1e-3}})
    assert (own.optimizer.name, own.optimizer.lr) == ("adamw", 1e-3)


def test_the_published_caj_exchanges_channels_after_normalisation() -> None:
    for name in ("caj", "caj-plus"):
        for end, stage in (("", "raw"), ("-published", "normalized")):
            augment = make_config({"recipe": name + end}).augment
            stages = {kind: augment.kind(kind).channel_stage for kind in ("visible", "second", "infrared")}
            assert stages == {"visible": "raw", "second": stage, "infrared": stage}


HALF = ("dns", "idkl", "mcja", "mpanet", "pmt", "saai")
"""Methods whose authors trained in fp16."""


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.recipe])
def test_every_recipe_runs_on_any_machine_and_its_published_twin_as_its_authors_did(name: str) -> None:
    plain = make_config({"recipe": name}).precision
    assert choose_precision(plain, torch.device("cpu")) == "fp32"
    if name != "baseline":  # nothing was published of it
        published = make_config({"recipe": f"{name}-published"}).precision
        assert published == ("fp16" if name in HALF else plain)


def test_a_method_without_published_figures_has_no_published_twin() -> None:
    named = [name for name in recipe_names() if name.startswith("baseline")]
    assert named == ["baseline", "baseline-compact"]
    assert {"agw-published", "iv-reid-published", "caj-plus-published"} <= set(recipe_names())
    with pytest.raises(ConfigError) as caught:
        load_config(None, recipe="baseline-published")
    assert str(caught.value).startswith("--recipe baseline-published: no figures of baseline were published")
    assert "take baseline, with validation.select=published-test" in str(caught.value)


LAYOUTS = {"sysu-mm01": 20, "regdb": 16, "llcm": 12}
"""People to draw: a few of each split."""


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(request.param) / "data"
    synthesise(root, layout=request.param, identities=LAYOUTS[request.param], images=2, size=(64, 32))
    return request.param, root


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.recipe])
def test_every_recipe_trains_on_every_layout(name: str, layout: tuple[str, Path], tmp_path: Path) -> None:
    """Its sampler, augmentation, losses, groups and schedule, in a small network on small batches."""
    dataset, root = layout
    kind = get_method(name)
    tree = {
        "recipe": name,
        "out": str(tmp_path / "run"),
        "device": "cpu",
        "steps": 1,
        "data": {"dataset": dataset, "root": str(root), "size": list(kind.small_size), "workers": 0},
        "batch": {"identities": 4, "instances": 2},
        "method": {**kind.small},
        "validation": {"select": "last"},
    }
    if make_config({"recipe": name}).batch.sampler == "identity":
        tree["batch"] = {"identities": 4, "images": 8}
    if "grey_epochs" in kind.small:
        tree["augment"] = {"grey_epochs": kind.small["grey_epochs"]}
    said: list[str] = []
    done = train(make_config(tree, notice=said.append))
    assert done.steps == 1
    other = bool(kind.recipe.datasets) and dataset not in kind.recipe.datasets
    assert any("published no settings for" in line for line in said) == other


def test_settings_of_other_datasets_are_taken_and_said() -> None:
    said: list[str] = []
    make_config({"recipe": "iv-reid", "data": {"dataset": "llcm"}}, notice=said.append)
    assert said == [
        "recipe iv-reid: its authors published no settings for llcm; those for sysu-mm01 are taken"
    ]
    make_config({"recipe": "iv-reid"}, notice=said.append)
    assert len(said) == 1


def test_a_wrong_recipe_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"c: unknown recipe 'iv-ried'; did you mean iv-reid"):
        make_config({"recipe": "iv-ried"}, "c")
    with pytest.raises(ConfigError, match=r"recipe iv-reid is of method iv-reid, but method\.name is other"):
        make_config({"recipe": "iv-reid", "method": {"name": "other"}})


def test_merging_keeps_both_sides_and_the_upper_value() -> None:
    below = {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert merged(below, {"a": {"y": {"w": 4}}, "b": {"c": 5}}) == {
        "a": {"x": 1, "y": {"z": 2, "w": 4}},
        "b": {"c": 5},
    }
    assert below == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
