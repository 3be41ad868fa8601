"""Stopped anywhere and resumed equals never stopped, bit for bit."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from run_in_child import count_events, finish, start
from trees import tiny_tree, write_dataset

from ivreid.config import make_config
from ivreid.errors import CheckpointError, TrainingError
from ivreid.models import read_weights
from ivreid.training import load_state, read_log, train
from ivreid.training.loop import Run
from ivreid.training.signals import TrainingStopped
from kill_points import KillPoint, Tally

TIMING = ("images_per_second", "data_wait", "memory_gib")
EVERYTHING = {
    "epochs": 4,
    "accumulate": 2,
    "clip": 5.0,
    "ema": 0.9,
    "schedule": {"name": "cosine", "warmup": 1},
    "checkpoint": {"every_steps": 1},
}


def rows(run: Path) -> list[dict[str, Any]]:
    """The log without what a clock measured."""
    return [{k: v for k, v in row.items() if k not in TIMING} for row in read_log(run / "metrics.jsonl")]


def assert_equal_runs(found: Path, expected: Path) -> None:
    for name in ("last", "best"):
        one, other = (load_state(run / "checkpoints" / f"{name}.safetensors") for run in (found, expected))
        assert one.tensors.keys() == other.tensors.keys()
        for key, value in other.tensors.items():
            assert torch.equal(one.tensors[key], value), (name, key)
        for key in ("position", "best", "health", "scaler"):
            assert one.info[key] == other.info[key], (name, key)
    assert rows(found) == rows(expected)
    mine, theirs = read_weights(found / "weights.safetensors"), read_weights(expected / "weights.safetensors")
    assert all(torch.equal(mine[0][key], value) for key, value in theirs[0].items())
    assert mine[1] | {"created": ""} == theirs[1] | {"created": ""}


@pytest.fixture(scope="module")
def tree(tiny: Path) -> dict[str, Any]:
    return {**tiny_tree(tiny, Path("unset")), **EVERYTHING}


@pytest.fixture(scope="module")
def straight(tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never stopped, made where the killed ones are made."""
    out = tmp_path_factory.mktemp("straight") / "run"
    assert finish(start({**tree, "out": str(out)}, resume=False)) == 0
    return out


def test_a_log_has_every_step_once(straight: Path) -> None:
    steps = [row for row in rows(straight) if row["kind"] == "step"]
    assert [row["step"] for row in steps] == list(range(1, len(steps) + 1))
    assert {row["epoch"] for row in steps} == set(range(4))
    for row in steps:
        assert row["loss"] == pytest.approx(sum(row["terms"].values()))
        assert set(row["terms"]) == {"identity", "modality", "mutual", "triplet"}
        assert row["lr"] == row["rates"]["backbone"]
        assert row["grad_norm"] > 0
    assert [row["epoch"] for row in rows(straight) if row["kind"] == "validation"] == list(range(4))
    full = read_log(straight / "metrics.jsonl")
    assert all(0 <= row["data_wait"] <= 1 for row in full if row["kind"] == "step")


def interrupt_until_done(
    tree: dict[str, Any], rng: random.Random, events: Tally, part: str, signum: signal.Signals
) -> list[int | None]:
    """Train, ended at up to three random points and resumed, then to the end; every exit status."""
    statuses: list[int | None] = []
    while len(statuses) < 3:
        point = KillPoint.draw(rng, events, signum)
        statuses.append(finish(start(tree, point=point, part=part)))
        assert statuses[0] != 0 or point.later, point
        if statuses[-1] == 0:
            return statuses  # the point lay beyond what was left to do
    return [*statuses, finish(start(tree))]


@pytest.fixture(scope="module", params=[0, 4])
def counted(
    request: pytest.FixtureRequest, tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Tally]:
    """A configuration with so many workers, and the events of its run."""
    folder = tmp_path_factory.mktemp("counted")
    mine = {**tree, "data": {**tree["data"], "workers": request.param}}
    return mine, count_events({**mine, "out": str(folder / "run")}, "run", folder / "tally.json")


@pytest.mark.slow
@pytest.mark.campaign(slice=2)
def test_killed_at_random_points_again_and_again(
    rng: random.Random, counted: tuple[dict[str, Any], Tally], straight: Path, tmp_path: Path
) -> None:
    tree, events = counted
    mine = {**tree, "out": str(tmp_path / "run")}
    statuses = interrupt_until_done(mine, rng, events, "run", signal.SIGKILL)
    assert statuses[-1] == 0
    assert set(statuses[:-1]) <= {-signal.SIGKILL, -signal.SIGALRM}
    assert_equal_runs(tmp_path / "run", straight)


@pytest.fixture(scope="module")
def signalled(tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Tally]:
    """A configuration in which, within an epoch, only a signal saves; and the events of its loop."""
    folder = tmp_path_factory.mktemp("signalled")
    mine = {**tree, "checkpoint": {"every_minutes": None}}
    return mine, count_events({**mine, "out": str(folder / "run")}, "loop", folder / "tally.json")


@pytest.mark.slow
@pytest.mark.campaign(slice=1)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_signals_again_and_again(
    rng: random.Random,
    signalled: tuple[dict[str, Any], Tally],
    straight: Path,
    tmp_path: Path,
    signum: signal.Signals,
) -> None:
    tree, events = signalled
    statuses = interrupt_until_done({**tree, "out": str(tmp_path / "run")}, rng, events, "loop", signum)
    assert statuses[-1] == 0 and set(statuses[:-1]) == {128 + signum}
    assert_equal_runs(tmp_path / "run", straight)


