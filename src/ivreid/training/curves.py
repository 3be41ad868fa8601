"""The rows of the log as TensorBoard curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_CURVES = ("loss", "grad_norm", "images_per_second", "data_wait", "memory_gib")


class Curves:
    """Draws every row of the log that it is called with.

    Args:
        folder: Where the event files go.
        step: The step being resumed from; TensorBoard hides later points of the run that was stopped.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def __call__(self, row: dict[str, Any]) -> None:
        """Draw one row."""
        for name, value in _points(row).items():
            self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Write what is held, and close the file."""
        self._writer.close()


def _points(row: dict[str, Any]) -> dict[str, float]:
    if row["kind"] == "validation":
        return {f"validation/{name}": row[name] for name in ("rank1", "mAP", "mINP")}
    return {
        **{f"train/{name}": row[name] for name in _CURVES if row.get(name) is not None},
        **{f"terms/{name}": value for name, value in row["terms"].items()},
        **{f"lr/{name}": value for name, value in row["rates"].items()},
    }
