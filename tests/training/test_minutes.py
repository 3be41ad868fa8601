"""A run by the clock: the steps that fit are measured once, and from then on only steps count."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from trees import tiny_tree
from typer.testing import CliRunner

from ivreid.cli.main import build_app
from ivreid.config import Config, load_config, make_config
from ivreid.distributed.processes import SINGLE_PROCESS
from ivreid.errors import CheckpointError, ConfigError, UsageError
from ivreid.synthetic import synthesise
from ivreid.training import load_state, read_log, train
from ivreid.training import run as training_run
from ivreid.training.batch_checks import _epochs
from ivreid.training.budget import seconds_per_step
from ivreid.training.loop import Run
from ivreid.training.saving import Position

Make = Callable[..., Config]


class Stop(Exception):
    pass


def state(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    found = load_state(folder / "checkpoints" / "last.safetensors")
    return found.info["position"], found.tensors


def same(one: Path, other: Path) -> bool:
    (here, mine), (there, theirs) = state(one), state(other)
    return (
        here == there
        and mine.keys() == theirs.keys()
        and all(torch.equal(value, theirs[key]) for key, value in mine.items())
    )


def by_steps(make: Make, out: Path, steps: int | None, **changes: Any) -> Config:
    return make(out=str(out), steps=steps, ema=0.9, schedule={"name": "cosine", "warmup": 1}, **changes)


def test_steps_end_a_run_in_the_middle_of_an_epoch_with_the_whole_schedule(
    tiny_config: Make, tmp_path: Path
) -> None:
    summary = train(by_steps(tiny_config, tmp_path / "run", 6))  # an epoch has 4
    assert summary.steps == 6
    rows = read_log(tmp_path / "run" / "metrics.jsonl")
    assert [row["epoch"] for row in rows if row["kind"] == "validation"] == [0, 1]
    rates = [next(iter(row["rates"].values())) for row in rows if row["kind"] == "step"]
    expected = []  # three epochs' schedule in six steps: each is half an epoch, the first two warm up
    for step in range(6):
        at = step / 2
        rise = 0.1 + 0.9 * at
        expected.append(1e-3 * (rise if at < 1 else 0.5 * (1 + math.cos(math.pi * (at - 1) / 2))))
    assert rates == pytest.approx(expected)
    assert state(tmp_path / "run")[0] == {"epoch": 2, "batch": 0, "step": 6}
    said: list[str] = []
    again = train(by_steps(tiny_config, tmp_path / "run", 6), resume=True, notice=said.append)
    assert again.steps == 6 and "nothing is left to train: all 6 steps are done" in said
    assert any("after step 6 (epoch 2)" in line for line in said)  # in which it ended


def test_measuring_moves_nothing_and_the_number_is_written_before_the_first_step(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(by_steps(tiny_config, tmp_path / "counted", 7))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    measured, real = [], training_run.measure_step

    def measure(*args: Any) -> float:
        measured.append(real(*args))
        assert measured[-1] > 0
        return 60 * 0.5 / 7.4  # the machine's own answer would make the test depend on it

    seen = []
    step = Run.step

    def looking(self: Run, *args: Any) -> None:
        if self.log.file is not None:  # a step of the run, not of measuring
            seen.append(load_config(tmp_path / "clock" / "config.yaml").steps)
        step(self, *args)

    monkeypatch.setattr(training_run, "measure_step", measure)
    monkeypatch.setattr(Run, "step", looking)
    said: list[str] = []
    config = by_steps(tiny_config, tmp_path / "clock", None)
    assert train(config, minutes=0.5, notice=said.append).steps == 7
    assert len(measured) == 1
    assert seen == [7] * 7
    assert "7 steps in 0.5 minutes" in said[0]
    assert torch.equal(before, torch.random.get_rng_state())
    assert same(tmp_path / "counted", tmp_path / "clock")


def test_a_run_by_the_clock_goes_on_with_the_number_it_began_with(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(by_steps(tiny_config, tmp_path / "straight", 7))
    config = by_steps(tiny_config, tmp_path / "run", None, checkpoint={"every_steps": 1})
    step = Run.step

    def stopping(self: Run, *args: Any) -> None:
        if self.position.step == 5:
            raise Stop
        step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "measure_step", lambda *_: 60 / 7.5)
        patch.setattr(Run, "step", stopping)
        with pytest.raises(Stop):
            train(config, minutes=1)
    monkeypatch.setattr(training_run, "measure_step", lambda *_: pytest.fail("measured again"))
    with pytest.raises(CheckpointError, match="steps was 7, now None"):
        train(config, resume=True)
    said: list[str] = []
    assert train(config, minutes=1, resume=True, notice=said.append).steps == 7
    fixed = "config.yaml fixes this run's length at 7 steps"
    assert any(line.startswith("--minutes 1 changes nothing: ") and fixed in line for line in said)
    assert any("after step 5 (epoch 2)" in line for line in said)
    assert same(tmp_path / "straight", tmp_path / "run")
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["steps"] == 7


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_no_time_is_refused(tiny_config: Make, minutes: float) -> None:
    with pytest.raises(UsageError, match=r"--minutes .*a number above 0"):
        train(tiny_config(), minutes=minutes)


def test_two_answers_are_refused(tiny_config: Make) -> None:
    with pytest.raises(UsageError, match=r"--minutes 1 and steps = 3 both say how long"):
        train(tiny_config(steps=3), minutes=1)


def test_a_search_compares_epochs_and_refuses_steps(tiny_config: Make) -> None:
    from ivreid.studies.tuning import check_honest

    with pytest.raises(ConfigError, match="steps = 3: a search compares trials epoch by epoch"):
        check_honest(tiny_config(steps=3))


def test_the_epoch_of_a_position_is_that_of_its_last_step() -> None:
    numbers = [Position(*at).epoch_number for at in ((0, 0, 0), (0, 3, 3), (1, 0, 4), (1, 1, 5))]
    assert numbers == [1, 1, 1, 2]


def test_where_a_run_ends(tiny_config: Make) -> None:
    epochs, steps = tiny_config(), tiny_config(steps=6)
    assert [Position(2, 3, 11).is_end(one) for one in (epochs, steps)] == [False, False]
    assert Position(3, 0, 12).is_end(epochs)
    assert not Position(1, 2, 6).is_end(steps)  # its last epoch is not scored and kept yet
    assert Position(2, 0, 6).is_end(steps)


@pytest.mark.parametrize(
    ("steps", "accumulate", "epochs"), [(None, 1, 3), (1, 1, 1), (8, 1, 2), (9, 1, 3), (5, 3, 3)]
)
def test_batches_are_checked_of_every_epoch_that_steps_reach(
    tiny_config: Make, steps: int | None, accumulate: int, epochs: int
) -> None:
    class FourBatches:
        def batches_in(self, epoch: int) -> int:
            return 4

    config = tiny_config(steps=steps, accumulate=accumulate)
    assert list(_epochs(config, FourBatches())) == list(range(epochs))  # type: ignore[arg-type]


def test_the_first_steps_are_not_timed_and_no_more_than_a_share_of_the_minutes_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, taken = [0.0], [0]
    monkeypatch.setattr("ivreid.training.budget.time.perf_counter", lambda: clock[0])

    def take_step() -> None:
        taken[0] += 1
        clock[0] += 50.0 if taken[0] <= 2 else 0.5

    assert seconds_per_step(take_step, lambda: None, SINGLE_PROCESS, minutes=10) == pytest.approx(0.5)
    assert taken[0] == 2 + 60  # the first two, then 5% of ten minutes
    taken[0] = 0
    assert seconds_per_step(take_step, lambda: None, SINGLE_PROCESS, minutes=0.01) == pytest.approx(0.5)
    assert taken[0] == 2 + 3


def test_a_run_on_drawn_people_goes_on(tmp_path: Path) -> None:
    synthesise(tmp_path / "people", layout="sysu-mm01", identities=16, images=2, size=(32, 16), workers=1)
    tree = {**tiny_tree(tmp_path / "people", tmp_path / "run"), "epochs": 1, "batch": {"identities": 2}}
    steps = train(make_config(tree)).steps
    info = load_state(tmp_path / "run" / "checkpoints" / "last.safetensors").info
    assert info["dataset"]["synthetic"] is True
    assert train(make_config({**tree, "epochs": 2}), resume=True).steps == 2 * steps


def test_the_same_command_with_resume_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "measure_step", lambda *_: 60 / 2.5)
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(tiny_tree(tiny, tmp_path / "run")))
    words = ["train", str(file), "--minutes", "1"]
    for more in ([], ["--resume"], ["--resume"]):
        done = CliRunner().invoke(build_app("train"), [*words, *more])
        assert done.exit_code == 0, (done.output, done.exception)
        assert "2 steps in" in done.output
    clock = load_config(tmp_path / "run" / "config.yaml")
    assert clock.steps == 2
    assert train(clock, minutes=1, resume=True).steps == 2  # its own number is no second answer
    with pytest.raises(UsageError, match="steps = 3 both say how long"):
        train(clock.model_copy(update={"steps": 3}), minutes=1, resume=True)
