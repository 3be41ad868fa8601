"""How much a command says: --quiet, --verbose, colours, and what the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ivreid.cli.main import VERBS
from ivreid.cli.progress import progress_bar
from ivreid.cli.terminal import Terminal, set_talk, talk


@pytest.fixture(autouse=True)
def as_before():
    yield
    set_talk(quiet=False, verbose=False)


@pytest.mark.parametrize("words", [("--quiet", "runs", "@"), ("runs", "@", "--quiet"), ("-q", "runs", "@")])
def test_quiet_says_no_note_before_and_after_the_verb(ivreid, tmp_path, words):
    assert "holds no run" in ivreid("runs", tmp_path).err
    done = ivreid(*(tmp_path if word == "@" else word for word in words))
    assert (done.status, done.out, done.err) == (0, "", "")


def test_quiet_still_says_errors_and_results(ivreid, tmp_path):
    failed = ivreid("--quiet", "runs", tmp_path / "none")
    assert failed.status == 2 and failed.err.startswith("error: ") and "no folder" in failed.err
    assert "Traceback" not in failed.err
    assert ivreid("--quiet", "config", "list").out == ivreid("config", "list").out != ""


def test_verbose_says_where_an_error_came_from_and_the_next_call_does_not(ivreid, tmp_path):
    failed = ivreid("runs", tmp_path / "none", "--verbose")
    assert failed.status == 2 and "Traceback" in failed.err and "inventory.py" in failed.err
    assert "Traceback" not in ivreid("runs", tmp_path / "none").err


def test_both_at_once_are_refused(ivreid, tmp_path):
    failed = ivreid("--quiet", "runs", tmp_path, "--verbose")
    assert failed.status == 2 and "exclude each other" in failed.err


def test_quiet_hides_bars_and_lines(capsys, monkeypatch):
    set_talk(quiet=True, verbose=False)
    assert talk.quiet
    with progress_bar("Work") as tick:
        monkeypatch.setattr("ivreid.cli.progress.QUIET", -1.0)
        for done in range(1, 5):
            tick(done, 4)
    Terminal(stderr=True).print("a note")
    Terminal().print("a result")
    assert capsys.readouterr() == ("a result\n", "")


def test_what_stands_after_two_dashes_is_a_name(ivreid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "--quiet").mkdir()
    assert "--quiet holds no run" in ivreid("runs", "--", "--quiet").err


def completed(*words: str) -> str:
    environment = {
        **os.environ,
        "_IVREID_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("ivreid", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "ivreid"], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_the_shell_completes_verbs_and_their_options():
    assert set(completed("e").split()) == {verb for verb in VERBS if verb.startswith("e")}
    assert set(completed("doctor", "--c").split()) == {"--cache", "--clean", "--clean-all"}


def test_the_completion_script_is_shown():
    """Typer looks which shell it runs in; in a test there may be none, so it is named."""
    done = subprocess.run(
        [sys.executable, "-m", "ivreid", "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "_IVREID_COMPLETE=complete_bash" in done.stdout


def test_no_color_means_none(monkeypatch):
    import io

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    plain = io.StringIO()
    Terminal(file=plain, force_terminal=True).print("red", style="red")
    monkeypatch.delenv("NO_COLOR")
    coloured = io.StringIO()
    Terminal(file=coloured, force_terminal=True).print("red", style="red")
    assert "\x1b[31m" in coloured.getvalue() and "\x1b[3" not in plain.getvalue()
    assert plain.getvalue() == "red\n"
