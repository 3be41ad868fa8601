"""What a run says before it begins, and where its memory ends: lines with the key to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ivreid.config import Config, make_config
from ivreid.errors import DataError, OutOfMemory, UsageError
from ivreid.evaluation import evaluate_run
from ivreid.inference import Embedder
from ivreid.machine import naming_memory
from ivreid.methods.iv_reid import IVReID
from ivreid.training import train
from ivreid.training.schedule import beyond_the_end

Make = Callable[..., Config]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"schedule": {"warmup": 3}},
            ["schedule.warmup is 3 and the run has 3 epochs: the rate never reaches"],
        ),
        ({"schedule": {"warmup": 2.5}}, []),
        (
            {"schedule": {"name": "step", "milestones": [2, 3, 70]}},
            ["schedule.milestones: no rate is cut at 3, 70, for the run has 3 epochs"],
        ),
        ({"schedule": {"name": "step", "milestones": [2]}}, []),
        ({"schedule": {"name": "constant", "milestones": [70]}}, []),
        ({"checkpoint": {"keep_every": 4}}, ["checkpoint.keep_every is 4 and the run has 3 epochs"]),
        ({"checkpoint": {"keep_every": 3}}, []),
        ({"epochs": 1, "schedule": {"warmup": 1}}, ["the run has 1 epoch: the rate never"]),
    ],
)
def test_what_lies_beyond_the_end_of_a_run_is_said(changes: dict[str, Any], said: list[str]) -> None:
    found = beyond_the_end(make_config({"epochs": 3, **changes}))
    assert len(found) == len(said)
    assert all(words in line for words, line in zip(said, found, strict=True))


def test_and_it_never_stops_one(tiny_config: Make) -> None:
    told: list[str] = []
    train(tiny_config(epochs=1, schedule={"warmup": 9}), notice=told.append)
    assert told[0].startswith("schedule.warmup is 9")


# A data root that is not there


def test_a_relative_root_says_where_it_was_looked_for(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dat\u00e4").mkdir()
    with pytest.raises(DataError) as caught:
        train(tiny_config(data={"root": "data"}, out="run"))
    assert f"data.root = data does not exist below {tmp_path}; say where" in str(caught.value)
    assert "--data ROOT" in str(caught.value)
    with pytest.raises(DataError) as caught:
        train(tiny_config(data={"root": "Data\u0308"}, out="run"))
    assert r"there is 'Dat\xe4', which looks like 'Data\u0308'" in str(caught.value)


def test_a_run_whose_root_has_moved_says_so(
    tiny_config: Make, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    run = train(tiny_config(epochs=1, data={"root": tiny.name})).folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(UsageError) as caught:
        evaluate_run(run)
    said = str(caught.value)
    assert (
        f"{run / 'config.yaml'} says data.root = {tiny.name}, which does not exist below {elsewhere}" in said
    )
    assert "with --data ROOT" in said
    assert evaluate_run(run, data_root=tiny)


# Memory


def too_much() -> Any:
    return torch.empty(1 << 60)  # more than any address space: torch says so at once


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        MemoryError("Unable to allocate 8.00 EiB for an array"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_told_with_advice(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"^out of memory \(.+\): lower it$"),
        naming_memory(lambda: "lower it"),
    ):
        raise error


def test_what_torch_and_numpy_really_say_is_understood() -> None:
    for allocate in (too_much, lambda: np.empty(1 << 59)):
        with pytest.raises(OutOfMemory, match="lower it"), naming_memory(lambda: "lower it"):
            allocate()


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes") as caught, naming_memory(lambda: "lower it"):
        raise RuntimeError("shapes do not match")
    assert not isinstance(caught.value, OutOfMemory)


def test_a_step_that_does_not_fit_names_the_keys_and_the_last_good_state(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    real = IVReID.forward

    def forward(self: IVReID, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        return too_much() if calls == 3 else real(self, *args)

    monkeypatch.setattr(IVReID, "forward", forward)
    with pytest.raises(OutOfMemory) as caught:
        train(tiny_config(checkpoint={"every_steps": 1}))
    said = str(caught.value)
    for words in ("16 images of 32x16", "on cpu", "batch.identities or batch.instances", "data.size", "bf16"):
        assert words in said
    assert "last.safetensors (step 2)" in said


def test_an_embedding_that_does_not_fit_names_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from ivreid import methods
    from ivreid.data import Preprocessing

    network = methods.build(
        "iv-reid", {"backbone": "test_efficientnet", "pretrained": None}, 4, size=(32, 16)
    )
    embedder = Embedder(network, Preprocessing(size=(32, 16)), batch_size=7)
    monkeypatch.setattr(embedder, "_plain", lambda *_: too_much())
    with pytest.raises(OutOfMemory, match=r"embedding 7 images of 32x16 .* on cpu; lower .*--batch-size"):
        embedder.embed(np.zeros((9, 32, 16, 3), dtype=np.uint8), "visible")
