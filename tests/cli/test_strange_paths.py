"""Every verb with names that no file can have, devices, folders and empty files: one message, no traceback."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ivreid.errors import UsageError
from ivreid.io import atomic_write
from ivreid.paths import user_path

RUN = Path(__file__).resolve().parents[1] / "fixtures" / "v0.1.0" / "run"
ODD = (
    "x" * 300,
    "/".join(["y" * 200] * 30),
    os.fsdecode(b"a\xff.npz"),
    "/dev/zero",
    "/dev/null",
    "dir",
    "empty",
    "none",
)
VERBS = (
    "train @",
    "train run/config.yaml --data @",
    "train run/config.yaml --set data.root=@",
    "train run/config.yaml --set out=@/a",
    "train run/config.yaml --plugin @",
    "tune @",
    "evaluate @",
    "score @",
    "compare @ run/results.json",
    "calibrate @",
    "embed @ run --modality visible --out o.npz",
    "import @ --out o.safetensors",
    "import run/weights.safetensors --out @",
    "report @",
    "data check csv @",
    "data check sysu-mm01 @",
    "doctor @",
    "config show @",
)


def names() -> list[str]:
    return [path.name for path in Path().iterdir()]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_is_wrong_with_a_path(verb, tmp_path, monkeypatch, ivreid):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUN, "run")
    Path("dir").mkdir()
    Path("empty").touch()
    for odd in ODD:
        if not Path(odd[:5]).exists() and odd.startswith("/dev"):
            continue
        found = ivreid(*(word.replace("@", odd) for word in verb.split(" ")))
        assert found.status in (1, 2), (verb, odd[:20])
        assert "error" in found.err.lower()
        assert len(found.err) < 4000 and found.err.count("\n") < 60
        assert not any(name.startswith(("x" * 9, "y" * 9)) for name in names())


def test_names_that_no_file_can_have():
    for name, message in (
        ("x" * 300, "300 letters long"),
        ("a\ud800", "no name"),
        ("a\0b", "control character"),
    ):
        with pytest.raises(UsageError, match=message):
            user_path(name)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no such devices here")  # noqa: PTH110
def test_an_archive_is_written_to_a_device(tmp_path):
    with atomic_write("/dev/null") as file:
        np.savez(file, a=np.arange(3))
    read, write = os.pipe()
    with atomic_write(f"/dev/fd/{write}") as file:
        np.savez(file, a=np.arange(3))
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        archive = zipfile.ZipFile(io.BytesIO(pipe.read()))
    assert archive.testzip() is None
