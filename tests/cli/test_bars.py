"""Bars on a terminal: what stands on the screen at the end, and what the numbers say on the way."""

from __future__ import annotations

import io
import logging
import re

import pytest

from ivreid.cli import progress
from ivreid.cli.terminal import Terminal

CONTROL = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


def screen(written: str) -> list[str]:
    """The lines that a terminal shows after it has received this: carriage returns, erased lines, cursor up."""
    lines, row, column = [""], 0, 0
    for argument, letter, back, down, text in CONTROL.findall(written):
        if back:
            column = 0
        elif down:
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
        elif letter == "K":
            assert argument == "2"
            lines[row] = ""
        elif letter == "A":
            row -= int(argument or 1)
        else:
            assert letter in "mhl", letter  # colours, cursor shown or hidden
    return [line.rstrip() for line in lines if line.strip()]


class Screen(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch, columns: str = "100") -> Screen:
    """Within the test: pytest sets stderr anew after its fixtures."""
    found = Screen()
    monkeypatch.setattr("sys.stderr", found)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", columns)
    return found


@pytest.mark.parametrize("columns", ["100", "50"])
def test_lines_stand_above_the_bars_and_none_is_lost(monkeypatch, columns):
    terminal = open_terminal(monkeypatch, columns)
    other = Terminal(stderr=True)  # a verb's own console, made before the bars
    with progress.progress_bars("Preparing", "Training") as (preparing, training):
        for done in range(1, 4):
            preparing(done, 3)
        for done in range(1, 13):
            training(done, 12)
            if done % 4 == 0:
                other.print(f"epoch {done // 4} of 3: Rank-1 10.0%")
        Terminal(stderr=True).print("a warning of the library")
    other.print("done")
    lines = screen(terminal.getvalue())
    assert lines[:4] == [*(f"epoch {n} of 3: Rank-1 10.0%" for n in (1, 2, 3)), "a warning of the library"]
    assert [line.split()[0] for line in lines[4:]] == ["Preparing", "Training", "done"]
    assert "3/3  took 0:00" in lines[4] and "12/12  took 0:00" in lines[5]
    assert all(len(line) <= int(columns) for line in lines)
    assert ("━" in lines[5]) is (columns == "100")


def test_both_times_are_named_and_a_resumed_run_counts_its_own_steps_alone(monkeypatch):
    terminal = open_terminal(monkeypatch)
    now = 1000.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with progress.progress_bars("Training") as (training,):
        training(101, 200)
        first = terminal.getvalue()
        for done in range(102, 151):
            now += 2
            training(done, 200)
    assert "-:-- left" in first
    shown = screen(terminal.getvalue())[0]
    # 49 steps took 98 s and the one heard of first none; the 50 left cost as the 50 done
    assert "150/200  1:38 elapsed, 1:38 left" in shown


def test_a_total_that_moves_does_not_begin_the_bar_anew(monkeypatch):
    terminal = open_terminal(monkeypatch)
    now = 0.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with progress.progress_bars("Training") as (training,):
        for done in range(1, 31):
            now += 60
            training(done, 100 if done < 20 else 90)
    assert "30/90  29:00 elapsed, 58:00 left" in screen(terminal.getvalue())[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (9.4, "0:09"), (247, "4:07"), (3750, "1:02:30"), (90061, "1 day, 1:01:01")],
)
def test_times_are_written_as_people_do(seconds, text):
    assert progress.clock(seconds) == text


def test_a_console_with_a_file_of_its_own_and_a_quiet_one_stay_what_they_are(monkeypatch):
    terminal = open_terminal(monkeypatch)
    file = io.StringIO()
    with progress.progress_bars("Training") as (training,):
        training(1, 2)
        Terminal(stderr=True, file=file).print("to a file")
        Terminal(stderr=True, quiet=True).print("to nobody")
        logging.getLogger("ivreid").debug("no level for this")
    assert file.getvalue() == "to a file\n"
    assert "nobody" not in terminal.getvalue() and "to a file" not in terminal.getvalue()


def test_a_run_says_what_it_is_in_lines_that_break_at_words(monkeypatch, tmp_path):
    from ivreid.cli.training_summary import show_start
    from ivreid.training.start import StartSummary

    start = StartSummary(
        dataset="sysu-mm01 in data/some/rather/long/folder",
        people=90,
        images=7_200,
        validation=(30, 2_000),
        on_test=False,
        batch=64,
        batches=50,
        epochs=24,
        step=0,
        steps=1_200,
        method="iv-reid with resnet10t",
        parameters=5_500_000,
        machine="cpu, 2 threads, fp32",
        step_seconds=0.5,
        seconds=700.0,
        folder=tmp_path,
        folder_bytes=150_000_000,
        folder_free=60_000_000_000,
        cache=None,
        cache_bytes=0,
    )
    terminal = open_terminal(monkeypatch, "60")
    show_start(start)
    lines = screen(terminal.getvalue())
    assert lines[:2] == [
        "data     sysu-mm01 in data/some/rather/long/folder: 90",
        "         people, 7,200 images; validation on 30 people,",
    ]
    assert "time     about 12 min, validations included (0.5 s a step" in lines
