"""The run folder: who holds it, what a killed run left in it, and what produced it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ivreid.config import Config
from ivreid.errors import TrainingError
from ivreid.io import atomic_write, try_lock
from ivreid.training import environment, load_state, read_log, train
from ivreid.training.environment import git_revision
from ivreid.training.run_lock import open_run_folder

Make = Callable[..., Config]


def broken(_network: Any, *_: Any) -> None:
    raise RuntimeError("the first step fails")


def test_a_start_that_failed_before_a_checkpoint_is_taken_over(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ivreid.methods.iv_reid import IVReID

    config = tiny_config(epochs=1, checkpoint={"every_steps": 2})
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="the first step fails"):
        patch.setattr(IVReID, "forward", broken)
        train(config)
    assert config.out is not None
    assert (config.out / "config.yaml").exists()
    assert (config.out / "metrics.jsonl").exists()
    (config.out / "metrics.jsonl").write_text('{"kind": "step", "step": 1}\n')
    train(config)
    steps = [row["step"] for row in read_log(config.out / "metrics.jsonl") if row["kind"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    with pytest.raises(TrainingError, match="already holds a run"):
        train(config)


@pytest.mark.parametrize("left", ["weights.safetensors", "checkpoints/best.safetensors"])
def test_a_folder_with_weights_or_any_training_state_holds_a_run(tmp_path: Path, left: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / left).write_bytes(b"")
    with pytest.raises(TrainingError, match="already holds a run"), open_run_folder(tmp_path, resume=False):
        pass


def test_the_best_state_stands_in_for_a_deleted_last_one(tiny_config: Make) -> None:
    config = tiny_config(epochs=2)
    run = train(config).folder
    expected = load_state(run / "checkpoints" / "last.safetensors")
    best = load_state(run / "checkpoints" / "best.safetensors").info["position"]
    (run / "checkpoints" / "last.safetensors").unlink()
    told: list[str] = []
    train(config, resume=True, notice=told.append)
    assert f"after step {best['step']} " in told[0] and "best.safetensors" in told[0]
    found = load_state(run / "checkpoints" / "last.safetensors")
    assert found.info["position"] == expected.info["position"]
    assert all(torch.equal(found.tensors[name], value) for name, value in expected.tensors.items())


def test_weights_whose_states_are_deleted_are_not_trained_over(tiny_config: Make) -> None:
    config = tiny_config(epochs=1)
    run = train(config).folder
    before = (run / "weights.safetensors").read_bytes()
    for state in (run / "checkpoints").iterdir():
        state.unlink()
    told: list[str] = []
    train(config, resume=True, notice=told.append)
    assert (run / "weights-before-1.safetensors").read_bytes() == before
    assert any("weights-before-1.safetensors" in line for line in told)
    assert (run / "weights.safetensors").exists()


# What killed processes leave


def test_what_a_killed_run_was_writing_is_removed_at_the_next_start(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    dead = [
        checkpoints / ".last.safetensors.a1b2.tmp",
        checkpoints / ".epoch-0002.safetensors.q_9z.tmp",
        tmp_path / ".weights.safetensors.xxxx.tmp",
        tmp_path / ".config.yaml.xxxx.tmp",
    ]
    alive = [tmp_path / ".features.npz.xxxx.tmp", tmp_path / "notes.tmp", tmp_path / ".notes.tmp"]
    for path in (*dead, *alive):
        path.write_bytes(b"half")
    with open_run_folder(tmp_path, resume=False):
        pass
    assert [path for path in dead if path.exists()] == []
    assert [path for path in alive if not path.exists()] == []  # another process may be writing it now


def test_writing_a_file_removes_old_leftovers_of_it_alone(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".a.npz.1.tmp", ".a.npz.2.tmp", ".b.npz.1.tmp"))
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (time.time() - 7200,) * 2)
    with atomic_write(tmp_path / "a.npz") as file:
        file.write(b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([new, other, tmp_path / "a.npz"])


# Locks


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_worked_on(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def none(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "lockf", none)
    monkeypatch.setattr(fcntl, "flock", none)  # the image cache's
    config = tiny_config(epochs=1)
    assert config.out is not None
    leftover = config.out / "checkpoints" / ".last.safetensors.xxxx.tmp"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"another process may be writing it")
    told: list[str] = []
    train(config, notice=told.append)
    assert "without locks" in told[0] and str(config.out) in told[0]
    assert leftover.exists()


def test_a_lock_is_told_apart_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "lock").open("w") as one, (tmp_path / "lock").open("w") as other:
        assert try_lock(one.fileno(), by_process=False) == "mine"
        assert try_lock(other.fileno(), by_process=False) == "theirs"

    def held(*_: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fcntl, "lockf", held)
    with (tmp_path / "lock").open("w") as file:
        assert try_lock(file.fileno()) == "theirs"


# What produced the run


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with this file at its own place; returns the file."""
    file = tmp_path / "ivreid" / "src" / "ivreid" / "training" / "folder.py"
    file.parent.mkdir(parents=True)
    file.write_text("1\n")
    root = file.parents[3]
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "one")
    return file


def test_the_revision_is_of_this_source(checkout: Path) -> None:
    head = git(checkout.parent, "rev-parse", "HEAD")
    assert git_revision(checkout) == head
    checkout.write_text("2\n")
    assert git_revision(checkout) == f"{head}+"


@pytest.mark.parametrize("tracked", [False, True])
def test_another_repository_is_never_named(checkout: Path, tracked: bool) -> None:
    """A package installed in an environment that lies in somebody's repository, even one that tracks it."""
    root = checkout.parents[3]
    installed = root / ".venv" / "lib" / "site-packages" / "ivreid" / "training" / "folder.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("1\n")
    if tracked:
        git(root, "add", "-f", ".")
        git(root, "commit", "-m", "two")
    assert git_revision(installed) is None


def test_the_environment_of_a_git_hook_does_not_mislead(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(checkout.parent, "rev-parse", "HEAD")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_revision(checkout) == head


def test_no_git_at_all(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(environment.subprocess, "run", missing)
    assert git_revision(checkout) is None


def test_a_run_records_the_revision_of_its_source(tiny_config: Make) -> None:
    run = train(tiny_config(epochs=1)).folder
    assert json.loads((run / "environment.json").read_text())["git_revision"] == git_revision()
