"""Progress bars with time left, for work that takes more than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ivreid.cli.terminal import Terminal

Tick = Callable[[int, int], None]

QUIET = 1.0
"""Seconds of work, off a terminal, before the first line."""


@contextmanager
def progress_bar(label: str) -> Iterator[Tick]:
    """A bar on stderr; call the yielded function with (done, total).

    Off a terminal it prints a line a quarter, and nothing of work that is done within a second.
    """
    with progress_bars(label) as (tick,):
        yield tick


@contextmanager
def progress_bars(*labels: str) -> Iterator[list[Tick]]:
    """Bars for work in several parts, one function each; a bar appears when its work begins.

    Where the count falls, the same bar begins anew: images are drawn first and then decoded.
    """
    console = Terminal(stderr=True)
    if not console.is_terminal:
        yield [_plain(label, console) for label in labels]
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=False) as bar:
        yield [_row(label, bar) for label in labels]


def _row(label: str, bar: Progress) -> Tick:
    task: TaskID | None = None
    last = 0

    def tick(done: int, total: int) -> None:
        nonlocal task, last
        if task is None:
            task = bar.add_task(label, total=total)
        elif done < last:
            bar.reset(task, total=total)
        last = done
        bar.update(task, completed=done, total=total)

    return tick


def _plain(label: str, console: Terminal) -> Tick:
    quarter, began, last = -1, 0.0, 0

    def tick(done: int, total: int) -> None:
        nonlocal quarter, began, last
        if not began or done < last:
            quarter, began = -1, monotonic()
        last = done
        now = 4 * done // total if total else 4
        if now > quarter and monotonic() - began > QUIET:
            quarter = now
            left = (monotonic() - began) * (total - done) / max(done, 1)
            remaining = f", {timedelta(seconds=round(left))} left" if done < total else ""
            console.print(f"{label}: {done:,} of {total:,}{remaining}")

    return tick
