"""The run folder, made and held by one run at a time."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank
from ivreid.errors import TrainingError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.io import remove_leftovers, try_lock
from ivreid.reading import clean

LOCK = ".lock"


@contextmanager
def open_run_folder(
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
        TrainingError: The folder cannot be written, another process trains there, it holds a file that no run
            wrote and this one would overwrite, or it already holds a run and `resume` is not set.
    """
    folder = RunFolder(Path(path))
    if not process.is_main:
        yield folder
        return
    _refuse_foreign_files(folder)
    try:
        (folder.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
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


def _refuse_foreign_files(folder: RunFolder) -> None:
    """Refuse to overwrite a file that no run wrote; every run, and every start that failed, leaves its lock."""
    if (folder.path / LOCK).exists() or folder.holds_a_run():
        return
    there = next(
        (file for file in (folder.config, folder.environment, folder.metrics) if file.exists()), None
    )
    if there is not None:
        raise TrainingError(
            f"{there} is there and no run wrote it; it would be overwritten: choose another folder with --out"
        )


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
