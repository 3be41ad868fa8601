"""`ivreid runs`: what lies in a folder of runs is named with its state, figures and size."""

from __future__ import annotations

import shutil

import pytest

import ivreid as package
from ivreid.errors import UsageError
from ivreid.io import folder_bytes
from ivreid.protocols import Result, TrialResult, write_results
from ivreid.training.run_lock import open_run_folder

pytestmark = pytest.mark.slow


def test_every_state_is_told_apart(ivreid, tiny_run, tmp_path):
    runs = tmp_path / "runs"
    for name in ("done", "tested", "half", "damaged", "moved", "lost"):
        shutil.copytree(tiny_run, runs / name)
        shutil.rmtree(runs / name / "evaluations", ignore_errors=True)
        (runs / name / "results.json").unlink(missing_ok=True)
    assert ivreid("evaluate", runs / "tested", "--draw", "agw").status == 0
    config = runs / "half" / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 2", "epochs: 5"))
    (runs / "damaged" / "metrics.jsonl").write_text("{not json\n")
    (runs / "damaged" / "config.yaml").write_text("a: [")
    shutil.rmtree(runs / "moved" / "checkpoints")
    shutil.rmtree(runs / "lost" / "checkpoints")
    (runs / "lost" / "weights.safetensors").unlink()  # as a search does
    (runs / "failed").mkdir()
    (runs / "failed" / "config.yaml").write_text("epochs: 3\n")
    (runs / "failed" / ".lock").touch()
    (runs / "other" / "deep").mkdir(parents=True)
    (runs / "other" / "config.yaml").write_text("no: run\n")

    found = {one.path.name: one for one in package.list_runs(runs)}
    assert {name: one.state for name, one in found.items()} == {
        "damaged": "trained",
        "done": "trained",
        "failed": "failed before its first checkpoint",
        "half": "stopped at epoch 2 of 5",
        "lost": "ended, weights removed",
        "moved": "trained",
        "tested": "tested",
    }
    assert list(found) == sorted(found)
    assert found["done"].method == "iv-reid" and found["done"].dataset == "sysu-mm01"
    best = max(
        (
            row
            for row in package.training.read_log(runs / "done" / "metrics.jsonl")
            if row["kind"] == "validation"
        ),
        key=lambda row: row["rank1"],
    )
    assert (found["done"].rank1, found["done"].mean_ap) == (best["rank1"], best["mAP"])
    assert found["done"].measured_on == "validation" and found["tested"].measured_on == "test"
    assert found["damaged"].rank1 is None and found["damaged"].method == ""
    assert found["done"].size == folder_bytes(runs / "done") > 1_000_000

    shown = ivreid("runs", runs)
    assert shown.status == 0 and "half" in shown.out and "stopped at" in shown.out and " val" in shown.out
    assert "7 in " in shown.out
    with open_run_folder(runs / "half", resume=True):
        other = _in_another_process(runs)
    assert "training at" in other


def _in_another_process(runs) -> str:
    import subprocess
    import sys

    code = "import sys, ivreid; print([one.state for one in ivreid.list_runs(sys.argv[1])])"
    return subprocess.run(
        [sys.executable, "-c", code, str(runs)], capture_output=True, text=True, check=True
    ).stdout


def test_a_study_and_a_search_stand_before_their_runs(tiny_run, tmp_path):
    for name in ("study/seed-0", "study/seed-1", "search/trials/0000"):
        shutil.copytree(tiny_run, tmp_path / name)
    (tmp_path / "search" / "study.db").touch()
    shutil.rmtree(tmp_path / "search" / "trials" / "0000" / "checkpoints")
    (tmp_path / "study" / "results.json").write_text("[]")
    found = package.list_runs(tmp_path)
    assert [(one.path.relative_to(tmp_path).as_posix(), one.kind) for one in found] == [
        ("search", "search"),
        ("search/trials/0000", "run"),
        ("study", "study"),
        ("study/seed-0", "run"),
        ("study/seed-1", "run"),
    ]
    assert (found[0].state, found[2].state) == ("1 run", "2 runs")
    assert found[0].rank1 == found[1].rank1 and found[2].rank1 is None
    assert found[2].size >= found[3].size + found[4].size


def test_an_empty_folder_and_none_are_answered(ivreid, tmp_path):
    shown = ivreid("runs", tmp_path)
    assert shown.status == 0 and "holds no run" in shown.err
    with pytest.raises(UsageError, match="no folder"):
        package.list_runs(tmp_path / "none")


def _result(rank1: float, *, rerank: str | None = None, tta: str | None = None) -> Result:
    trial = TrialResult(rank1, rank1, rank1, rank1, rank1 / 2, rank1 / 4, (rank1,))
    return Result("regdb", "RegDB", 1, {}, 1, 1, 1, (trial,), rerank=rerank, tta=tta)


@pytest.mark.parametrize(
    ("results", "shown", "measured_on"),
    [
        ([_result(0.9, rerank="mser"), _result(0.5), _result(0.6)], "50.0", "test"),
        ([_result(0.9, rerank="mser", tta="flip"), _result(0.5, tta="flip")], "50.0", "test"),
        ([_result(0.7, tta="flip"), _result(0.5)], "50.0", "test"),
        ([_result(0.9, rerank="mser"), _result(0.8, rerank="aim")], "90.0 re-ranked", "re-ranked test"),
    ],
)
def test_a_plain_result_stands_for_the_run_and_a_re_ranked_one_is_marked(
    ivreid, tmp_path, results, shown, measured_on
):
    for name in ("run", "study/seed-0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("epochs: 3\n")
    (tmp_path / "run" / ".lock").touch()
    for name in ("run", "study"):
        write_results(tmp_path / name / "results.json", results)
    found = package.list_runs(tmp_path)
    assert [one.measured_on for one in found] == [measured_on, measured_on]
    for line in ivreid("runs", tmp_path).out.splitlines()[1:3]:
        assert f" {shown} " in line and ("re-ranked" in line) == (measured_on != "test")
