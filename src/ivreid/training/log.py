"""The run's log: JSON lines in a file, and every row to whoever else wants it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ivreid.errors import TrainingError
from ivreid.reading import read_json_lines, reason

Row = dict[str, Any]
Callback = Callable[[Row], None]
"""Receives every row; where it has a `close`, that is called at the end."""


class RunLog:
    """Rows appended to `metrics.jsonl`, and given to callbacks.

    Args:
        path: The JSON-lines file.
        keep: Bytes of the file that belong to the state being resumed; what a killed run wrote after its last
            checkpoint is cut off, for those steps will be run and written again.
        callbacks: Each is called with every row, once it is written. One that fails is called no more: a run
            never ends for it.
        notice: Called with a line for people when that happens.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep: int = 0,
        callbacks: Sequence[Callback] = (),
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path, self.callbacks, self.notice = path, list(callbacks), notice
        try:
            self._file = path.open("ab")
            there = self._file.tell()
            if there > keep:
                os.truncate(path, keep)
            elif there < keep:
                lost = keep - _cut_to_whole_rows(path)
                notice(f"{path} lacks its last {lost:,} bytes: rows before the checkpoint are lost for good")
        except OSError as error:
            raise TrainingError(f"cannot write {path}: {error.strerror}") from error

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows; each has `kind` ("step" or "validation") and `step`."""
        if not rows:
            return
        data = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        with self._writing():
            self._file.write(data)
            self._file.flush()
        for callback in list(self.callbacks):
            with self._excused(callback):
                for row in rows:
                    callback(row)

    def sync(self) -> int:
        """Put every row safely on disk; returns the file's size, which a checkpoint remembers."""
        with self._writing():
            self._file.flush()
            os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file and the callbacks."""
        with contextlib.suppress(OSError):  # every row was flushed when it was written
            self._file.close()
        for callback in list(self.callbacks):
            with self._excused(callback):
                _close(callback)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.path}: {error.strerror}; the last checkpoint is intact"
            ) from error

    @contextmanager
    def _excused(self, callback: Callback) -> Iterator[None]:
        """Go on without a callback that fails."""
        try:
            yield
        except Exception as error:
            self.callbacks.remove(callback)
            name = getattr(callback, "name", type(callback).__name__)
            with contextlib.suppress(Exception):
                _close(callback)
            why = reason(error) or type(error).__name__
            self.notice(f"{name} gets no more of the log ({why}); training goes on")


def _close(callback: Callback) -> None:
    getattr(callback, "close", lambda: None)()


def _cut_to_whole_rows(path: Path) -> int:
    """Cut off a last row that is not whole, so that the next one begins a line; returns the length."""
    whole = path.read_bytes().rfind(b"\n") + 1
    os.truncate(path, whole)
    return whole


def read_log(path: Path) -> list[Row]:
    """Every whole row of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    return read_json_lines(path, error=TrainingError)
