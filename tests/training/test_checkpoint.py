"""Training states: whole or not at all, never of something else, never executing anything."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ivreid.config.schema import OptimizerSection
from ivreid.errors import CheckpointError, DataError
from ivreid.io import files
from ivreid.training.checkpoint import load_state, restore_state, save_state
from ivreid.training.ema import WeightAverage
from ivreid.training.optimizer import make_optimizer


class Network(nn.Module):
    """Filters of every layout that a fused kernel could confuse."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, (3, 2))
        self.point = nn.Conv2d(width, 5, 1, bias=False)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.point(self.conv(images)))
        return out


def parts(name: str = "adam", width: int = 6, seed: int = 0) -> tuple[Network, torch.optim.Optimizer, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(width).to(memory_format=torch.channels_last)
    settings = OptimizerSection(name=name, lr=0.01)  # type: ignore[arg-type]
    optimizer = make_optimizer(
        settings, [{"params": list(network.parameters()), "lr": 0.01}], torch.device("cpu")
    )
    return network, optimizer, WeightAverage(network, 0.9)  # type: ignore[arg-type]


def steps(network: Network, optimizer: torch.optim.Optimizer, average: Any, first: int, count: int) -> None:
    for step in range(first, first + count):
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (network(images) ** 4).mean().backward()
        optimizer.step()
        average.update(network, step + 1)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_going_on_from_a_file_equals_never_having_stopped(tmp_path: Path, name: str) -> None:
    straight = parts(name)
    steps(*straight, 0, 7)
    first = parts(name)
    steps(*first, 0, 3)
    save_state(tmp_path / "s.safetensors", *first, {"at": 3})
    second = parts(name, seed=99)
    state = load_state(tmp_path / "s.safetensors")
    restore_state(state, *second)
    assert state.info["at"] == 3
    steps(*second, 3, 4)
    for found, expected in ((second[0], straight[0]), (second[2].network, straight[2].network)):
        for key, value in expected.state_dict().items():
            assert torch.equal(found.state_dict()[key], value), key


def test_the_file_says_what_it_is_and_holds_only_tensors_and_json(tmp_path: Path) -> None:
    save_state(tmp_path / "s.safetensors", *parts(), {"config": {"a": 1}})
    with safe_open(tmp_path / "s.safetensors", framework="pt") as file:
        info = json.loads(file.metadata()["ivreid"])
    assert info == {"kind": "training-state", "format": 2, "config": {"a": 1}}


def saved(path: Path) -> Path:
    target = parts()
    steps(*target, 0, 1)
    save_state(path, *target, {})
    return path


def test_damaged_foreign_and_unknown_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "s.safetensors")
    whole = path.read_bytes()
    for cut in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match="not a readable checkpoint"):
            load_state(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_state(tmp_path / "none.safetensors")
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_state(path)
    for metadata, expected in (
        (None, "not written by ivreid"),
        ({"ivreid": json.dumps({"kind": "weights", "format": 1})}, "kind 'weights'"),
        (
            {"ivreid": json.dumps({"kind": "training-state", "format": 3})},
            "format 3; .* reads formats 1 and 2",
        ),
        ({"ivreid": json.dumps({"kind": "training-state", "format": 2})}, "its digest is missing"),
        ({"ivreid": json.dumps([1])}, "not written by ivreid"),
        ({"ivreid": "{"}, "not a readable checkpoint"),
    ):
        save_file({"a": torch.zeros(1)}, path, metadata=metadata)
        with pytest.raises(CheckpointError, match=expected):
            load_state(path)


def test_another_architecture_is_named_by_key_and_shape(tmp_path: Path) -> None:
    state = load_state(saved(tmp_path / "s.safetensors"))
    with pytest.raises(
        CheckpointError, match=r"conv.weight has shape \[6, 3, 3, 2\], this network needs \[8, 3, 3, 2\]"
    ):
        restore_state(state, *parts(width=8))
    network, optimizer, average = parts()
    network.extra = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match=r"lacks extra.bias; lacks extra.weight"):
        restore_state(state, network, optimizer, average)
    network, optimizer, average = parts()
    del network.norm
    with pytest.raises(CheckpointError, match=r"has norm.bias, which this network lacks"):
        restore_state(state, network, optimizer, average)


class Full(io.BytesIO):
    """A file on a disk that fills up after some bytes."""

    def __init__(self, real: Any, room: int) -> None:
        super().__init__()
        self.real, self.room = real, room

    def write(self, data: Any) -> int:
        if len(data) > self.room:
            self.real.write(data[: self.room])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.real.write(data))

    def flush(self) -> None:
        self.real.flush()

    def fileno(self) -> int:
        return int(self.real.fileno())

    def __exit__(self, *error: Any) -> None:
        self.real.close()


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["first byte", "middle", "fsync", "rename", "temporary file"])
def test_a_full_disk_leaves_the_old_state_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = saved(tmp_path / "s.safetensors")
    before = path.read_bytes()
    real = os.fdopen
    if where in ("first byte", "middle"):
        room = 0 if where == "first byte" else len(before) // 2
        monkeypatch.setattr(files.os, "fdopen", lambda fd, mode: Full(real(fd, mode), room))
    elif where == "fsync":
        monkeypatch.setattr(files.os, "fsync", no_space)
    elif where == "rename":
        monkeypatch.setattr(Path, "replace", no_space)
    else:
        monkeypatch.setattr(files.tempfile, "mkstemp", no_space)
    target = parts(seed=5)
    with pytest.raises(DataError, match=r"cannot write .*s.safetensors: No space left on device"):
        save_state(path, *target, {})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.safetensors"]
    restore_state(load_state(path), *target)
