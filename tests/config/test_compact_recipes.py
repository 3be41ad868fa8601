"""Compact twins of recipes: what the demo trains, for every method."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ivreid import methods
from ivreid.cli.main import build_app
from ivreid.config import load_config, make_config
from ivreid.config.recipes import COMPACT_CNN, COMPACT_VIT
from ivreid.training.optimizer import make_optimizer

NAMES = sorted(name for name, kind in methods.METHODS.items() if kind.recipe)


def test_the_demo_is_iv_reids_compact_recipe() -> None:
    """So that no two sets of demo settings can drift apart."""
    assert load_config("demo", recipe="iv-reid-compact").model_copy(update={"recipe": None}) == load_config(
        "demo"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_a_compact_form_on_the_same_images_with_the_same_optimiser(name: str) -> None:
    config = load_config("demo", recipe=f"{name}-compact")
    demo = load_config("demo")
    assert (config.data.size, config.data.synthetic) == (demo.data.size, demo.data.synthetic)
    assert config.schedule == demo.schedule
    rates = {"lr": demo.optimizer.lr}
    assert config.optimizer.model_copy(update=rates) == demo.optimizer
    assert config.method["backbone"] in (COMPACT_CNN, COMPACT_VIT)
    published, own = make_config({"recipe": name}), methods.METHODS[name].recipe.compact
    assert (config.batch == published.batch) == ("batch" not in own)
    assert config.augment.erasing == own.get("augment", {}).get("erasing", published.augment.erasing)
    settings = {key: value for key, value in config.method.items() if key != "name"}
    network = methods.build(name, settings, 8, size=config.data.size)
    groups = network.parameter_groups(config.optimizer.lr)
    make_optimizer(config.optimizer, groups, torch.device("cpu"))
    features = next(p for key, p in network.named_parameters() if "backbone" in key)
    assert next(g["lr"] for g in groups if any(p is features for p in g["params"])) >= 0.001
    with torch.no_grad():
        found = network.eval().embed(torch.zeros(2, 3, *config.data.size), torch.tensor([True, False]))
    assert found.shape == (2, network.embedding_dim)


def test_the_demo_takes_another_method_in_its_compact_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    class Enough(Exception):
        pass

    def run_demo(config: object, **options: object) -> None:
        given.append(config)
        raise Enough

    monkeypatch.setattr("ivreid.demo.run_demo", run_demo)
    for words, out, backbone in (
        ((), "runs/demo", COMPACT_CNN),
        (("--recipe", "baseline"), "runs/demo-baseline", COMPACT_CNN),
        (("--recipe", "baseline", "--out", "x"), "x", COMPACT_CNN),
        (("--recipe", "baseline-compact", "--set", "out=y"), "y", COMPACT_CNN),
    ):
        done = CliRunner().invoke(build_app("demo"), ["demo", *words])
        assert isinstance(done.exception, Enough), done.output
        assert str(given[-1].out) == out
        assert given[-1].method["backbone"] == backbone
        assert given[-1].method["name"] == ("baseline" if words else "iv-reid")
