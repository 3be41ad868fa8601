"""Two processes are one run: losses, gradients, weights and log of one process, and exactly resumable."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed_work import (
    compare_states,
    embed_shares,
    evaluate,
    fail,
    first_batches,
    leave_a_group,
    train_in_double_precision,
    train_until,
)
from processes import finish, first_of, run_all, start, train_run, tree, write_people

from double_precision import ROUNDING, SINGLE
from ivreid.config import load_config
from ivreid.datasets.features import read_features
from ivreid.models import read_weights
from ivreid.protocols import read_results
from ivreid.training import load_state, read_log
from kill_points import KillPoint, Tally

pytestmark = pytest.mark.slow
TIMING = ("images_per_second", "data_wait", "memory_gib")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "data")


def rows(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMING} for row in read_log(run / "metrics.jsonl")]


def test_losses_and_gradients_are_those_of_the_joined_batch(people: Path, tmp_path: Path) -> None:
    config = tree(people, tmp_path / "unused")
    run_all(first_batches, config, str(tmp_path), world=1)
    run_all(first_batches, config, str(tmp_path), world=2)
    one, first, second = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1")
    )
    assert one["batches"] == first["batches"] == second["batches"]
    for whole, a, b in zip(one["losses"], first["losses"], second["losses"], strict=True):
        assert whole.keys() == {"identity", "modality", "mutual", "triplet"}
        for name, value in whole.items():
            assert (a[name] + b[name]) / 2 == pytest.approx(value, abs=1e-10)
            assert a[name] != b[name]  # each has its own rows
    for key in ("gradients", "buffers"):
        for name, value in one[key].items():
            for part in (first, second):
                torch.testing.assert_close(part[key][name], value, atol=1e-10, rtol=1e-8, msg=name)
    # the comparison can fail: without synchronised norms the processes are not one
    run_all(first_batches, {**config, "sync_batchnorm": False}, str(tmp_path), world=2)
    apart = torch.load(tmp_path / "2-0.pt", weights_only=True)
    worst = max(float((apart["gradients"][n] - g).abs().max()) for n, g in one["gradients"].items())
    assert worst > 1e-3


def test_a_whole_run_gives_the_weights_and_log_of_one_process(people: Path, tmp_path: Path) -> None:
    more = {"accumulate": 2, "clip": 5.0, "ema": 0.9, "optimizer": {"name": "sgd", "lr": 0.001}}
    for world in (1, 2):
        run_all(train_in_double_precision, tree(people, tmp_path / str(world), **more), world=world)
    one, two = (load_state(tmp_path / name / "checkpoints" / "last.safetensors") for name in "12")
    assert one.tensors.keys() == two.tensors.keys()
    for name, value in one.tensors.items():  # a gradient sums fewer than 1e6 values, none larger than about 1
        torch.testing.assert_close(two.tensors[name], value, atol=1e6 * ROUNDING, rtol=0, msg=name)
    assert (one.info["processes"], two.info["processes"]) == (1, 2)
    for a, b in zip(rows(tmp_path / "1"), rows(tmp_path / "2"), strict=True):
        assert a["kind"] == b["kind"]
        assert a["step"] == b["step"]
        for name, value in a.get("terms", {}).items():
            assert b["terms"][name] == pytest.approx(
                value, rel=4 * SINGLE
            )  # rounded for the log, then averaged
        for name in ("rank1", "mAP", "mINP"):
            assert b.get(name, 0) == pytest.approx(a.get(name, 0))
    assert {row["kind"] for row in rows(tmp_path / "2")} == {"step", "validation"}
    cards = [read_weights(tmp_path / name / "weights.safetensors")[1] for name in "12"]
    assert cards[0]["train_pids"] == cards[1]["train_pids"]


@pytest.mark.parametrize("together", [True, False])
def test_every_process_holds_the_same_state_after_every_step(
    people: Path, tmp_path: Path, together: bool
) -> None:
    changes = {"sync_batchnorm": together, "ema": 0.9, "clip": 1.0, "epochs": 1}
    run_all(compare_states, tree(people, tmp_path / "run", **changes), str(tmp_path))
    assert (tmp_path / "compared").read_text() == "4"


def test_a_group_that_was_left_lives_as_long_as_its_process() -> None:
    run_all(leave_a_group)  # else a model that outlives it takes it down, and waits for ever with torch 2.10


def test_shares_of_any_size_join_by_image(tmp_path: Path) -> None:
    for world in (2, 3):
        run_all(embed_shares, str(tmp_path), world=world)
        assert len(list(tmp_path.glob("done-*"))) == world


EXACT = {
    "epochs": 4,
    "sync_batchnorm": False,
    "ema": 0.9,
    "optimizer": {"name": "adam", "lr": 0.001},
    "validation": {"every": 1},
    "checkpoint": {"every_steps": 1},
}


@pytest.fixture(scope="module")
def straight(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in two processes that was never stopped."""
    out = tmp_path_factory.mktemp("straight") / "run"
    run_all(train_run, tree(people, out, **EXACT), False)
    return out


