"""The log of a run: its rows, the callbacks that receive them, TensorBoard's curves."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ivreid.config import Config
from ivreid.methods import get_method
from ivreid.training import read_log, step_log, train
from ivreid.training.curves import Curves
from ivreid.training.log import RunLog

Make = Callable[..., Config]


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(p.step, p.value) for p in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_every_row(tiny_config: Make) -> None:
    run = train(tiny_config(epochs=2)).folder
    rows = read_log(run / "metrics.jsonl")
    steps = [row for row in rows if row["kind"] == "step"]
    validations = [row for row in rows if row["kind"] == "validation"]
    found = points(run / "tensorboard")
    assert set(found) == {
        *(f"train/{name}" for name in ("loss", "grad_norm", "images_per_second", "data_wait", "memory_gib")),
        *(f"terms/{name}" for name in steps[0]["terms"]),
        *(f"lr/{name}" for name in steps[0]["rates"]),
        *(f"validation/{name}" for name in ("rank1", "mAP", "mINP")),
    }
    assert [step for step, _ in found["train/loss"]] == [row["step"] for row in steps]
    assert [y for _, y in found["train/loss"]] == pytest.approx([row["loss"] for row in steps], rel=1e-6)
    assert [y for _, y in found["terms/triplet"]] == pytest.approx(
        [row["terms"]["triplet"] for row in steps], rel=1e-6
    )
    assert found["validation/mAP"] == [
        (row["step"], pytest.approx(row["mAP"], rel=1e-6)) for row in validations
    ]


def test_what_a_method_measures_stands_beside_its_losses(tiny_config: Make) -> None:
    method = {"name": "caj", **get_method("caj").small}
    run = train(tiny_config(epochs=1, method=method, accumulate=2)).folder
    steps = [row for row in read_log(run / "metrics.jsonl") if row["kind"] == "step"]
    for row in steps:
        assert set(row["terms"]) == {"identity", "triplet"} and set(row["measures"]) == {"gap"}
        assert row["loss"] == pytest.approx(sum(row["terms"].values()))
    found = points(run / "tensorboard")["measures/gap"]
    assert found == [(row["step"], pytest.approx(row["measures"]["gap"], rel=1e-6)) for row in steps]


def test_a_resumed_run_hides_the_points_it_makes_again(tmp_path: Path) -> None:
    row = {"kind": "step", "loss": 1.0, "terms": {}, "rates": {}}
    killed = Curves(tmp_path)
    for step in (1, 2, 3, 4):
        killed({**row, "step": step})
    killed.close()
    resumed = Curves(tmp_path, step=2)
    resumed({**row, "step": 3, "loss": 5.0})
    resumed.close()
    assert points(tmp_path)["train/loss"] == [(1, 1.0), (2, 1.0), (3, 5.0)]


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_callback_that_fails_is_told_once_and_never_ends_a_run(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def fills_up(self: Curves, **event: Any) -> None:
        nonlocal calls
        calls += 1
        full()

    real = Curves.__init__

    def opened(self: Curves, *args: Any) -> None:
        real(self, *args)
        monkeypatch.setattr(Curves, "_write", fills_up)

    monkeypatch.setattr(Curves, "__init__", opened)
    told: list[str] = []
    run = train(tiny_config(epochs=2), notice=told.append).folder
    assert calls == 1
    assert [line for line in told if "TensorBoard" in line] == [
        "TensorBoard gets no more of the log (No space left on device); training goes on"
    ]
    assert [row["epoch"] for row in read_log(run / "metrics.jsonl") if row["kind"] == "validation"] == [0, 1]


def test_a_folder_in_which_no_curves_can_be_written(tiny_config: Make) -> None:
    config = tiny_config(epochs=1)
    assert config.out is not None
    config.out.mkdir()
    (config.out / "tensorboard").write_text("a file in the way")
    told: list[str] = []
    train(config, notice=told.append)
    (line,) = (line for line in told if "TensorBoard" in line)
    assert "no TensorBoard curves: cannot write" in line and "File exists" in line


def test_without_tensorboard_a_run_goes_on(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    told: list[str] = []
    run = train(tiny_config(epochs=1), notice=told.append).folder
    assert "no TensorBoard curves: tensorboard is not installed (pip install 'ivreid[tensorboard]')" in told
    assert not (run / "tensorboard").exists()


def test_callbacks_receive_every_row_in_order_and_are_closed(tmp_path: Path) -> None:
    class Seen(list[dict[str, Any]]):
        closed = False

        def __call__(self, row: dict[str, Any]) -> None:
            self.append(row)

        def close(self) -> None:
            self.closed = True

    seen, told = Seen(), list[str]()

    def bad(row: dict[str, Any]) -> None:
        if row["step"] == 2:
            raise ValueError("no\x1b[31m more")

    log = RunLog(tmp_path / "metrics.jsonl", callbacks=[bad, seen], notice=told.append)
    rows = [{"kind": "step", "step": step} for step in (1, 2, 3)]
    log.write(rows[:1])
    log.write([])
    log.write(rows[1:])
    log.close()
    assert list(seen) == rows == read_log(tmp_path / "metrics.jsonl")
    assert seen.closed
    assert told == ["function gets no more of the log (no?[31m more); training goes on"]


def test_a_log_shorter_than_the_checkpoint_says_is_noticed(tiny_config: Make) -> None:
    config = tiny_config(epochs=1)
    run = train(config).folder
    path = run / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + 30])  # the first row, and some of the second
    told: list[str] = []
    train(tiny_config(epochs=2), resume=True, notice=told.append)
    lost = len(whole) - whole.index(b"\n") - 1
    assert any(f"metrics.jsonl lacks its last {lost:,} bytes" in line for line in told)
    steps = [row["step"] for row in read_log(path) if row["kind"] == "step"]
    after = sum(row.count(b'"kind": "step"') for row in whole.splitlines())
    assert steps[0] == 1 and steps[1] == after + 1  # whole rows, and no number twice
    train(tiny_config(epochs=3), resume=True, notice=(again := list[str]()).append)
    assert not any("lacks" in line for line in again)  # the new checkpoint knows


def test_a_log_that_is_gone_is_noticed(tiny_config: Make) -> None:
    run = train(tiny_config(epochs=1)).folder
    (run / "metrics.jsonl").unlink()
    told: list[str] = []
    train(tiny_config(epochs=2), resume=True, notice=told.append)
    assert any("metrics.jsonl lacks" in line for line in told)


def test_rows_held_for_a_gpu_are_read_some_at_a_time() -> None:
    import torch

    from ivreid.training.health import Health

    written: list[list[int]] = []

    class File:
        def write(self, rows: list[dict[str, Any]]) -> None:
            written.append([row["step"] for row in rows])

    held = step_log.StepLog(File(), Health(None), torch.device("meta"), scaled=False)  # type: ignore[arg-type]
    held.device = torch.device("cuda")  # only its type is looked at

    def memory(_: Any) -> float:
        return 0.0

    step_log.memory_gib, real = memory, step_log.memory_gib
    try:
        for step in range(1, 13):
            held.add(
                {"kind": "step", "step": step, "rates": {"all": 0.1}}, ["loss"], torch.tensor([1.0, 2.0])
            )
            if held.due():
                held.flush()
        held.flush()
    finally:
        step_log.memory_gib = real
    assert written == [list(range(1, 11)), [11, 12]]
