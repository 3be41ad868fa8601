"""The run folder: what lies where, who may write it, and what produced it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank
from ivreid.errors import TrainingError
from ivreid.evaluation.run_folder import RunFolder


@contextmanager
def open_folder(
    path: Path | str, process: ProcessRank = SINGLE_PROCESS, *, resume: bool
) -> Iterator[RunFolder]:
    """Make the run folder and hold it alone; the lock falls when the process ends, however it ends.

    Rank 0 does so; the other processes of a run only know where it is.

    Raises:
        TrainingError: The folder cannot be written, another process trains there, or it already holds a run
            and `resume` is not set.
    """
    folder = RunFolder(Path(path))
    if not process.is_main:
        yield folder
        return
    try:
        (folder.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise TrainingError(
            f"cannot write the run folder {folder.path}: {error.strerror}; choose another with --out"
        ) from error
    try:
        _lock(lock, folder.path)
        if folder.holds_a_run() and not resume:
            raise TrainingError(
                f"{folder.path} already holds a run; continue it with --resume, or choose another folder "
                "with --out"
            )
        yield folder
    finally:
        os.close(lock)


def _lock(file: int, path: Path) -> None:
    """Take the folder by a record lock, which is this process's alone and falls when it is killed."""
    try:
        import fcntl
    except ImportError:  # Windows: no such locks; the check for an existing run still stands
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(file, 64, 0).decode(errors="replace").strip() or "another process"
        raise TrainingError(
            f"{path} is in use by {holder}: two runs must not write one folder; wait for it, or choose "
            "another --out"
        ) from error
    os.ftruncate(file, 0)
    os.pwrite(file, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)


def versions() -> dict[str, str]:
    """Versions of everything that can move a figure."""
    found = {"python": platform.python_version()}
    for package in ("ivreid", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_revision() -> str | None:
    """The revision of this source, with `+` where files differ from it; None outside a checkout."""

    def git(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True
        ).stdout

    try:
        return git("rev-parse", "HEAD").strip() + (
            "+" if git("status", "--porcelain", "--untracked-files=no", ".") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def describe_environment(device: str, threads: int) -> dict[str, Any]:
    """What `environment.json` says about the machine and the code."""
    return {
        "versions": versions(),
        "git_revision": git_revision(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": threads,
        "device": device,
    }
