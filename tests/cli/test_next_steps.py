"""What is missing or mistaken is answered with the next step, and counts read as people say them."""

from __future__ import annotations

import numpy as np
import pytest

from ivreid.errors import counted
from ivreid.protocols import Result, TrialResult


def one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["score"],
            "Missing option '--protocol'. Choose from: sysu-mm01, regdb, llcm, cross-modality. Example: ivreid",
        ),
        (
            ["config", "show"],
            "Choose from: demo, llcm, regdb, sysu-mm01. Example: ivreid config show sysu-mm01",
        ),
        (["reproduce", "--data", "x"], "Choose from: iv-reid, agw, "),
        (
            ["gallery", "create", "G"],
            "Missing option '--model'. Example: ivreid gallery create G --model runs/agw",
        ),
        (["embed", "a", "b", "--out", "c"], "Missing option '--modality'. Choose from: visible, infrared"),
    ],
)
def test_what_is_missing_names_the_choices_or_shows_a_call(ivreid, words, told):
    done = ivreid(*words)
    assert done.status == 2 and told in one_line(done.err)


def test_compare_says_what_it_wants_and_what_makes_it(ivreid, tmp_path):
    np.savez(tmp_path / "f.npz", embeddings=np.eye(2))
    refused = ivreid("compare", tmp_path / "f.npz", tmp_path / "f.npz")
    assert refused.status == 2
    assert f"`ivreid score {tmp_path / 'f.npz'} --protocol NAME --json results.json`" in one_line(refused.err)
    (tmp_path / "run").mkdir()
    refused = ivreid("compare", tmp_path / "run", tmp_path / "run")
    assert refused.status == 2 and f"`ivreid evaluate {tmp_path / 'run'}`" in one_line(refused.err)


def test_one_problem_is_no_problems(ivreid, tiny_data, tmp_path):
    assert [counted(n, "problem") for n in (0, 1, 1200)] == ["0 problems", "1 problem", "1,200 problems"]
    assert counted(1, "person", "people") == "1 person" and counted(2, "person", "people") == "2 people"
    import shutil

    root = tmp_path / "sysu"
    shutil.copytree(tiny_data, root)
    next((root / "cam1").glob("*/*.jpg")).write_bytes(b"no picture")
    done = ivreid("data", "check", root)
    assert done.status == 1 and f"1 problem in {root}, 1 of them makes it unusable" in one_line(done.err)


def test_a_result_prints_its_title_and_figures():
    def trial(rank1: float) -> TrialResult:
        return TrialResult(rank1, 0.5, 0.75, 1.0, 0.4, 0.3, (rank1, 1.0))

    result = Result("regdb", "RegDB, infrared-to-visible", 2, {}, 10, 10, 20, (trial(0.2), trial(0.4)))
    assert str(result.marked_synthetic()) == (
        "RegDB, infrared-to-visible, 2 trials [SYNTHETIC people]\n"
        "Rank-1 30.00 ± 10.00, Rank-5 50.00 ± 0.00, Rank-10 75.00 ± 0.00, Rank-20 100.00 ± 0.00, "
        "mAP 40.00 ± 0.00, mINP 30.00 ± 0.00 (percent)"
    )
    alone = Result("regdb", "RegDB", 2, {}, 10, 10, 20, (trial(0.2),))
    assert str(alone).startswith("RegDB\nRank-1 20.00, Rank-5 50.00,")
