"""Freed memory stays: a large block costs its pages once, and not at every use."""

import subprocess
import sys

import pytest

COUNT = """
import ctypes, resource, sys
from ivreid.machine import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(77)
libc, size = ctypes.CDLL(None), ctypes.c_size_t(64 << 20)  # more than glibc ever keeps by itself
libc.malloc.restype = ctypes.c_void_p
def faults():
    block = ctypes.c_void_p(libc.malloc(size))
    libc.memset(block, 1, size)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
print(max(faults() for _ in range(10)) - first)
"""


def pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, how], check=False, capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("this C library has no mallopt")
    return int(done.stdout)


def test_large_blocks_are_used_again():
    kept, returned = pages("kept"), pages("returned")
    assert kept < 200
    assert returned > 10 * (kept + 1)  # else there is nothing to keep, and this test shows nothing


def test_nothing_happens_elsewhere(monkeypatch):
    from ivreid import machine

    monkeypatch.setattr(machine.sys, "platform", "win32")
    assert machine.keep_freed_memory() is False
