"""The machine this process runs on: its cores and its memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ivreid.errors import OutOfMemory

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def available_cores() -> int:
    """Cores this process may use; fewer than the machine has where it is confined to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def naming_memory(advice: Callable[[], str]) -> Iterator[None]:
    """Turn running out of memory in the block into a message that says what to lower.

    Args:
        advice: Gives that part of the message.

    Raises:
        OutOfMemory: Memory ran out, of the machine or of an accelerator.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        words = str(error).strip().partition("\n")[0].partition(". ")[0][:200]
        raise OutOfMemory(f"out of memory ({words or 'the system gave no more'}): {advice()}") from error


def _is_out_of_memory(error: BaseException) -> bool:
    said = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in said for words in ("out of memory", "can't allocate memory", "not enough memory"))
    )


def keep_freed_memory() -> bool:
    """Ask the C library to keep large blocks for the next step instead of giving them back after each.

    A training step on a CPU allocates and frees gigabytes. By default glibc returns every large block to the
    system at once, and the next step pays for each of its pages again (`benchmarks/training.py` with
    and without `--give-back`). The price is a peak 20 to 30% higher. The command line does this; in a program of
    your own call it once, before the work.

    Returns:
        Whether this C library knows how (glibc does).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
