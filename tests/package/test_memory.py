"""Freed memory stays: the second use of a large block costs no new pages."""

import subprocess
import sys

import pytest

COUNT = """
import resource, sys
from ivreid.memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(77)
import numpy as np
def faults():
    np.ones(1 << 24, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
print(max(faults() for _ in range(20)) - first)
"""


def pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, how], check=False, capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("this C library has no mallopt")
    return int(done.stdout)


def test_large_blocks_are_used_again():
    assert pages("kept") < 200


def test_nothing_happens_elsewhere(monkeypatch):
    from ivreid import memory

    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert memory.keep_freed_memory() is False
