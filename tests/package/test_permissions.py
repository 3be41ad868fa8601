"""Files and folders that may not be read or written: named, with the reason, and status 2."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ivreid import io
from ivreid.cli import main
from ivreid.config import load_config
from ivreid.data import CacheKey, open_cache
from ivreid.datasets import load_dataset
from ivreid.datasets.features import read_features
from ivreid.datasets.matlab import read_mat
from ivreid.errors import IvreidError
from ivreid.models import read_weights
from ivreid.models.foreign_checkpoint import read_tensors
from ivreid.protocols import read_results
from ivreid.reading import read_json
from ivreid.training import load_state, read_log
from ivreid.training.run_lock import open_run_folder

pytestmark = pytest.mark.usefixtures("permissions_bind")


def test_the_right_is_given_up_and_given_back(tmp_path: Path) -> None:
    """Also for a program that is started; without this the other tests show nothing."""
    secret = tmp_path / "secret"
    secret.touch(mode=0)
    with pytest.raises(PermissionError):
        secret.read_bytes()
    read = [sys.executable, "-c", f"open({str(secret)!r})"]
    assert b"PermissionError" in subprocess.run(read, check=False, capture_output=True).stderr


READERS = (
    io.read_image,
    io.file_hash,
    load_config,
    load_state,
    read_features,
    read_json,
    read_log,
    read_results,
    read_tensors,
    read_weights,
    lambda path: load_dataset("csv", path),
    lambda path: read_mat(path, "x"),
)


@pytest.mark.parametrize("read", READERS)
def test_what_may_not_be_read_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "kept.npz"
    path.write_bytes(b"{}")
    path.chmod(0)
    with pytest.raises(IvreidError, match="Permission denied") as caught:
        read(path)
    assert str(path) in str(caught.value)


def write(path: Path) -> None:
    with io.atomic_write(path) as file:
        file.write(b"new")


def run_folder(path: Path) -> None:
    with open_run_folder(path, resume=False):
        pass


def cache(path: Path) -> None:
    root = path.parents[1]
    Image.new("RGB", (8, 8)).save(root / "a.png")
    open_cache(path, CacheKey(root, ("a.png",), (8, 8), "a"))


@pytest.mark.parametrize("make", [write, run_folder, cache])
def test_where_nothing_may_be_written_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(IvreidError, match="Permission denied") as caught:
        make(closed / "new")
    assert str(closed / "new") in str(caught.value)
    assert list(closed.iterdir()) == []


def test_the_old_file_stays_where_the_folder_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "closed" / "state.bin"
    write(path)
    path.write_bytes(b"old")
    path.parent.chmod(0o500)
    with pytest.raises(IvreidError, match="Permission denied"):
        write(path)
    assert path.read_bytes() == b"old" and [file.name for file in path.parent.iterdir()] == ["state.bin"]


def test_the_command_line_leaves_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "features.npz"
    path.touch(mode=0)
    with pytest.raises(SystemExit) as left:
        main(["score", str(path), "--protocol", "sysu-mm01"])
    err = capsys.readouterr().err
    assert left.value.code == 2 and "Permission denied" in err and "Traceback" not in err
