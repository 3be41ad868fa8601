"""Names are printed letter by letter, in what the terminal can show, and none of them controls it."""

from __future__ import annotations

import io
import logging
import re
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table
from rich.text import Text

import ivreid.cli
from ivreid.cli import main
from ivreid.cli.terminal import Terminal, prepare_streams, visible
from ivreid.datasets.features import write_features
from ivreid.types import Embeddings, ImageTable

ODD = "a[bold]b[/bold] [red] :smile: [/] [link=x]"


def printed(*objects, **options) -> str:
    out = io.StringIO()
    Terminal(file=out, width=200, force_terminal=True, color_system="truecolor", **options).print(*objects)
    return out.getvalue()


def test_brackets_and_colons_are_letters():
    table = Table("what", title=ODD)
    table.add_row(ODD)
    assert printed(ODD) == f"{ODD}\n"
    assert printed(table).count(ODD) == 2
    assert printed(Text(ODD)) == f"{ODD}\n"


@pytest.mark.parametrize(
    "sign", ["\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\r", "\b", "\0", "\x7f", "\u202e", "\u2066"]
)
def test_no_control_character_of_a_name_reaches_the_terminal(sign):
    table = Table("what", title=f"t{sign}")
    table.add_row(f"c{sign}")
    shown = printed(f"a{sign}b", table, Text(f"d{sign}", style="red"))
    ours = re.sub(r"\x1b\[[013]+m", "", shown)  # the style of the title and of the text
    assert all(letter == "\n" or letter.isprintable() for letter in ours)
    first = shown.splitlines()[0]
    assert first.startswith("a") and first.endswith("b") and first.isprintable()


def test_lines_and_letters_of_every_script_stay():
    for text in ("one\ntwo", "Käfer 行人 ± × 人物", "é", ""):
        assert visible(text) == text


@contextmanager
def narrow(monkeypatch):
    """Within the block both streams can write ASCII alone; afterwards the list holds what was written."""
    written = []
    with monkeypatch.context() as patch:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        yield written
        for stream in streams:
            stream.flush()
            written.append(stream.buffer.getvalue().decode("ascii"))


def test_letters_that_cannot_be_written_become_the_nearest(monkeypatch):
    with narrow(monkeypatch) as written:
        prepare_streams()
        Terminal().print("36.6 ± 0.4 × … – “é” 人 \udcff ½")
    assert written[0] == '36.6 +/- 0.4 x ... - "e" ? ? 12\n'


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(p, c, f) for p in range(1, 9) for c in range(1, 7) for f in (1, 2)]
    pids, camids, frames = np.array(rows).T
    table = ImageTable(pids, camids, frames, np.isin(camids, (3, 6)))
    write_features(tmp_path / "f.npz", Embeddings(rng.normal(size=(len(rows), 4)), table))
    return tmp_path / "f.npz"


def status(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_every_verb_writes_to_a_narrow_terminal(monkeypatch, features, tiny_data, tiny_run, tmp_path):
    with narrow(monkeypatch) as written:
        assert status("score", features, "--protocol", "sysu-mm01") == 0
        assert status("evaluate", tiny_run, "--device", "cpu") == 0
        assert status("data", "check", "sysu-mm01", tiny_data) == 0
        out = tmp_path / "é.npz"
        assert status("embed", tiny_run, tiny_data / "cam1", "--modality", "visible", "--out", out) == 0
        assert status("doctor") == 0
        for verb in ("train", "score", "evaluate", "methods", "tune"):
            assert status(verb, "--help") == 0
    assert "+/-" in written[0] and "e.npz" in written[0] and "Traceback" not in written[1]


def test_names_with_brackets_are_shown_by_the_verbs(ivreid, tiny_data, tmp_path):
    root = tmp_path / "[bold]people[red] :smile:"
    made = ivreid("synth", root, "--identities", 16, "--images", 4, "--size", "32x16", "--workers", 1)
    assert made.status == 0 and str(root) in made.out
    folder = next((root / "cam1").iterdir())
    (folder / "[red]x[green].jpg").write_bytes(b"no picture")
    (folder / "a\x1b[31mb.jpg").write_bytes(b"no picture")
    found = ivreid("data", "check", "sysu-mm01", root)
    assert found.status == 1
    assert "[red]x[green].jpg" in found.out and str(root) in found.err
    assert "\x1b" not in found.out + found.err
    missing = ivreid("train", "sysu-mm01", "--data", tmp_path / "[x]", "--out", tmp_path / "run[x]")
    assert missing.status == 2 and str(tmp_path / "[x]") in missing.err


def test_the_log_of_the_library_is_shown_letter_by_letter(capsys, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    assert status("--help") == 0
    capsys.readouterr()
    logging.getLogger("ivreid.data").warning("[/] %s", "\x1b[2J")
    assert capsys.readouterr().err == "[/] ?[2J\n"


def test_every_verb_writes_through_one_terminal():
    for file in Path(ivreid.cli.__file__).parent.glob("*.py"):
        if file.name != "terminal.py":
            assert not re.search(r"\bConsole\(|(?<!\.)\bprint\(|markup=True", file.read_text()), file.name


def test_a_verb_that_runs_out_of_memory_leaves_with_a_sentence(ivreid, features, monkeypatch):
    def much(*_, **__):
        raise MemoryError("Unable to allocate 8.00 EiB for an array")

    monkeypatch.setattr("ivreid.analysis.score_settings", much)
    found = ivreid("score", features, "--protocol", "sysu-mm01")
    assert found.status == 2
    assert found.err.startswith("error: out of memory (Unable to allocate 8.00 EiB for an array)")
