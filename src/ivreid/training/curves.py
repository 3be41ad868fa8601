"""The rows of the log as TensorBoard curves.

The events are written here and now, not by a thread that fails where nobody can answer.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path
from typing import Any

_CURVES = ("loss", "grad_norm", "images_per_second", "data_wait", "memory_gib")


class Curves:
    """Draws every row of the log that it is called with.

    Args:
        folder: Where the event file goes.
        step: The step being resumed from; TensorBoard hides later points of the run that was stopped.

    Raises:
        ImportError: tensorboard is not installed.
        OSError: The folder cannot be written; so does every call.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path, step: int = 0) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{platform.node()}.{os.getpid()}"
        self._file = RecordWriter((folder / name).open("xb"))
        started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        try:
            self._write(file_version="brain.Event:2")
            self._write(step=step + 1, session_log=started)
        except OSError:
            with contextlib.suppress(OSError):
                self.close()
            raise

    def __call__(self, row: dict[str, Any]) -> None:
        """Draw one row."""
        values = [self._summary.Value(tag=tag, simple_value=y) for tag, y in points(row).items()]
        self._write(step=row["step"], summary=self._summary(value=values))

    def _write(self, **event: Any) -> None:
        self._file.write(self._event(wall_time=time.time(), **event).SerializeToString())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def points(row: dict[str, Any]) -> dict[str, float]:
    """The figures of one row by the names of their curves."""
    if row["kind"] == "validation":
        return {f"validation/{name}": row[name] for name in ("rank1", "mAP", "mINP")}
    return {
        **{f"train/{name}": row[name] for name in _CURVES if row.get(name) is not None},
        **{f"terms/{name}": value for name, value in row["terms"].items()},
        **{f"measures/{name}": value for name, value in row.get("measures", {}).items() if value is not None},
        **{f"lr/{name}": value for name, value in row["rates"].items()},
    }
