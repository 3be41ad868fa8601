"""Output files, looked at before the work: what would fail at its end fails now."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ivreid.errors import DataError, UsageError
from ivreid.paths import refuse_control_characters

_PROBE = bytes(4096)


def check_output(path: Path | str, *, inputs: Iterable[Path | str] = ()) -> None:
    """Refuse an output file that could not be written, or would overwrite what is read.

    It leaves nothing behind: a few bytes are written beside the file, or in the folder that would hold its own,
    and removed.

    Args:
        path: The file to be written; its folder may be missing.
        inputs: What the work reads; the output must not be one of them.

    Raises:
        UsageError: It is an input or a folder, or its name holds a control character.
        DataError: No permission, no space, or a file where a folder should be.
    """
    path = Path(path)
    refuse_control_characters(path)
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file in it")
        for one in map(Path, inputs):
            if path.exists() and one.exists() and path.samefile(one):
                raise UsageError(f"{path} is read here, and would be overwritten; choose another name")
        if is_stream(path):
            return
        prefix = f".{path.name}."  # the name is as long as that of the file that will be written first
        with tempfile.NamedTemporaryFile(prefix=prefix, suffix=".tmp", dir=_nearest_folder(path)) as probe:
            probe.write(_PROBE)
            probe.flush()
            os.fsync(probe.fileno())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write {path}: {why}; choose another place before the work begins") from error


def is_stream(path: Path) -> bool:
    """Whether a path is a device or a pipe (/dev/stdout, /dev/null): written to, never replaced by a file."""
    return path.parent in (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd")) or (
        path.exists() and not path.is_file() and not path.is_dir()
    )


def _nearest_folder(path: Path) -> Path:
    """The folder of a file, or the nearest one above it that is there."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