class Crash(BaseException):
    """Stands for the power going out: nothing catches it."""


@pytest.mark.parametrize("after", ["step", "validate", "best state", "weights"])
def test_a_crash_between_any_two_writes_changes_nothing(
    tree: dict[str, Any], straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    config = make_config({**tree, "out": str(tmp_path / "run")})
    name = {"step": "step", "validate": "validate", "best state": "save", "weights": "keep"}[after]
    real, calls = getattr(Run, name), 0

    def crashing(self: Run, *args: Any) -> Any:
        nonlocal calls
        out = real(self, *args)
        calls += after != "best state" or args[0] == self.folder.best
        if calls == 1:
            calls += 1
            raise Crash
        return out

    monkeypatch.setattr(Run, name, crashing)
    with pytest.raises(Crash):
        train(config)
    train(config, resume=True)
    assert calls > 2
    assert_equal_runs(tmp_path / "run", straight)


def test_a_signal_in_a_validation_saves_and_repeats_it(
    tree: dict[str, Any], straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config({**tree, "out": str(tmp_path / "run")})
    from ivreid.training import loop

    real = loop.validate

    def interrupted(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **options)

    monkeypatch.setattr(loop, "validate", interrupted)
    with pytest.raises(TrainingStopped, match=r"stopped by SIGTERM after step 2 .*--resume") as caught:
        train(config)
    assert caught.value.exit_status == 143
    monkeypatch.undo()
    train(config, resume=True)
    assert_equal_runs(tmp_path / "run", straight)


def test_resuming_a_finished_run_changes_nothing(
    tree: dict[str, Any], straight: Path, tmp_path: Path
) -> None:
    config = make_config({**tree, "out": str(tmp_path / "run")})
    train(config)
    before = (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes()
    summary = train(config, resume=True)
    assert summary.best is not None
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes() == before
    assert_equal_runs(tmp_path / "run", straight)


def test_more_epochs_may_be_asked_for_later(tiny: Path, tmp_path: Path) -> None:
    base = tiny_tree(tiny, tmp_path / "long")
    train(make_config({**base, "epochs": 2}))
    short = {**base, "out": str(tmp_path / "short")}
    train(make_config({**short, "epochs": 1}))
    train(make_config({**short, "epochs": 2}), resume=True)
    assert_equal_runs(tmp_path / "short", tmp_path / "long")


def test_another_configuration_is_refused_by_key(tree: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    base = {**tree, "out": str(tmp_path / "run"), "epochs": 1}
    train(make_config(base))
    for change, expected in (
        ({"seed": 1}, "seed was 2019, now 1"),
        ({"optimizer": {"lr": 0.5}}, "optimizer.lr was 0.001, now 0.5"),
        ({"batch": {"identities": 2, "instances": 2}}, "batch.identities was 4, now 2"),
        ({"epochs": 9}, "epochs was 1, now 9"),  # the cosine depends on it
        ({"ema": None}, "ema was 0.9, now None"),
        ({"method": {**tree["method"], "margin": 0.5}}, "method.margin was 0.3, now 0.5"),
    ):
        with pytest.raises(CheckpointError, match="is of another configuration") as caught:
            train(make_config({**base, **change}), resume=True)
        assert expected in str(caught.value)
    other = write_dataset(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="the images were"):
        train(make_config({**base, "data": {**base["data"], "root": str(other)}}), resume=True)


def test_resuming_needs_the_folder_and_a_new_run_needs_another(tree: dict[str, Any], tmp_path: Path) -> None:
    config = make_config({**tree, "out": str(tmp_path / "run"), "epochs": 1})
    told: list[str] = []
    train(config, resume=True, notice=told.append)
    assert "no checkpoint yet" in told[0]
    with pytest.raises(TrainingError, match="already holds a run; continue it with --resume"):
        train(config)


@pytest.mark.parametrize("steps", [None, 1])
def test_fewer_epochs_than_are_done_are_refused(
    tree: dict[str, Any], tmp_path: Path, steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {**tree, "schedule": {"name": "constant"}, "out": str(tmp_path / "run")}
    if steps is None:
        train(make_config({**plain, "epochs": 2}))
    else:  # stopped after the first step of the second epoch
        real = Run.step

        def crashing(self: Run, *args: Any) -> None:
            if self.position.epoch == 1 and self.position.batch:
                raise Crash
            real(self, *args)

        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(Run, "step", crashing)
            train(make_config({**plain, "epochs": 3, "accumulate": 1}))
        plain["accumulate"] = 1
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(CheckpointError, match="2 epochs are done or begun, more than the 1 now asked for"):
        train(make_config({**plain, "epochs": 1}), resume=True)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_a_change_that_moves_the_last_bits_is_warned_of(
    tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config({**tree, "out": str(tmp_path / "run"), "epochs": 1})
    train(config)
    told: list[str] = []
    train(config, resume=True, notice=told.append)
    assert not any("up to rounding" in line for line in told)
    now = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: now + 1)
    train(config, resume=True, notice=told.append)
    warned = [line for line in told if "up to rounding, not to the last bit" in line]
    assert len(warned) == 1 and f"threads was {now}, now {now + 1}" in warned[0]
