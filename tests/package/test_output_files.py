"""Output files are looked at before the work, and leave no trace of it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ivreid.errors import DataError, UsageError
from ivreid.io import atomic_write, check_output, outputs


def test_what_can_be_written_passes_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("old")
    for path in (tmp_path / "new.json", tmp_path / "there.json", tmp_path / "a" / "b" / "new.json"):
        check_output(path, inputs=[tmp_path / "other.npz", tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
    assert (tmp_path / "there.json").read_text() == "old"


def test_a_folder_a_file_above_and_an_input_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        check_output(tmp_path)
    with pytest.raises(DataError, match=r"cannot write .*file/o\.json: Not a directory"):
        check_output(tmp_path / "file" / "o.json")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="is read here, and would be overwritten"):
            check_output(tmp_path / name, inputs=[tmp_path / "file"])
    assert (tmp_path / "file").read_text() == "1"


@pytest.mark.usefixtures("permissions_bind")
def test_no_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for path in (closed / "o.json", closed / "deep" / "o.json"):
        with pytest.raises(DataError, match="Permission denied"):
            check_output(path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(outputs.os, "fsync", refuse)
    with pytest.raises(DataError, match=os.strerror(code)):
        check_output(tmp_path / "o.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 300, "x" * 250, "\ud800"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    """250 letters are a name, but not with the temporary file's ending."""
    with pytest.raises(DataError, match="cannot write"):
        check_output(tmp_path / name)
    with pytest.raises(DataError, match="cannot write"), atomic_write(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["C:\new", "a\tb", "a\0b", "\x1b[2J", "a\x85b"])
def test_no_name_is_made_with_a_control_character(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / name, tmp_path / name / "o.json"):
        with pytest.raises(UsageError, match="holds the control character") as caught:
            check_output(path)
        with pytest.raises(UsageError, match="write single quotes"), atomic_write(path):
            pass
        assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_a_device_or_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_output(pipe)
        with atomic_write(pipe) as file:
            file.write(b"figures")
        assert os.read(reader, 100) == b"figures"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_standard_output_as_a_file(tmp_path: Path) -> None:
    """`--json /dev/stdout > FILE`: the link in /dev is not replaced, though it leads to an ordinary file."""
    write = "from ivreid.io import write_text; write_text('/dev/stdout', 'figures')"
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", write], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "figures"
    assert Path("/dev/stdout").is_symlink()
