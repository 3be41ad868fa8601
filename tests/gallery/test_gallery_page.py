"""The commands and the code of docs/gallery.md run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pictures import draw, write_model

from ivreid.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "gallery.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "runs" / "demo")
    for n in range(4):
        draw(tmp_path / "day" / f"{n}.png", n)
    draw(tmp_path / "night.png", 9)
    return tmp_path


def test_the_commands_run_one_after_the_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S) for line in block.splitlines()
    ]
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[0] == "ivreid"
        try:
            main(words[1:])
        except SystemExit as left:
            assert not left.code, line
    said = capsys.readouterr().out
    assert "4 of 4 crops searched" in said and '"searched": 4' in said


def test_the_code_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    exec(compile(code, "docs/gallery.md", "exec"), {})
    assert capsys.readouterr().out.count("not calibrated gate 2026-03-01 22:00:00+01:00") == 4
