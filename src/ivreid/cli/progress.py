"""Progress bars with time left, for work that takes more than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from ivreid.cli.terminal import Terminal, above_bars, talk

Tick = Callable[[int, int], None]

QUIET = 1.0
"""Seconds of work, off a terminal, before the first line."""

NARROW = 72
"""Columns below which the numbers stand without a bar."""


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

    Where the count falls, the same bar begins anew: images are drawn first and then decoded. The total may move
    while the count does not fall. Lines that are printed meanwhile stand above the bars.
    """
    console = Terminal(stderr=True)
    if talk.quiet or not console.is_terminal:
        yield [_plain(label, console) for label in labels]
        return
    bar = [BarColumn(bar_width=None)] if console.width >= NARROW else []
    columns = (TextColumn("{task.description}", markup=False), *bar, _Numbers())
    with Progress(*columns, console=console) as shown, above_bars(console):
        yield [_row(label, shown) for label in labels]


class Pace:
    """How long some work has taken, and how long its rest will, from when it was first heard of."""

    def __init__(self) -> None:
        self.began, self._before, self._done = monotonic(), -1, 0

    def tell(self, done: int) -> bool:
        """Hear how much is done; True where the count fell and so another work began."""
        anew = done < self._done
        if anew or self._before < 0:
            self.began, self._before = monotonic(), max(done - 1, 0)  # a resumed run did the rest earlier
        self._done = done
        return anew

    def times(self, total: int) -> tuple[float, float]:
        """Seconds passed, and seconds left at the pace so far, pauses between the parts included."""
        passed = monotonic() - self.began
        return passed, passed * (total - self._done) / max(self._done - self._before, 1)


class _Numbers(ProgressColumn):
    """How much of how much, and both times by name."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        total = int(task.total or 0)
        done = f"{int(task.completed):>{len(f'{total:,}')},}/{total:,}"
        pace: Pace = task.fields["pace"]
        if task.finished:
            return Text(f"{done}  took {clock(task.fields['took'])}")
        passed, left = pace.times(total)
        return Text(f"{done}  {clock(passed)} elapsed, {clock(left) if left else '-:--'} left")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as people write them: 4:07, 1:02:30."""
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:") else text


def _row(label: str, shown: Progress) -> Tick:
    task: TaskID | None = None
    pace = Pace()

    def tick(done: int, total: int) -> None:
        nonlocal task
        anew = pace.tell(done)
        if task is None:
            task = shown.add_task(label, total=total, pace=pace, took=0.0)
        elif anew:
            shown.reset(task, total=total)
        shown.update(task, completed=done, total=total, took=monotonic() - pace.began)

    return tick


def _plain(label: str, console: Terminal) -> Tick:
    quarter = -1
    pace = Pace()

    def tick(done: int, total: int) -> None:
        nonlocal quarter
        if pace.tell(done):
            quarter = -1
        now = 4 * done // total if total else 4
        passed, left = pace.times(total)
        if now > quarter and passed > QUIET:
            quarter = now
            remaining = f", {timedelta(seconds=round(left))} left" if done < total else ""
            console.print(f"{label}: {done:,} of {total:,}{remaining}")

    return tick
