"""The demonstration, as the command and as the call behind it."""

from __future__ import annotations

import pytest

import ivreid as package
from ivreid.demo import STAGES

pytestmark = pytest.mark.slow
SMALL = (
    "epochs=1",
    "method.backbone=test_resnet",
    "data.size=[32,16]",
    "data.synthetic={identities: 16, images: 3, size: [32, 16]}",
    "batch={identities: 3, instances: 2}",
    "evaluation=[{draw: agw}]",
)


def test_the_call_tells_each_stage_and_the_command_uses_what_it_made(ivreid, tmp_path):
    words = [*SMALL, f"data.root={tmp_path / 'people'}", f"out={tmp_path / 'run'}"]
    stages, lines, shown = [], [], []
    made = package.run_demo(
        package.load_config("demo", words),
        stage=lambda *which: stages.append(which),
        notice=lines.append,
        show_results=shown.extend,
    )
    assert stages == list(enumerate(STAGES, start=1))
    assert lines[0].startswith("this will take about ") and "drawing, " in lines[0]
    assert made.people.identities == 16 and f"{made.people.images:,} pictures of 16 people" in lines[1]
    assert list(made.results) == shown and shown[0].options["draw"] == "agw"
    assert made.report == tmp_path / "run" / "report.html" and str(made.report) in lines[-1]
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()

    done = ivreid("demo", *(word for one in words for word in ("--set", one)))
    assert done.status == 0, done.err
    assert "this will take" not in done.err  # nothing is left to do
    assert "already there" in done.err and "4 of 4  Report" in done.err
    assert done.err.index("What to try next") > done.err.index("report.html: open it in a browser")
    assert "Rank-1" in done.out
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights


def test_it_needs_a_folder_before_it_draws(ivreid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = ivreid("demo", "--set", "out=null")
    assert done.status == 2 and "--out RUN_DIR" in done.err
    assert not list(tmp_path.iterdir())
