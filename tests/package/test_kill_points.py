"""The points at which other tests end a process are exact."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from kill_points import KillPoint, kill_at

WORK = """
import sys
from pathlib import Path
from kill_points import KillPoint, kill_at

def work():
    for n in range(3):
        with open(sys.argv[1], "a") as file:
            print(n, file=file)

kind, event = sys.argv[2], int(sys.argv[3])
with kill_at(KillPoint(event, kind) if event else None) as counts:
    work()
print(counts["all"], counts["files"])
"""


def run(out: Path, kind: str, event: int) -> tuple[int, str]:
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(out), kind, str(event)],
        check=False, capture_output=True, text=True, env={"PYTHONPATH": path},
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_process_ends_at_its_point_and_not_beyond_the_last(tmp_path: Path) -> None:
    status, said = run(tmp_path / "whole", "all", 0)
    every, files = map(int, said.split())
    assert status == 0 and (tmp_path / "whole").read_text() == "0\n1\n2\n" and every > files > 0
    assert run(tmp_path / "a", "all", 0)[1] == said  # the same each time
    assert run(tmp_path / "b", "files", files + 1) == (0, said)
    assert run(tmp_path / "c", "files", 1) == (-signal.SIGKILL, "") and not (tmp_path / "c").exists()
    assert run(tmp_path / "d", "files", 2) == (-signal.SIGKILL, "") and (tmp_path / "d").read_text() == ""
    assert run(tmp_path / "e", "all", every)[0] == -signal.SIGKILL


def test_points_are_drawn_from_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, tally = Random(1), {"all": 1000, "files": 10}
    points = [KillPoint.draw(rng, tally) for _ in range(500)]
    for kind, last in (("all", 900), ("files", 9)):
        events = [point.event for point in points if point.kind == kind]
        assert len(events) > 200 and min(events) >= 1 and 0.9 * last < max(events) <= last
    assert {point.signum for point in points} == {signal.SIGKILL, signal.SIGALRM}
    assert all((point.later > 0) == (point.signum == signal.SIGALRM) for point in points)
    assert {KillPoint.draw(rng, tally, signal.SIGINT).signum for _ in range(50)} == {signal.SIGINT}
    ends: list[int] = []
    monkeypatch.setattr("kill_points.os.kill", lambda _, signum: ends.append(signum))
    with kill_at(KillPoint(2, signum=signal.SIGTERM)):
        len("some"), len("work")
    assert ends == [signal.SIGTERM]
