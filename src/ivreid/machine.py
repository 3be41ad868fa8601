"""The machine this process runs on: its cores and its memory."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def available_cores() -> int:
    """Cores this process may use; fewer than the machine has where it is confined to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
