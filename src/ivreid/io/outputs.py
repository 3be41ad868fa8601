"""Output files, looked at before the work: what would fail at its end fails now."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ivreid.errors import DataError, IvreidError, UsageError
from ivreid.paths import refuse_control_characters
from ivreid.reading import read_json

_PROBE = bytes(4096)


@dataclass(frozen=True)
class OutputKind:
    """What a file will be.

    Attributes:
        noun: What people call several of them.
        suffix: What its name ends in.
        is_one: Whether an existing file is of this kind, and may be replaced.
    """

    noun: str
    suffix: str
    is_one: Callable[[Path], bool]


def json_with(noun: str, *keys: str) -> OutputKind:
    """JSON objects that have these keys, or a list of them."""

    def is_one(path: Path) -> bool:
        try:
            value = read_json(path)
        except IvreidError:
            return False
        entries = value if isinstance(value, list) else [value]
        return all(isinstance(entry, dict) and entry.keys() >= set(keys) for entry in entries)

    return OutputKind(noun, ".json", is_one)


def starting_with(noun: str, suffix: str, start: bytes) -> OutputKind:
    """Files that begin with these bytes."""

    def is_one(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(len(start)) == start

    return OutputKind(noun, suffix, is_one)


def check_output(
    path: Path | str, kind: OutputKind | None = None, *, inputs: Iterable[Path | str] = (), size: int = 0
) -> None:
    """Refuse an output file that could not be written, or would overwrite what is read.

    It leaves nothing behind: a few bytes are written beside the file, or in the folder that would hold its own,
    and removed.

    Args:
        path: The file to be written; its folder may be missing.
        kind: What it will be; a file of another kind is never replaced.
        inputs: What the work reads; the output must not be one of them.
        size: How many bytes it will hold, as far as is known.

    Raises:
        UsageError: It is an input, a folder or a file of another kind, or its name does not say the kind, or holds
            a control character.
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
        if kind is not None:
            _check_kind(path, kind)
        free = shutil.disk_usage(_nearest_folder(path)).free
        if size > free:
            raise DataError(
                f"cannot write {path}: it needs {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free there"
            )
        prefix = f".{path.name}."  # the name is as long as that of the file that will be written first
        with tempfile.NamedTemporaryFile(prefix=prefix, suffix=".tmp", dir=_nearest_folder(path)) as probe:
            probe.write(_PROBE)
            probe.flush()
            os.fsync(probe.fileno())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write {path}: {why}; choose another place before the work begins") from error


def _check_kind(path: Path, kind: OutputKind) -> None:
    if path.suffix.lower() != kind.suffix:
        raise UsageError(
            f"{path}: {kind.noun} are written as {kind.suffix}; give {path.with_suffix(kind.suffix)}"
        )
    if path.is_file() and path.stat().st_size and not kind.is_one(path):
        raise UsageError(
            f"{path} holds something else than {kind.noun} and would be overwritten: choose another name, or remove it"
        )


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
