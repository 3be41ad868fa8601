"""Fine-tuning: where a run's first weights come from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ivreid import methods
from ivreid.config import Config
from ivreid.errors import CheckpointError, ConfigError
from ivreid.models import create_backbone, read_weights, write_weights
from ivreid.training.initial_weights import start_from
from ivreid.training.setup import build_run_parts

SMALL = {"backbone": "resnet18", "pretrained": None}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    method = methods.build("iv-reid", SMALL, 9, seed=7)
    write_weights(tmp_path / "w.safetensors", method.state_dict(), method.card())
    return tmp_path / "w.safetensors"


def test_what_fits_is_taken_and_what_does_not_is_listed(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = methods.build("iv-reid", SMALL, 4, seed=1)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        left = start_from(network, str(weights))
    theirs, _ = read_weights(weights)
    assert left == [
        "shared_classifier.weight",
        "shared_classifier.bias",
        "visible_classifier.2.weight",
        "visible_classifier.2.bias",
        "infrared_classifier.2.weight",
        "infrared_classifier.2.bias",
    ]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name] if name in left else theirs[name]), name
    assert "new are shared_classifier.weight" in caplog.text


def test_a_slow_copy_is_not_looked_for_and_follows(tmp_path: Path) -> None:
    plain = methods.build("baseline", SMALL, 9, seed=7)
    write_weights(tmp_path / "w.safetensors", plain.state_dict(), plain.card())
    network = methods.build("baseline", {**SMALL, "ema_teacher": 1.0}, 9, seed=1)
    assert start_from(network, str(tmp_path / "w.safetensors")) == []
    network.begin_step()
    copied, theirs = network.classifier_teacher.network.state_dict(), plain.state_dict()
    for key in ("classifier.weight", "norm.running_var"):
        assert (copied[key] - theirs[key]).norm() < 0.2 * theirs[key].norm(), key


def test_weights_of_which_nothing_fits_are_refused(weights: Path) -> None:
    network = methods.build("agw", {**SMALL, "backbone": "resnet10t", "non_local": False}, 4)
    with pytest.raises(CheckpointError, match="holds weights of iv-reid, and only 4 of 107 tensors fit agw"):
        start_from(network, str(weights))


def test_a_run_starts_from_weights_of_ours_or_of_imagenet(
    tiny_config: Callable[..., Config], weights: Path, tmp_path: Path
) -> None:
    method = {**SMALL, "name": "iv-reid"}
    ours = build_run_parts(tiny_config(init_from=str(weights), method=method)).network
    theirs, _ = read_weights(weights)
    assert torch.equal(ours.state_dict()["backbone.conv1.weight"], theirs["backbone.conv1.weight"])
    torch.save(create_backbone("resnet18").state_dict(), tmp_path / "imagenet.pth")
    imagenet = torch.load(tmp_path / "imagenet.pth", weights_only=True)
    network = build_run_parts(tiny_config(init_from=str(tmp_path / "imagenet.pth"), method=method)).network
    assert torch.equal(network.state_dict()["backbone.conv1.weight"], imagenet["conv1.weight"])
    resumed = build_run_parts(
        tiny_config(init_from="absent.safetensors", method=method), initial_weights=False
    )
    assert resumed.network.training


def test_two_sources_of_weights_are_refused(tiny_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"init_from = w and method\.pretrained = imagenet both name"):
        tiny_config(init_from="w", method={"pretrained": "imagenet"})
    assert tiny_config(init_from="w", method={"name": "iv-reid", "pretrained": None}).init_from == "w"


def test_weights_that_are_absent_are_named(tiny_config: Callable[..., Config]) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.safetensors"):
        build_run_parts(tiny_config(init_from="absent.safetensors", method={**SMALL, "name": "iv-reid"}))
