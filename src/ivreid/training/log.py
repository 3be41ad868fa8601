"""The run's log: JSON lines for programs, TensorBoard for eyes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ivreid.data import Batch
from ivreid.errors import TrainingError
from ivreid.reading import read_json_lines

_CURVES = ("loss", "grad_norm", "images_per_second", "data_wait", "memory_gib")


class RunLog:
    """Rows appended to `metrics.jsonl`, and the same figures as TensorBoard curves.

    Args:
        path: The JSON-lines file.
        tensorboard: Folder of event files, or None for no curves.
        keep: Bytes of the file that belong to the state being resumed; what a killed run wrote after its last
            checkpoint is cut off, for those steps will be run and written again.
        step: The step being resumed from; TensorBoard hides later points of the killed run.
    """

    def __init__(self, path: Path, tensorboard: Path | None, *, keep: int = 0, step: int = 0) -> None:
        self.path = path
        try:
            self._file = path.open("ab")
            if self._file.tell() > keep:
                os.truncate(path, keep)
        except OSError as error:
            raise TrainingError(f"cannot write {path}: {error.strerror}") from error
        self._curves: Any = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._curves = SummaryWriter(str(tensorboard), purge_step=step + 1 if step else None)

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Append rows; each has `kind` ("step" or "validation") and `step`."""
        data = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.path}: {error.strerror}; the last checkpoint is intact"
            ) from error
        if self._curves is not None:
            for row in rows:
                self._draw(row)

    def _draw(self, row: dict[str, Any]) -> None:
        step = row["step"]
        if row["kind"] == "validation":
            for name in ("rank1", "mAP", "mINP"):
                self._curves.add_scalar(f"validation/{name}", row[name], step)
            return
        for name in _CURVES:
            if row.get(name) is not None:
                self._curves.add_scalar(f"train/{name}", row[name], step)
        for name, value in row["terms"].items():
            self._curves.add_scalar(f"terms/{name}", value, step)
        for name, value in row["rates"].items():
            self._curves.add_scalar(f"lr/{name}", value, step)

    def sync(self) -> int:
        """Put every row safely on disk; returns the file's size, which a checkpoint remembers."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close both logs."""
        self._file.close()
        if self._curves is not None:
            self._curves.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Every whole row of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    return read_json_lines(path, error=TrainingError)


class Window:
    """Time and images since the log was last written."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0
        self.images = 0

    def wait_for(self, batches: Iterator[Batch], count: int) -> list[Batch]:
        """Up to `count` batches, timing how long the data path lets training wait."""
        asked = time.perf_counter()
        group = list(islice(batches, count))
        self.waited += time.perf_counter() - asked
        return group

    def speed(self) -> dict[str, float]:
        """Images per second, and the share of the time spent waiting for data."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        return {
            "images_per_second": round(self.images / seconds, 2),
            "data_wait": round(self.waited / seconds, 4),
        }
