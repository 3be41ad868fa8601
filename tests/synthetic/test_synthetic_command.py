"""`ivreid synth`."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ivreid.cli.synth import parse_size, run
from ivreid.errors import UsageError

app = typer.Typer()
app.command()(run)
OPTIONS = ["--layout", "regdb", "--identities", "4", "--images", "1", "--size", "32x16", "--workers", "1"]


def test_it_writes_says_what_and_reuses(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "out"), *OPTIONS, "--contact-sheet", str(tmp_path / "sheet.png")]
    first, second = (CliRunner().invoke(app, arguments) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert "8 pictures of 4 people, regdb layout, written in" in first.stdout
    assert "already there" in second.stdout
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["128", "128x", "axb", "1x2x3", "-4x8", ""])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="HEIGHTxWIDTH"):
        parse_size(text)


def test_sizes() -> None:
    assert parse_size("384x128") == parse_size("384×128") == parse_size("384 X 128") == (384, 128)
