"""From the figures of each step on the device to rows of the run's log, judged on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ivreid.config.parse import dump_config
from ivreid.reading import reason
from ivreid.training.curves import Curves
from ivreid.training.health import Health
from ivreid.training.log import Callback, RunLog
from ivreid.training.loggers import open_loggers
from ivreid.training.saving import LoopState, Saver
from ivreid.training.speed import SpeedMeter

ROWS_HELD_ON_GPU = 10
"""Reading a figure waits for the GPU, so its log rows are read this many at a time."""


class StepLog:
    """The figures of steps until they are read, and the log they are then written to.

    Args:
        file: The run's log; None on every process but rank 0, where nothing is held or written.
        health: Judges every step's figures.
        device: Where the figures are.
        scaled: Whether losses are scaled (fp16), so that a gradient may rightly overflow.
    """

    def __init__(self, file: RunLog | None, health: Health, device: torch.device, *, scaled: bool) -> None:
        self.file, self.health, self.device, self.scaled = file, health, device, scaled
        self.speed = SpeedMeter()
        self._held: list[tuple[dict[str, Any], list[str], Sequence[str], Tensor]] = []

    def add(
        self, row: dict[str, Any], names: list[str], figures: Tensor, measures: Sequence[str] = ()
    ) -> None:
        """Hold one step's figures.

        Args:
            row: What is known of its row.
            names: Its loss terms.
            figures: (terms + measures + 1,) their values, then the norm of the gradient.
            measures: What the method measures besides.
        """
        if self.file is not None:
            self._held.append((row, names, measures, figures))

    def due(self) -> bool:
        """Whether the figures held should be read now."""
        return self.device.type == "cpu" or len(self._held) >= ROWS_HELD_ON_GPU

    def flush(self) -> None:
        """Read the figures held, judge them, write them.

        Raises:
            Diverged: A step is past saving; the steps before it are written.
            TrainingError: The log cannot be written.
        """
        if self.file is None or not self._held:
            return
        held, self._held = self._held, []
        values = torch.stack([figures for *_, figures in held]).tolist()
        shared = {**self.speed.read(), "memory_gib": round(memory_gib(self.device), 3)}
        rows: list[dict[str, Any]] = []
        try:
            for (row, names, measures, _), (*numbers, norm) in zip(held, values, strict=True):
                named = dict(zip(names, numbers[: len(names)], strict=True))
                besides = zip(measures, numbers[len(names) :], strict=True)
                shown = {name: value if math.isfinite(value) else None for name, value in besides}
                grad_norm = None if self.scaled and not math.isfinite(norm) else norm
                self.health.watch(row["step"], named, grad_norm)
                figures = {
                    "loss": sum(named.values()),
                    "terms": named,
                    **({"measures": shown} if shown else {}),
                    "lr": next(iter(row["rates"].values())),
                }
                rows.append({**row, **figures, "grad_norm": grad_norm, **shared})
        finally:
            self.file.write(rows)

    def write(self, row: dict[str, Any]) -> None:
        """Write a row that is no step's; the steps before it are written first."""
        self.flush()
        if self.file is not None:
            self.file.write([row])

    def sync(self) -> int:
        """Put every row safely on disk; returns the log's length in bytes."""
        self.flush()
        return 0 if self.file is None else self.file.sync()

    def close(self) -> None:
        """Close the log."""
        if self.file is not None:
            self.file.close()


def open_log(
    saver: Saver, state: LoopState, notice: Callable[[str], None], loggers: Sequence[str | Callback] = ()
) -> StepLog:
    """Open a run's log at the point where it stands; `loggers` receive every row as the curves do.

    Raises:
        TrainingError: It cannot be written.
    """
    parts, folder, file = saver.parts, saver.folder, None
    if parts.process.is_main:
        curves = _curves(folder.tensorboard, state.position.step, notice)
        callbacks: list[Callback] = [*curves, *open_loggers(loggers, folder.path, dump_config(saver.config))]
        file = RunLog(folder.metrics, keep=state.log_bytes, callbacks=callbacks, notice=notice)
    return StepLog(file, state.health, parts.device, scaled=parts.scaler.is_enabled())


def _curves(folder: Path, step: int, notice: Callable[[str], None]) -> list[Curves]:
    try:
        return [Curves(folder, step)]
    except ImportError:
        notice("no TensorBoard curves: tensorboard is not installed (pip install 'ivreid[tensorboard]')")
    except OSError as error:
        notice(f"no TensorBoard curves: cannot write {folder}: {reason(error)}")
    return []


def memory_gib(device: torch.device) -> float:
    """Peak memory so far: the GPU's, or else this process's own now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import psutil

    return float(psutil.Process().memory_info().rss / 2**30)
