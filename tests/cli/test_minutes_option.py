"""`--minutes` on the command line: what `train` and `tune` make of it, and the old name in `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ivreid.cli.main import build_app

runner = CliRunner()


@pytest.mark.parametrize("option", ["--minutes", "--timeout"])
def test_a_search_takes_minutes_by_both_names(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    given: dict[str, Any] = {}

    class Enough(Exception):
        pass

    def search(config: Any, space: Any, **options: Any) -> None:
        given.update(options)
        raise Enough

    monkeypatch.setattr("ivreid.studies.tune", search)
    words = ["tune", "demo", "--out", str(tmp_path / "s"), option, "1.5"]
    assert isinstance(runner.invoke(build_app("tune"), words).exception, Enough)
    assert given["minutes"] == 1.5
    both = runner.invoke(build_app("tune"), [*words, "--minutes", "2", "--timeout", "2"])
    assert both.exit_code != 0
    assert "--timeout is the old name of --minutes" in both.output + str(both.exception)
    shown = runner.invoke(build_app("tune"), ["tune", "--help"]).output
    assert "--minutes" in shown and "--timeout" not in shown


def test_minutes_reach_the_run_and_are_refused_for_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    class Enough(Exception):
        pass

    def train(config: Any, **options: Any) -> None:
        given.update(options)
        raise Enough

    monkeypatch.setattr("ivreid.training.train", train)
    words = ["train", "demo", "--out", str(tmp_path / "run"), "--minutes", "2"]
    assert isinstance(runner.invoke(build_app("train"), words).exception, Enough)
    assert given["minutes"] == 2
    study = runner.invoke(build_app("train"), [*words, "--seeds", "0-1"])
    assert study.exit_code != 0
    assert "--minutes 2 is for one run" in study.output + str(study.exception)