def test_two_processes_measure_together_and_then_count_the_same_steps(people: Path, tmp_path: Path) -> None:
    changes = {**EXACT, "validation": {"select": "last", "every": 1}}
    clock, counted = tmp_path / "clock", tmp_path / "counted"
    run_all(train_run, tree(people, clock, **changes), False, 0.01)
    steps = load_config(clock / "config.yaml").steps
    assert steps is not None
    assert load_state(clock / "checkpoints" / "last.safetensors").info["position"]["step"] == steps
    run_all(train_run, tree(people, counted, **changes, steps=steps), False)
    one, other = (load_state(run / "checkpoints" / "last.safetensors").tensors for run in (clock, counted))
    assert all(torch.equal(one[key], value) for key, value in other.items())
    run_all(train_run, tree(people, clock, **changes), True, 0.01)  # the same steps, and nothing left to do
    assert load_config(clock / "config.yaml").steps == steps


def assert_equal_runs(found: Path, expected: Path) -> None:
    for name in ("last", "best"):
        one, other = (load_state(run / "checkpoints" / f"{name}.safetensors") for run in (found, expected))
        assert one.tensors.keys() == other.tensors.keys()
        for key, value in other.tensors.items():
            assert torch.equal(one.tensors[key], value), (name, key)
        for key in ("position", "best", "health"):
            assert one.info[key] == other.info[key]
    assert rows(found) == rows(expected)
    mine, theirs = (read_weights(run / "weights.safetensors")[0] for run in (found, expected))
    assert all(torch.equal(mine[key], value) for key, value in theirs.items())


@pytest.fixture(scope="module")
def events(people: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Tally]:
    """The events of such a run, by process."""
    out = tmp_path_factory.mktemp("counted")
    run_all(train_until, tree(people, out / "run", **EXACT), [None, None], str(out))
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.campaign(slice=2)
def test_killed_at_random_points_and_resumed_changes_no_bit(
    rng: random.Random, people: Path, straight: Path, events: list[Tally], tmp_path: Path
) -> None:
    config = tree(people, tmp_path / "run", **EXACT)
    for attempt in range(3):
        points = [KillPoint.draw(rng, tally) for tally in events]
        for spared in rng.choice(([], [0], [1])):
            points[spared] = None
        children = start(train_until, config, points)
        first_of(children)
        if any((child.exitcode or 0) < 0 for child in children):
            for child in children:  # as a launcher does when one is gone
                child.kill()
        statuses = finish(children)
        if statuses == [0, 0]:
            assert attempt > 0 or all(point is None or point.later for point in points), points
            break
    else:
        run_all(train_run, config, True)
    assert_equal_runs(tmp_path / "run", straight)


def test_a_signal_to_one_process_stops_all_after_the_same_step(
    people: Path, straight: Path, tmp_path: Path
) -> None:
    config = tree(people, tmp_path / "run", **{**EXACT, "checkpoint": {"every_minutes": None}})
    assert finish(start(fail, config, 1, "signal", said=tmp_path)) == [143, 143]
    for rank in range(2):
        assert "stopped by SIGTERM after step 3 (epoch 1)" in (tmp_path / f"{rank}.txt").read_text()
    assert load_state(tmp_path / "run/checkpoints/last.safetensors").info["position"]["step"] == 3
    run_all(train_run, config, True)
    assert_equal_runs(tmp_path / "run", straight)


@pytest.mark.parametrize(("who", "how", "status"), [(1, "kill", -9), (0, "kill", -9), (1, "bug", 1)])
def test_when_one_ends_the_other_leaves_and_writes_nothing(
    people: Path, tmp_path: Path, who: int, how: str, status: int
) -> None:
    config = tree(people, tmp_path / "run", **{**EXACT, "checkpoint": {"every_minutes": None}})
    children = start(fail, config, who, how, said=tmp_path)
    statuses = finish(children)  # exchanges give up after 30 minutes by themselves
    assert statuses[who] == status
    assert statuses[1 - who] == 2
    assert "PeerLost: another process of this run is gone" in (tmp_path / f"{1 - who}.txt").read_text()
    assert not (tmp_path / "run/checkpoints/last.safetensors").exists()


def test_a_test_in_two_processes_is_that_of_one(straight: Path, tmp_path: Path) -> None:
    for world in (1, 2):
        shutil.copytree(straight, tmp_path / str(world))
        run_all(evaluate, str(tmp_path / str(world)), world=world)
    one, two = (read_features(tmp_path / name / "features.npz") for name in "12")
    assert one.images.paths == two.images.paths
    np.testing.assert_allclose(
        one.vectors, two.vectors, rtol=0, atol=1e-5
    )  # of rows of length 1, single precision
    first, second = (read_results(tmp_path / name / "results.json")[0] for name in "12")
    assert first.mean == pytest.approx(second.mean)


def test_another_number_of_processes_is_refused(people: Path, straight: Path, tmp_path: Path) -> None:
    config = tree(people, tmp_path / "run", **EXACT)
    shutil.copytree(straight, tmp_path / "run")
    assert finish(start(train_run, config, True, world=1, said=tmp_path)) == [2]
    assert "it ran in 2 process(es), now 1" in (tmp_path / "0.txt").read_text()
    allowed = {**config, "checkpoint": {"every_steps": 1, "any_world_size": True}}
    assert finish(start(train_run, allowed, True, world=1)) == [0]
