"""The real launcher: one process failing stops all with its error, and a bad start is told once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import tree, write_people

from time_limits import seconds

pytestmark = pytest.mark.slow
HERE = Path(__file__).resolve().parent
LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def torchrun(processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    source = str(HERE.parents[1] / "src")
    return subprocess.run(
        [*LAUNCHER, f"--nproc-per-node={processes}", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds(240),
        env={**os.environ, "PYTHONPATH": source},
    )


def configuration(folder: Path, **changes: object) -> str:
    path = folder / "config.yaml"
    path.write_text(json.dumps(tree(write_people(folder / "data"), folder / "run", **changes)))
    return str(path)


def test_one_process_failing_stops_all_with_its_error(tmp_path: Path) -> None:
    done = torchrun(2, str(HERE / "failing_train.py"), "train", configuration(tmp_path))
    assert done.returncode != 0
    assert done.stderr.count("error:") == 1
    assert "error: out of luck in step 3" in done.stderr
    assert "PeerLost" not in done.stderr
    assert "another process of this run is gone" not in done.stderr
    told = [line for line in done.stdout.splitlines() if "[Gloo]" not in line]  # torch 2.10's own greeting
    assert told == []


def test_a_world_size_that_does_not_divide_the_batch_is_told_once(tmp_path: Path) -> None:
    done = torchrun(3, "-m", "ivreid", "train", configuration(tmp_path))
    assert done.returncode != 0
    assert done.stderr.count("error:") == 1
    assert "error: 3 processes cannot share a batch of 4 identities equally; use 1, 2, 4" in done.stderr
    assert re.search(r"exitcode\s*: 2 ", done.stderr)
    assert not (tmp_path / "run").exists()
