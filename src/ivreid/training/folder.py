"""The run folder: what lies where, who may write it, and what produced it."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank
from ivreid.errors import TrainingError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.io import remove_leftovers, try_lock
from ivreid.reading import clean


@contextmanager
def open_folder(
    path: Path | str,
    process: ProcessRank = SINGLE_PROCESS,
    *,
    resume: bool,
    notice: Callable[[str], None] = lambda _: None,
) -> Iterator[RunFolder]:
    """Make the run folder and hold it alone; the lock falls when the process ends, however it ends.

    A folder in which a start failed before its first checkpoint is taken over. Rank 0 does all this; the other
    processes of a run only know where it is.

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
        if _lock(lock, folder.path):
            written_here = (folder.config, folder.environment, folder.weights)  # by nobody else
            remove_leftovers(folder.path, *(file.name for file in written_here))
            remove_leftovers(folder.last.parent)
        else:
            notice(
                f"{folder.path} lies on a file system without locks: make sure that no other process trains there"
            )
        if folder.holds_a_run() and not resume:
            raise TrainingError(
                f"{folder.path} already holds a run; continue it with --resume, or choose another folder "
                "with --out"
            )
        yield folder
    finally:
        os.close(lock)


def _lock(file: int, path: Path) -> bool:
    """Take the folder for this process; False where there are no locks, and so no knowing who else is there."""
    held = try_lock(file)
    if held == "theirs":
        holder = os.pread(file, 64, 0).decode(errors="replace").strip() or "another process"
        raise TrainingError(
            f"{path} is in use by {clean(holder)}: two runs must not write one folder; wait for it, or choose "
            "another --out"
        )
    with contextlib.suppress(OSError):  # a full disk: who holds it is only a courtesy
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
    return held == "mine"


def versions() -> dict[str, str]:
    """Versions of everything that can move a figure."""
    found = {"python": platform.python_version()}
    for package in ("ivreid", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_revision(file: Path = Path(__file__)) -> str | None:
    """The revision of this source, with `+` where files differ from it.

    Args:
        file: This file; it lies in `src/ivreid/training/` of a checkout.

    Returns:
        None outside a checkout of ivreid: an installed package may lie below some other repository.
    """
    file = file.resolve()
    ours = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=file.parent, capture_output=True, text=True, timeout=10, check=True, env=ours
        ).stdout

    try:
        if not Path(git("rev-parse", "--show-toplevel").strip()).samefile(file.parents[3]):
            return None
        git("ls-files", "--error-unmatch", file.name)
        changed = git("status", "--porcelain", "--untracked-files=no", str(file.parents[1]))
        return git("rev-parse", "HEAD").strip() + ("+" if changed else "")
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
