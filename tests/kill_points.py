"""Ends a process at a counted point of its work: chance lies in the seed, and no clock decides.

Events of the main thread are counted: calls of and returns from Python and C functions. Only few of them touch
files, so those are counted apart as well.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from time_limits import seconds

FILES = frozenset(
    [
        "open",
        "mkstemp",
        "fdopen",
        "write",
        "flush",
        "close",
        "fsync",
        "truncate",
        "ftruncate",
        "pwrite",
        "mkdir",
        "chmod",
        "rename",
        "replace",
        "unlink",
    ]
)
Tally = dict[str, int]
"""Events of some work: `all` of them, and those at `files`."""


@dataclass(frozen=True)
class KillPoint:
    """Where a process ends.

    Attributes:
        event: At which event, from 1.
        kind: Which events count, `all` or `files`.
        later: Seconds that pass before it ends, which may be in the midst of C code.
        signum: What ends it; after a while it is SIGALRM, which does the same.
    """

    event: int
    kind: str = "all"
    later: float = 0.0
    signum: int = signal.SIGKILL

    @classmethod
    def draw(cls, rng: Random, tally: Tally, signum: int = signal.SIGKILL) -> KillPoint:
        """A random point of work that has so many events, or a few less where threads wait for each other."""
        kind = rng.choice(("all", "files"))
        event = rng.randint(1, tally[kind] * 9 // 10)
        if signum == signal.SIGKILL and rng.random() < 0.3:
            return cls(event, kind, later=rng.uniform(0, 0.02), signum=signal.SIGALRM)
        return cls(event, kind, signum=signum)

    def end(self) -> None:
        """Send this process the signal, now or later."""
        if self.later:
            signal.setitimer(signal.ITIMER_REAL, self.later)
        else:
            os.kill(os.getpid(), self.signum)


@contextmanager
def kill_at(point: KillPoint | None) -> Iterator[Tally]:
    """Within, count this thread's events, and end the process at the point."""
    counts = {"all": 0, "files": 0}

    def count(_frame: Any, event: str, arg: Any) -> None:
        kind = "files" if event.startswith("c_") and arg.__name__ in FILES else "all"
        counts["all"] += 1
        if kind == "files":
            counts["files"] += 1
        if point is not None and point.kind in (kind, "all") and counts[point.kind] == point.event:
            sys.setprofile(None)
            point.end()

    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(None)


def run_until(
    point: KillPoint | None, work: Callable[..., object], *args: object, tally: Path | None = None
) -> int | None:
    """Run `work(*args)`, a function of an importable module, in a process of its own that ends at the point.

    Returns:
        Its exit status, negative where a signal ended it; its events go to the file `tally`.
    """
    child = multiprocessing.get_context("forkserver").Process(target=_work, args=(point, work, args, tally))
    child.start()
    child.join(seconds(120))
    return child.exitcode


def count_events(tally: Path, work: Callable[..., object], *args: object) -> Tally:
    """How many events `work(*args)` has in a process of its own; they are left in a file."""
    assert run_until(None, work, *args, tally=tally) == 0
    found: Tally = json.loads(tally.read_text())
    return found


def _work(
    point: KillPoint | None, work: Callable[..., object], args: tuple[object, ...], tally: Path | None
) -> None:
    with kill_at(point) as counts:
        work(*args)
    if tally is not None:
        tally.write_text(json.dumps(counts))
