"""What would stop a run at its first validation is told before its first step; what a method returns is checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ivreid
from ivreid.config import Config
from ivreid.datasets import DATASETS, Dataset, DatasetScan, Reader, Tree
from ivreid.datasets.sysu_mm01 import SysuMM01
from ivreid.errors import ConfigError, IvreidError, ProtocolError, TrainingError, UsageError
from ivreid.evaluation.validation import check_validation
from ivreid.methods.base import named_losses
from ivreid.methods.iv_reid import IVReID
from ivreid.training import train
from ivreid.types import Modality, Sample

Make = Callable[..., Config]
V, R = Modality.VISIBLE, Modality.INFRARED


def refused(config: Config, kind: type[IvreidError], message: str) -> None:
    """The run stops with this sentence, and no step was taken."""
    with pytest.raises(kind, match=message):
        train(config)
    assert config.out is not None
    log = config.out / "metrics.jsonl"
    assert not log.exists() or not log.read_text()


class Copy(SysuMM01):
    """SYSU-MM01's layout under another name."""

    name = "copy"


def test_a_dataset_without_a_protocol_is_trained_and_validated(tiny_config: Make) -> None:
    class Split(Copy):
        """With two train/test splits."""

        trials = (1, 2)

    ivreid.register_dataset(Split)
    summary = train(tiny_config(epochs=1, data={"dataset": "copy", "trial": 2}))
    assert summary.best is not None
    assert 0 <= summary.best["rank1"] <= 1


@pytest.mark.parametrize("select", ["validation", "last"])
def test_a_protocol_that_there_is_not(tiny_config: Make, select: str) -> None:
    class Wrong(Copy):
        """Misspelt."""

        protocol = "sysu"

    ivreid.register_dataset(Wrong)
    with pytest.raises(UsageError, match=r"unknown protocol 'sysu'; did you mean sysu-mm01\?"):
        tiny_config(data={"dataset": "copy"}, validation={"select": select})


def test_images_that_do_not_fit_the_published_protocol(tiny_config: Make) -> None:
    class Moved(Copy):
        """Its cameras are numbered from 7 on."""

        protocol = "sysu-mm01"

        def read(self, tree: Tree, trial: int | None) -> DatasetScan:
            scan = super().read(tree, trial)
            for name, samples in scan.splits.items():
                scan.splits[name] = [Sample(s.path, s.pid, s.camid + 6, s.modality, s.frame) for s in samples]
            return scan

    ivreid.register_dataset(Moved)
    config = tiny_config(data={"dataset": "copy"}, validation={"select": "published-test"})
    refused(config, ProtocolError, "from cameras that sysu-mm01 does not have")


def test_validation_people_of_one_modality(tiny_config: Make, tiny: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny, tmp_path / "data")
    for pid in range(9, 13):
        for camera in (3, 6):
            shutil.rmtree(root / f"cam{camera}" / f"{pid:04d}")
    config = tiny_config(data={"root": str(root)})
    refused(config, ProtocolError, "the validation identities have images of one modality only")


def people(*rows: tuple[int, int, Modality]) -> Dataset:
    samples = tuple(
        Sample(f"{n}.jpg", pid, camid, modality, n) for n, (pid, camid, modality) in enumerate(rows, 1)
    )
    return Dataset("csv", Path(), {"train": (), "val": samples}, "0")


@pytest.mark.parametrize(
    ("rows", "scorable"),
    [
        (((1, 1, V), (1, 2, R)), True),
        (((1, 1, V), (1, 1, R)), False),  # the camera rule takes the only match
        (((1, 1, V), (2, 2, R)), False),  # nobody in both
        (((-1, 1, V), (-1, 2, R)), False),  # two unknown people are no match
        (((1, 0, V), (1, 0, R)), True),  # unknown cameras are no camera
    ],
)
def test_somebody_can_be_found(rows: Any, scorable: bool, tiny_config: Make) -> None:
    config = tiny_config()
    if scorable:
        check_validation(config, people(*rows))
    else:
        with pytest.raises(ProtocolError, match=r"none of \d validation queries has a true match"):
            check_validation(config, people(*rows))


def test_views_that_a_method_compares_are_asked_for(tiny_config: Make) -> None:
    class Pairs(IVReID):
        """It compares two views of a visible image."""

        name = "pairs"
        views = 2

    ivreid.register_method(Pairs)
    refused(
        tiny_config(method={"name": "pairs"}),
        ConfigError,
        "the method 'pairs' needs 2 views of each visible image, batch.views.visible is 1; set it to 2",
    )
    train(tiny_config(epochs=1, method={"name": "pairs"}, batch={"views": {"visible": 2}}))


def test_a_scalar_instead_of_named_losses(tiny_config: Make) -> None:
    class Scalar(IVReID):
        """It adds its losses up itself."""

        name = "scalar"

        def forward(self, *arguments: Tensor, view: Tensor | None = None) -> Any:
            return sum(super().forward(*arguments).values())

    ivreid.register_method(Scalar)
    refused(
        tiny_config(method={"name": "scalar"}),
        TrainingError,
        r"the method 'scalar' returned a tensor of shape \(\); `forward` returns scalar losses by name, e\.g\.",
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({}, "an empty dictionary"),
        (None, "a NoneType"),
        ([torch.zeros(())], "a list"),
        ({"a": torch.zeros(()), "b": torch.zeros(3)}, r"'b' as a tensor of shape \(3,\)"),
        ({"a": 1.0}, "'a' as a float"),
    ],
)
def test_what_is_no_losses_is_described(value: Any, what: str) -> None:
    with pytest.raises(TrainingError, match=f"the method 'm' returned {what}; "):
        named_losses(value, "m")
    good = {"a": torch.zeros(()), "b": torch.ones((), dtype=torch.bfloat16)}
    assert named_losses(good, "m") is good


def test_own_numbers_are_the_datasets_word() -> None:
    """Two folders may both hold a person 1; two copies of SYSU-MM01 hold the same person 1."""
    own = {name for name in DATASETS if DATASETS[name].own_numbers}
    assert own == {"folder", "csv"}
    assert not Reader.own_numbers
