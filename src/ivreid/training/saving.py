"""When and where a run's state and weights are written, and how a stopped run is taken up again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ivreid.catalogue import changes
from ivreid.config.schema import Config
from ivreid.errors import DataError, TrainingError
from ivreid.evaluation.position import load_position
from ivreid.evaluation.run_folder import RunFolder
from ivreid.methods import Method
from ivreid.training.batch_checks import what_to_lower
from ivreid.training.checkpoint import (
    TrainingState,
    broadcast_state,
    check_resumable,
    load_state,
    restore_state,
    save_state,
)
from ivreid.training.health import Health
from ivreid.training.records import (
    check_same_run,
    rounding_changes,
    seen_pictures,
    state_info,
    write_card,
    write_run_files,
)
from ivreid.training.setup import RunParts


@dataclass(frozen=True)
class Position:
    """How far a run is: whole epochs, batches of the next one, optimiser steps in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0

    @property
    def epoch_number(self) -> int:
        """Counted from 1, the epoch of the last step taken; 1 before the first."""
        return max(1, self.epoch + (self.batch > 0))

    def is_end(self, config: Config) -> bool:
        """Whether a run that stands here is over: its last epoch, whole or cut short by `steps`, is ended too."""
        if config.steps is None:
            return self.epoch >= config.epochs
        return self.step >= config.steps and self.batch == 0


@dataclass(frozen=True)
class LoopState:
    """What a checkpoint holds besides tensors.

    Attributes:
        position: How far the run is.
        best: Epoch and figures of the weights kept; None before the first validation, or without any.
        health: The watch over the losses.
        log_bytes: Length of `metrics.jsonl` when the state was saved.
    """

    position: Position
    best: dict[str, Any] | None
    health: Health
    log_bytes: int = 0


@dataclass
class Saver:
    """Writes a run's states, weights and records; on every process but rank 0 it writes nothing.

    Attributes:
        config: The run.
        parts: What it is made of.
        folder: Where everything lies.
        saved: When the state was last saved, by the monotonic clock.
    """

    config: Config
    parts: RunParts
    folder: RunFolder
    saved: float = field(default_factory=time.monotonic)

    def due(self, step: int) -> bool:
        """Whether the configuration asks for the state to be saved after this step."""
        when = self.config.checkpoint
        by_steps = when.every_steps is not None and step % when.every_steps == 0
        return by_steps or (
            when.every_minutes is not None and time.monotonic() - self.saved > 60 * when.every_minutes
        )

    def write_run_files(self) -> None:
        """Write the resolved configuration and what produced the run.

        Raises:
            TrainingError: They cannot be written.
        """
        if self.parts.process.is_main:
            write_run_files(self.folder, self.config, self.parts)

    def save(self, path: Path, state: LoopState) -> None:
        """Write the training state; the older file stays until the new one is whole.

        Raises:
            TrainingError: It cannot be written; the message names the last good checkpoint.
        """
        parts = self.parts
        info = state_info(self.config, parts) | {
            "position": asdict(state.position),
            "best": state.best,
            "health": state.health.to_json(),
            "scaler": parts.scaler.state_dict(),
            "log_bytes": state.log_bytes,
        }
        self._writing(
            state.position, lambda: save_state(path, parts.network, parts.optimizer, parts.average, info)
        )
        self.saved = time.monotonic()

    def save_weights(self, network: Method, position: Position, best: dict[str, Any] | None) -> None:
        """Write weights for use.

        Raises:
            TrainingError: As `save`.
        """
        self._writing(
            position,
            lambda: write_card(self.folder.weights, self.config, self.parts, network, best, self._seen),
        )

    @cached_property
    def _seen(self) -> list[str]:
        return seen_pictures(self.config, self.parts)

    def _writing(self, position: Position, write: Callable[[], None]) -> None:
        if not self.parts.process.is_main:
            return
        try:
            write()
        except DataError as error:
            raise TrainingError(
                f"training stopped after step {position.step}: {error}. {self.last_good()}; make room and "
                "continue with --resume"
            ) from error

    def what_to_lower(self) -> str:
        """What to change where a step does not fit into memory, in words."""
        parts = self.parts
        return f"{what_to_lower(self.config, parts.device, parts.precision)}. {self.last_good()}"

    def last_good(self) -> str:
        """Which checkpoint a stopped run can go on from, in words."""
        if not self.folder.last.exists():
            return "No checkpoint had been written yet"
        step = load_position(self.folder.last)["step"]
        return f"The last good checkpoint is {self.folder.last} (step {step})"

    def beginning(self) -> LoopState:
        """Where a run stands before its first step."""
        return LoopState(Position(), None, Health(self.config.health.diverged))

    def restore(self, notice: Callable[[str], None]) -> LoopState:
        """Take up the last checkpoint, on every process; the beginning where there is none yet.

        Args:
            notice: Called with a line that says where the run stands.

        Raises:
            CheckpointError: It is damaged, or of another run.
        """
        parts, state = self.parts, None
        if parts.process.is_main:
            state = self._newest()
            if state is not None:
                check_resumable(state)
                check_same_run(state, self.config, parts)
        state = broadcast_state(parts.process, state)  # other machines need not see the folder
        if state is None:
            notice(f"{self.folder.path} holds no checkpoint yet: training from the start")
            self._set_weights_aside(notice)
            return self.beginning()
        if changed := rounding_changes(state, parts):
            notice(
                f"from here on the run equals one never stopped up to rounding, not to the last bit: {changed}"
            )
        restore_state(state, parts.network, parts.optimizer, parts.average)
        info = state.info
        if parts.scaler.is_enabled():
            parts.scaler.load_state_dict(info["scaler"])
        position = Position(**info["position"])
        source = (
            "" if state.path == self.folder.last else f" from {state.path.name}, for there is no last state"
        )
        notice(
            f"resuming {self.folder.path} after step {position.step} (epoch {position.epoch_number}){source}"
        )
        for line in changes(info.get("plugins")):
            notice(f"warning: {line}")
        health = Health.from_json(self.config.health.diverged, info["health"])
        return LoopState(position, info["best"], health, info["log_bytes"])

    def _newest(self) -> TrainingState | None:
        """The last state; without it (deleted, or killed between the first best and the first last) the newest."""
        last = self.folder.last
        states = [last] if last.exists() else self.folder.states()
        newest = max(states, key=lambda path: load_position(path)["step"], default=None)
        return None if newest is None else load_state(newest)

    def _set_weights_aside(self, notice: Callable[[str], None]) -> None:
        """Keep finished weights whose training states have been deleted: a run from the start makes others."""
        if not self.parts.process.is_main or not self.folder.weights.exists():
            return
        names = (f"weights-before-{number}.safetensors" for number in itertools.count(1))
        aside = next(path for name in names if not (path := self.folder.path / name).exists())
        self.folder.weights.rename(aside)
        notice(f"the weights that lay there without a training state are kept as {aside}")
