"""Reproduced figures: each row's own result, and how it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_evaluation import write_regdb

from ivreid.cli.reproduce_text import show_reproduction
from ivreid.datasets import DatasetReport, load_dataset
from ivreid.errors import ProtocolError
from ivreid.methods.publication import PublishedFigures
from ivreid.protocols import Result, TrialResult, make_protocol
from ivreid.reproduction import Compared, Reproduction
from ivreid.reproduction.published import result_of
from ivreid.reproduction.training import without_folder
from ivreid.retrieval import parse_reranker


def test_a_row_has_the_result_of_its_own_setting_wherever_it_stands(tmp_path: Path) -> None:
    data = load_dataset("regdb", write_regdb(tmp_path / "regdb"))
    row = PublishedFigures("regdb", "visible-to-infrared", 90.0, 80.0, rerank="aim:k1=8,k2=2")
    backward, forward = (result_of_regdb(way) for way in ("infrared-to-visible", "visible-to-infrared"))
    label = parse_reranker(row.rerank).label
    right = replace(forward, rerank=label, options={**forward.options, "trial": "1-10"})
    results = [backward, replace(backward, rerank=label), forward, right]
    assert result_of(row, results, data, None) is right
    assert result_of(replace(row, rerank=""), results, data, None) is forward
    with pytest.raises(ProtocolError, match=r"visible-to-infrared .* was not measured"):
        result_of(row, results[:3], data, None)


def result_of_regdb(direction: str, trials: int = 1) -> Result:
    """One without images: all queries at rank 1, or with a spread over several trials."""
    found = [
        TrialResult(
            rank1=1 - n / 2, rank5=1.0, rank10=1.0, rank20=1.0, mAP=1 - n / 4, mINP=0.5, cmc=(1 - n / 2,)
        )
        for n in range(trials)
    ]
    protocol = make_protocol("regdb", direction=direction, trial=1)
    intervals = {
        name: {"low": 0.0, "high": 1.0, "confidence": 0.95, "method": "bootstrap"}
        for name in ("rank1", "mAP", "mINP")
    }
    return Result(
        "regdb",
        protocol.title,
        1,
        {**protocol.options, "metric": "cosine"},
        4,
        4,
        4,
        tuple(found),
        extra={"intervals": intervals},
    )


def test_a_terminal_of_80_columns_shows_every_word_and_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = []
    for direction in ("visible-to-infrared", "infrared-to-visible"):
        source = "rerun by the benchmark's authors"
        row = PublishedFigures("regdb", direction, 100.0, 80.0, 60.0, kind="transductive", source=source)
        rows.append(Compared(row, result_of_regdb(direction, trials=2)))
    report = DatasetReport("regdb", Path(), "f", (), (), (), "nothing")
    show_reproduction(
        Reproduction("saai", "regdb", {}, tuple(rows), ("a reason",), report, {}, Path("r.json"))
    )
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown and "..." not in shown
    for part in (
        "visible-to-infrared, from rerun by the benchmark's authors, transductive",
        "infrared-to-visible, from rerun by the benchmark's authors, transductive",
        "100.00   75.00 ± 25.00   0.00 .. 100.00",
        "-25.00",
        "ours - published",
        "- a reason",
    ):
        assert part in shown


def test_a_file_of_a_change_is_told_without_its_folder(tmp_path: Path) -> None:
    assert without_folder(f"init_from={tmp_path / 'w.safetensors'}") == "init_from=w.safetensors"
    assert without_folder("init_from=~/w.safetensors") == "init_from=w.safetensors"
    assert without_folder("data.size=[32,16]") == "data.size=[32,16]"
