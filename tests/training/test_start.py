"""What a run says before its first step, and that saying it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ivreid.cli.terminal import Terminal
from ivreid.cli.training_summary import show_summary
from ivreid.config import Config
from ivreid.evaluation.run_folder import RunFolder
from ivreid.io import folder_bytes
from ivreid.training import run as run_module
from ivreid.training import train
from ivreid.training.budget import QUICK_STEPS, quick_seconds
from ivreid.training.saving import Position
from ivreid.training.setup import build_run_parts
from ivreid.training.start import FORWARD, StartSummary, describe_start, in_words

Make = Callable[..., Config]


def test_it_is_told_before_the_first_step_and_is_true(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config(epochs=2, checkpoint={"keep_every": 1}, data={"cache": False})
    told: list[object] = []
    summary = train(config, on_start=told.append, progress=lambda *done: told.append(done))
    start = told[0]
    assert isinstance(start, StartSummary) and told[1][0] == 1
    assert start.step == 0 and abs(start.steps - summary.steps) <= 2
    assert start.folder == summary.folder and start.epochs == 2
    assert start.batch == config.batch.size and start.people > 0 and start.images > 0
    assert start.validation[0] > 0 and start.validation[1] > 0
    states = (
        folder_bytes(summary.folder / "checkpoints") + (summary.folder / "weights.safetensors").stat().st_size
    )
    assert 0.8 * states < start.folder_bytes < 1.2 * states  # tensors are nearly all of it
    words = dict(start.lines())
    assert list(words) == ["data", "batches", "steps", "method", "machine", "time", "folder"]
    assert f"{start.people} people, {start.images} images; validation on" in words["data"]
    assert "cpu" in words["machine"] and "fp32" in words["machine"] and " thread" in words["machine"]
    assert "s a step here" in words["time"] and str(summary.folder) in words["folder"]


def test_a_run_that_selects_on_the_test_people_says_so(
    tiny_config: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(epochs=1, validation={"select": "published-test", "setting": {"draw": "agw"}})
    told: list[StartSummary] = []
    summary = train(config, on_start=told.append)
    data = dict(told[0].lines())["data"]
    assert (
        f"; selects on the TEST identities (published-test), 24 people, {told[0].validation[1]} images"
        in data
    )
    assert "validation" not in data
    show_summary(summary, Terminal(), "")
    assert "%, chosen on the TEST identities)" in capsys.readouterr().out
    honest = tiny_config(epochs=1, out=str(config.out) + "-honest")
    show_summary(train(honest), Terminal(), "")
    assert "TEST" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("accumulate", "steps", "epochs"), [(1, 3, 1), (1, 4, 1), (1, 5, 2), (3, 3, 2), (3, 4, 2)]
)
def test_with_steps_the_epochs_are_those_that_they_reach(
    tiny_config: Make, accumulate: int, steps: int, epochs: int
) -> None:
    """Four batches an epoch; the last group of an epoch may be short."""
    config = tiny_config(steps=steps, accumulate=accumulate, epochs=7, checkpoint={"every_steps": 1})
    told: list[StartSummary] = []
    train(config, on_start=told.append)
    assert told[0].batches == 4 and told[0].epochs == epochs
    word = "1 epoch" if epochs == 1 else "2 epochs"
    assert dict(told[0].lines())["steps"] == f"{steps} in {word}"


def test_a_resumed_run_reaches_as_many_epochs(tiny_config: Make) -> None:
    config = tiny_config(steps=6)
    parts, folder = build_run_parts(config), RunFolder(Path(str(config.out)))
    folder.path.mkdir()
    for position in (Position(0, 0, 0), Position(0, 3, 3), Position(1, 0, 4), Position(1, 1, 5)):
        assert describe_start(config, parts, folder, (position.step, 6), position, None).epochs == 2


def test_measuring_moves_no_bit_of_the_run(tiny_config: Make, tmp_path: Path) -> None:
    plain = train(tiny_config(epochs=1, out=str(tmp_path / "plain")))
    told = train(tiny_config(epochs=1, out=str(tmp_path / "told")), on_start=lambda _: None)
    states = [(run.folder / "metrics.jsonl").read_text().splitlines() for run in (plain, told)]
    assert [_figures(line) for line in states[0]] == [_figures(line) for line in states[1]]


def _figures(line: str) -> str:
    import json

    row = json.loads(line)
    return json.dumps(
        {key: row[key] for key in row if key not in ("images_per_second", "data_wait", "memory_gib")}
    )


def test_the_time_is_that_of_the_steps_left_and_of_the_validations(tiny_config: Make, monkeypatch) -> None:
    monkeypatch.setattr(run_module, "quick_measure", lambda *_: 3.0)
    config = tiny_config(epochs=2)
    told: list[StartSummary] = []
    train(config, on_start=told.append)
    start = told[0]
    embedded = 2 * start.validation[1] * 3.0 / config.batch.size * FORWARD
    assert start.seconds == pytest.approx(start.steps * 3.0 + embedded)
    longer = tiny_config(epochs=4)
    train(longer, resume=True, on_start=told.append)
    assert told[1].step > 0 and told[1].seconds < told[1].steps * 3.0
    assert f"{told[1].step} of them done" in dict(told[1].lines())["steps"]
    train(longer, resume=True, on_start=told.append)
    assert len(told) == 2  # nothing is left, so nothing begins


def test_a_folder_too_small_and_a_cache_are_said(tiny_config: Make, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IVREID_CACHE", str(tmp_path / "cache"))
    told: list[StartSummary] = []
    train(tiny_config(epochs=1, data={"cache": True}), on_start=told.append)
    start = told[0]
    pixels = sum(file.stat().st_size for file in (tmp_path / "cache").glob("*.safetensors"))
    assert start.cache == tmp_path / "cache" and 0.5 * pixels < start.cache_bytes <= pixels
    assert "decoded images" in dict(start.lines())["cache"]
    assert "NOT FIT" not in dict(start.lines())["folder"]
    assert "THIS WILL NOT FIT" in dict(replace(start, folder_free=1000).lines())["folder"]


@pytest.mark.parametrize("each", [0.1, 4.0])
def test_a_rough_measurement_ends_and_leaves_the_first_step_out(each: float, monkeypatch) -> None:
    now, taken = [0.0], []
    monkeypatch.setattr("ivreid.training.budget.time.perf_counter", lambda: now[0])

    def step() -> None:
        taken.append(1)
        now[0] += each + (1.0 if len(taken) == 1 else 0.0)  # the first warms up

    found = quick_seconds(step, lambda: None)
    assert found == pytest.approx(each if each < 1 else each + 1.0)
    assert 1 <= len(taken) <= QUICK_STEPS and (each < 1 or len(taken) == 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12, "12 s"),
        (89, "89 s"),
        (600, "10 min"),
        (3600, "1 h"),
        (12060, "3 h 21 min"),
        (190000, "2 days, 4 h"),
    ],
)
def test_times_are_said_as_people_do(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
