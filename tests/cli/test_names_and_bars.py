"""What a command says of itself: how to call it again, and how far it is."""

import shutil
from pathlib import Path

import pytest

from ivreid.cli import progress
from ivreid.cli.invocation import command


@pytest.mark.parametrize(
    ("called", "found", "expected"),
    [
        ("env/bin/ivreid", None, "env/bin/ivreid"),
        ("env/bin/ivreid", "env/bin/ivreid", "ivreid"),
        ("env/bin/ivreid", "other/ivreid", "env/bin/ivreid"),
        ("my env/ivreid", None, "'my env/ivreid'"),
        ("lib/ivreid/__main__.py", None, "python -m ivreid"),
        ("gone/ivreid", "other/ivreid", "ivreid"),
        ("bin/pytest", None, "ivreid"),
    ],
)
def test_the_command_is_named_as_it_can_be_typed(called, found, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("env/bin", "other", "my env"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "ivreid").touch()
    monkeypatch.setattr("sys.argv", [str(tmp_path / called)])
    monkeypatch.setattr(shutil, "which", lambda _: found and str(tmp_path / found))
    assert command() == expected


def test_off_a_terminal_short_work_is_silent_and_a_falling_count_begins_anew(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with progress.progress_bars("Short", "Long") as (short, long):
        for done in range(1, 11):
            short(done, 10)
        for total in (8, 4):  # first 8 pieces, then 4 of another kind
            for done in range(1, total + 1):
                long(done, total)
                now += 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Long: 2 of 8, 0:00:06 left"
    assert [line for line in lines if line.endswith(("8 of 8", "4 of 4"))] == ["Long: 8 of 8", "Long: 4 of 4"]
    assert not any(line.startswith("Short") for line in lines)


def test_a_verbs_file_holds_options_and_printing_and_is_short() -> None:
    """The work of a verb is a public call (docs/python.md), so its file stays small."""
    import ivreid.cli
    from ivreid.cli.main import VERBS

    folder = Path(ivreid.cli.__file__).parent
    files = [*(f"{'import_' if verb == 'import' else verb}.py" for verb in VERBS)]
    files += [file.name for file in folder.glob("gallery_*.py")]
    lines = {file: len((folder / file).read_text().splitlines()) for file in files}
    assert {file: count for file, count in lines.items() if count >= 120} == {}
