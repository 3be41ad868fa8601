"""Ending on request, when a step is whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


@contextmanager
def ended_by_signals(ended: Event) -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM set the event and do nothing else; a second Ctrl-C ends at once."""

    def handle(signum: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()

    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
