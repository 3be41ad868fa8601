"""The run's log: JSON lines in a file, and every row to whoever else wants it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ivreid.errors import TrainingError
from ivreid.reading import read_json_lines

Row = dict[str, Any]


class RunLog:
    """Rows appended to `metrics.jsonl`, and given to callbacks.

    Args:
        path: The JSON-lines file.
        keep: Bytes of the file that belong to the state being resumed; what a killed run wrote after its last
            checkpoint is cut off, for those steps will be run and written again.
        callbacks: Each is called with every row, once it is written.
    """

    def __init__(self, path: Path, *, keep: int = 0, callbacks: Sequence[Callable[[Row], None]] = ()) -> None:
        self.path, self.callbacks = path, tuple(callbacks)
        try:
            self._file = path.open("ab")
            if self._file.tell() > keep:
                os.truncate(path, keep)
        except OSError as error:
            raise TrainingError(f"cannot write {path}: {error.strerror}") from error

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows; each has `kind` ("step" or "validation") and `step`."""
        data = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.path}: {error.strerror}; the last checkpoint is intact"
            ) from error
        for row in rows:
            for callback in self.callbacks:
                callback(row)

    def sync(self) -> int:
        """Put every row safely on disk; returns the file's size, which a checkpoint remembers."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(path: Path) -> list[Row]:
    """Every whole row of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    return read_json_lines(path, error=TrainingError)
