"""Atomic writes, JSON, hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO, UnsupportedOperation
from pathlib import Path
from typing import Any, BinaryIO, cast

from ivreid.errors import DataError
from ivreid.io.outputs import is_stream
from ivreid.paths import refuse_control_characters

HOUR = 3600.0


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Write a file whole or not at all: temporary file in the same folder, synced, then renamed.

    A device or a pipe (`/dev/stdout`) is written to as it is.

    Raises:
        DataError: The disk is full or the folder cannot be written; the old file stays as it was.
        UsageError: The path holds a control character.
    """
    path = Path(path)
    refuse_control_characters(path)
    tmp: Path | None = None
    try:
        if is_stream(path):
            with path.open("wb", buffering=0) as device:
                yield cast(BinaryIO, _Stream(device))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name, older_than=HOUR)
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        tmp = Path(name)
        with os.fdopen(fd, "wb") as file:
            yield file
            _sync(file)
        umask = os.umask(0)
        os.umask(umask)
        tmp.chmod(0o666 & ~umask)
        tmp.replace(path)
        _sync_folder(path.parent)
    except (OSError, UnicodeError) as error:
        raise DataError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}; the previous file, if any, is unchanged"
        ) from error
    finally:
        if tmp is not None:
            tmp.unlink(missing_ok=True)


class _Stream:
    """Writes to a device, which has no positions: a zip archive must not ask for them."""

    def __init__(self, device: BinaryIO | FileIO) -> None:
        self._device = device
        self.flush = device.flush

    def read(self, size: int = -1) -> bytes:
        """Not that it could; numpy takes what has a `read` for a file."""
        raise UnsupportedOperation("read")

    def write(self, data: bytes) -> int:
        """Write all of it."""
        view = memoryview(data).cast("B")
        sent = 0
        while sent < len(view):
            sent += self._device.write(view[sent:]) or 0
        return sent


def remove_leftovers(folder: Path, *names: str, older_than: float = 0) -> None:
    """Remove what atomic writes have left that were killed in the middle.

    Args:
        folder: Where they were written; it may be missing.
        names: The files that were being written; none given: all.
        older_than: Seconds since the leftover was last written; 0 where nobody else can be writing.
    """
    starts = tuple(f".{name}." for name in names) or (".",)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(starts) and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):  # another process was faster
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime >= older_than:
                        Path(entry.path).unlink()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; the file itself is synced
            os.fsync(fd)
    finally:
        os.close(fd)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically; NaN is refused, so that every reader can parse it."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def fingerprint(items: Iterable[tuple[str, object]]) -> str:
    """A 16-digit hash over (key, value) pairs in sorted order, for datasets, splits and models."""
    digest = hashlib.sha256()
    for key, value in sorted((key, str(value)) for key, value in items):
        digest.update(f"{key}\0{value}\0".encode())
    return digest.hexdigest()[:16]


def file_hash(path: Path | str) -> str:
    """A 16-digit hash of a file's bytes.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
