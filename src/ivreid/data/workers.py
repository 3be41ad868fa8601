"""Ordered work ahead of its consumer, in threads.

Pillow decodes and resizes, and NumPy copies, outside Python's global lock, so threads keep the cores busy
without the start-up time, shared memory and orphans of worker processes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from ivreid.errors import UsageError
from ivreid.machine import available_cores

Item = TypeVar("Item")
Made = TypeVar("Made")

log = logging.getLogger(__name__)


def usable_workers(workers: int | None) -> int:
    """The number of workers to use: `workers`, at most one per core; None means one per core, at most 8.

    Raises:
        UsageError: A negative number.
    """
    cores = available_cores()
    if workers is None:
        return min(cores, 8)
    if workers < 0:
        raise UsageError(f"the number of workers is {workers}; use 0 (no workers) or more")
    if workers > cores:
        _tell_once(workers, cores)
    return min(workers, cores)


@lru_cache
def _tell_once(workers: int, cores: int) -> None:
    log.warning("%d workers asked for, %d core(s) here: using %d", workers, cores, cores)


def prefetch(
    make: Callable[[Item], Made], items: Iterable[Item], workers: int, ahead: int | None = None
) -> Iterator[Made]:
    """Yield `make(item)` in the items' order, working ahead in `workers` threads.

    Args:
        make: Called once per item; what it raises is raised here, in its item's turn.
        items: The work.
        workers: Threads; 0 makes each item when it is asked for.
        ahead: Results held ready at most; default twice the workers.
    """
    if workers == 0:
        yield from map(make, items)
        return
    ahead = 2 * workers if ahead is None else ahead
    pending: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ivreid-data")
    try:
        for item in items:
            pending.append(pool.submit(make, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
