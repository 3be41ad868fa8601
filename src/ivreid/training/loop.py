"""The training loop, top to bottom.

What happens in a step depends on the configuration and (seed, epoch, batch) alone, so a run stopped after any
step and resumed gives, on a CPU, the same bits as one that was never stopped.

In several processes all take every step together and hold the same state after it; rank 0 alone writes.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ivreid.config.schema import Config
from ivreid.data import Batch, normalise
from ivreid.distributed.exchange import barrier, broadcast, reduce_max, reduce_mean
from ivreid.distributed.failure import restarted
from ivreid.distributed.group import process_group
from ivreid.distributed.parallel import accumulate_locally, average_buffers, data_parallel
from ivreid.distributed.processes import ProcessRank, local_device, process_from_environment
from ivreid.errors import ConfigError, DataError, TrainingError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.evaluation.shares import Interrupted
from ivreid.evaluation.validation import validate
from ivreid.methods import Method
from ivreid.training.checkpoint import broadcast_state, load_state, restore_state, save_state
from ivreid.training.engine import autocast, memory_gib, seed_step, set_rates
from ivreid.training.folder import open_folder
from ivreid.training.health import Health
from ivreid.training.log import RunLog, Window
from ivreid.training.records import check_same_run, state_info, write_card, write_run_files
from ivreid.training.schedule import rate_factor
from ivreid.training.setup import RunParts, build_run_parts, check_processes
from ivreid.training.signals import StopSignal, TrainingStopped
from ivreid.types import Progress

ROWS_HELD_ON_GPU = 10
"""Reading a figure waits for the GPU, so its log rows are read this many at a time."""


@dataclass(frozen=True)
class Position:
    """How far a run is: whole epochs, batches of the next one, optimiser steps in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0


@dataclass(frozen=True)
class Summary:
    """What training came to.

    Attributes:
        folder: The run folder.
        steps: Optimiser steps in all.
        best: Epoch and figures of the weights kept; None for a run without validation.
        seconds: Time this call took.
    """

    folder: Path
    steps: int
    best: dict[str, Any] | None
    seconds: float


def train(
    config: Config,
    *,
    resume: bool = False,
    preparing: Progress | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] = lambda _: None,
    on_validation: Callable[[dict[str, Any]], None] | None = None,
) -> Summary:
    """Train a model as the configuration says; everything it makes lies in `config.out`.

    In processes that torchrun started it joins them for one run.

    Args:
        config: The run.
        resume: Continue from the folder's last checkpoint; from the start where there is none yet.
        preparing: Called with (done, total) while images are drawn or decoded before the first step.
        progress: Called with (batches done, batches in all).
        notice: Called with a line for people: validations, and where a resumed run stands.
        on_validation: Called with each validation's row of the log once its epoch is saved; what it raises
            stops the run, which can be resumed.

    Raises:
        TrainingStopped: SIGINT or SIGTERM; the state is saved.
        PeerLost: Another process of the run is gone.
        TrainingError: The loss is NaN or diverges, the disk is full, the folder is in use or holds another
            run.
        IvreidError: Data, weights or options that cannot be used.
    """
    if config.out is None:
        raise ConfigError("out is not set: say where the run folder shall be with --out RUN_DIR")
    started = time.monotonic()
    resume = resume or restarted()
    process = process_from_environment()
    check_processes(config, process)
    with (
        _own_random_state(config.device, process),
        process_group(config.device, process),
        _folder(config.out, process, resume=resume) as folder,
    ):
        resuming = broadcast(process, resume and folder.last.exists())
        parts = build_run_parts(config, process, initial_weights=not resuming, progress=preparing)
        run = Run(config, parts, folder=folder, progress=progress, notice=notice)
        run.on_validation = on_validation
        try:
            if resume:
                run.resume()
            run.start_log()
            with run.stop:
                run.fit()
        finally:
            run.close()
        return Summary(folder.path, run.at.step, run.best, time.monotonic() - started)


def _own_random_state(device: str, process: ProcessRank) -> AbstractContextManager[None]:
    """Give back what a step's seeds change: the generators of the CPU and of this process's own card."""
    own = local_device(device, process)
    return torch.random.fork_rng(devices=[own] if own.type == "cuda" else [])


def _folder(path: Path, process: ProcessRank, *, resume: bool) -> AbstractContextManager[RunFolder]:
    """The run folder, made and held by the process that writes; the others only know where it is."""
    return open_folder(path, resume=resume) if process.is_main else nullcontext(RunFolder(path))


class Run:
    """A run in progress: where it stands, and what it takes to go on."""

    def __init__(
        self,
        config: Config,
        parts: RunParts,
        *,
        folder: RunFolder,
        progress: Progress | None,
        notice: Callable[[str], None],
    ) -> None:
        self.config, self.parts, self.folder, self.process = config, parts, folder, parts.process
        self.progress = progress if self.process.is_main else None
        self.notice = notice if self.process.is_main else lambda _: None
        self.on_validation: Callable[[dict[str, Any]], None] | None = None
        self.stop = StopSignal(launched=not self.process.is_single)
        self.model: nn.Module = parts.network
        self.at = Position()
        self.best: dict[str, Any] | None = None
        self.health = Health(config.health.diverged)
        self.log: RunLog | None = None
        self.log_bytes = 0
        self.rows: list[tuple[dict[str, Any], Tensor]] = []
        self.saved = time.monotonic()
        self.window = Window()

    # The loop

    def fit(self) -> None:
        """Train from where the run stands to the last epoch."""
        self.model = data_parallel(self.process, self.parts.network)
        self.window = Window()
        for epoch in range(self.at.epoch, self.config.epochs):
            self.epoch(epoch)
            self.end_epoch(epoch)

    def epoch(self, epoch: int) -> None:
        """The rest of one epoch's batches."""
        total = self.parts.loader.batches_in(epoch)
        with closing(self.parts.loader.epoch(epoch, self.at.batch)) as batches:  # type: ignore[type-var]
            while self.at.batch < total:
                group = self.window.wait_for(batches, self.config.accumulate)
                self.step(group, epoch, total)
                self.at = replace(self.at, batch=self.at.batch + len(group), step=self.at.step + 1)
                if self.progress is not None:
                    self.progress(epoch * total + self.at.batch, self.config.epochs * total)
                self.between_steps()

    def step(self, group: list[Batch], epoch: int, batches: int) -> None:
        """One optimiser step on the mean loss of a group of batches."""
        config, parts, step = self.config, self.parts, self.at.step + 1
        factor = rate_factor(config.schedule, epoch + self.at.batch / batches, config.epochs)
        rates = set_rates(parts.optimizer, factor)
        seed_step(config.seed, step, self.process.rank)
        parts.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for number, loaded in enumerate(group, start=1):
            batch = loaded.to(parts.device)
            images = normalise(batch.images, config.data.mean, config.data.std, config.channels_last)
            with accumulate_locally(self.model, number < len(group)):
                with autocast(parts.precision, parts.device):
                    terms = self.model(images, batch.labels, batch.infrared)
                loss = torch.stack([term.float() for term in terms.values()]).sum() / len(group)
                parts.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach().float() / len(group)
        parts.scaler.unscale_(parts.optimizer)
        gradients = [p.grad for p in parts.network.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if config.clip is not None:
            nn.utils.clip_grads_with_norm_(parts.network.parameters(), config.clip, norm)
        parts.scaler.step(parts.optimizer)
        parts.scaler.update()
        if not config.sync_batchnorm:
            average_buffers(self.process, parts.network)
        if parts.average is not None:
            parts.average.update(parts.network, step)
        row = {"kind": "step", "step": step, "epoch": epoch, "rates": rates, "names": list(sums)}
        figures = torch.stack([*sums.values(), norm.float()])
        self.rows.append((row, reduce_mean(self.process, figures)))
        self.window.images += sum(len(batch) for batch in group) * self.process.world_size

    def between_steps(self) -> None:
        """Read the figures, save when it is time, stop when asked to."""
        if self.parts.device.type == "cpu" or len(self.rows) >= ROWS_HELD_ON_GPU:
            self.flush()
        if signum := self._asked_to_stop():
            self.stop_here(signum)
        due = self.config.checkpoint
        by_steps = due.every_steps is not None and self.at.step % due.every_steps == 0
        by_time = due.every_minutes is not None and time.monotonic() - self.saved > 60 * due.every_minutes
        if by_steps or by_time:
            self.save(self.folder.last)

    def end_epoch(self, epoch: int) -> None:
        """Validate where due, keep the best, and save. The order makes a kill in between harmless."""
        self.flush()
        done = epoch + 1
        row = None
        if done % self.config.validation.every == 0 or done == self.config.epochs:
            row = self.validate(epoch)
        self.at = Position(done, 0, self.at.step)
        if self.config.checkpoint.keep_every and done % self.config.checkpoint.keep_every == 0:
            self.save(self.folder.epoch(done))
        self.save(self.folder.last)
        if row is not None and self.on_validation is not None:
            self.on_validation(row)

    # What happens around it

    def validate(self, epoch: int) -> dict[str, Any] | None:
        """Score the model, and keep its weights where they are the best so far (or none are scored).

        Returns:
            The log's row; None where `select` is `last`.
        """
        average = self.parts.average
        network = self.parts.network if average is None else average.network
        figures: dict[str, float] | None = None
        row: dict[str, Any] | None = None
        if self.config.validation.select != "last":
            try:
                figures = validate(
                    self.config,
                    self.parts.dataset,
                    network,
                    device=self.parts.device,
                    process=self.process,
                    progress=self._watch_stop,
                )
            except Interrupted:
                self.stop_here(self._asked_to_stop())
                raise
            self.window = Window()  # its time is not training time
            row = {"kind": "validation", "epoch": epoch, "step": self.at.step, **figures}
            if self.process.is_main:
                self._log().write([row])
        metric = self.config.validation.metric
        better = figures is None or self.best is None or figures[metric] > self.best[metric]
        if better:
            self.best = None if figures is None else {"epoch": epoch, "step": self.at.step, **figures}
            self.keep(network)
        if figures is not None:
            shown = "  ".join(f"{name} {100 * figures[name]:.1f}%" for name in ("rank1", "mAP", "mINP"))
            self.notice(
                f"epoch {epoch + 1} of {self.config.epochs}: {shown}{'  (best so far)' if better else ''}"
            )
        return row

    def keep(self, network: Method) -> None:
        """Write the weights for use, and where they were selected also the state they come from."""
        if not self.process.is_main:
            return
        here = self.at
        self.at = Position(here.epoch + 1, 0, here.step)
        if self.best is not None:
            self.save(self.folder.best)
        self._writing(lambda: write_card(self.folder.weights, self.config, self.parts, network, self.best))
        self.at = here

    def save(self, path: Path) -> None:
        """Write the training state; the older file stays until the new one is whole."""
        self.flush()
        if not self.process.is_main:
            return
        self.log_bytes = self._log().sync()
        info = state_info(self.config, self.parts) | {
            "position": asdict(self.at),
            "best": self.best,
            "health": self.health.to_json(),
            "scaler": self.parts.scaler.state_dict(),
            "log_bytes": self.log_bytes,
        }
        parts = self.parts
        self._writing(lambda: save_state(path, parts.network, parts.optimizer, parts.average, info))
        self.saved = time.monotonic()

    def _writing(self, write: Callable[[], None]) -> None:
        try:
            write()
        except DataError as error:
            raise TrainingError(
                f"training stopped after step {self.at.step}: {error}. {self._last_good()}; make room and "
                "continue with --resume"
            ) from error

    def stop_here(self, signum: int) -> None:
        """Save and leave, because a signal asked for it."""
        self.save(self.folder.last)
        barrier(self.process)  # saved before the first of them leaves
        raise TrainingStopped(
            f"stopped by {signal.Signals(signum).name} after step {self.at.step} (epoch {self.at.epoch + 1});"
            f" everything is saved in {self.folder.last}: the same command with --resume goes on from there",
            signum,
        )

    def _asked_to_stop(self) -> int:
        """The signal that some process has received, or 0; every process gets the same answer."""
        return reduce_max(self.process, self.stop.received or 0)

    def _watch_stop(self, done: int, total: int) -> None:
        if self.stop.received is not None:
            raise Interrupted

    def flush(self) -> None:
        """Read the figures of the steps since the last time, judge them, write them to the log."""
        if not self.process.is_main:
            self.rows.clear()
        if not self.rows:
            return
        values = torch.stack([figures for _, figures in self.rows]).tolist()
        speed = {**self.window.speed(), "memory_gib": round(memory_gib(self.parts.device), 3)}
        rows: list[dict[str, Any]] = []
        for (row, _), (*terms, norm) in zip(self.rows, values, strict=True):
            named = dict(zip(row.pop("names"), terms, strict=True))
            may_overflow = self.parts.scaler.is_enabled() and not -float("inf") < norm < float("inf")
            try:
                self.health.watch(row["step"], named, None if may_overflow else norm)
            except TrainingError as error:
                self._log().write(rows)
                raise type(error)(f"{error}. {self._last_good()}") from None
            figures = {"loss": sum(terms), "terms": named, "lr": next(iter(row["rates"].values()))}
            rows.append({**row, **figures, "grad_norm": None if may_overflow else norm, **speed})
        self.rows.clear()
        self.window = Window()
        self._log().write(rows)

    def _last_good(self) -> str:
        if not self.folder.last.exists():
            return "No checkpoint had been written yet"
        step = load_state(self.folder.last).info["position"]["step"]
        return f"The last good checkpoint is {self.folder.last} (step {step})"

    # Beginning and end

    def resume(self) -> None:
        """Take up the last checkpoint, where there is one."""
        state = None
        if self.process.is_main and self.folder.last.exists():
            state = load_state(self.folder.last)
            check_same_run(state, self.config, self.parts)
        state = broadcast_state(self.process, state)  # other machines need not see the folder
        if state is None:
            self.notice(f"{self.folder.path} holds no checkpoint yet: training from the start")
            return
        restore_state(state, self.parts.network, self.parts.optimizer, self.parts.average)
        info = state.info
        self.at = Position(**info["position"])
        self.best = info["best"]
        self.health = Health.from_json(self.config.health.diverged, info["health"])
        if self.parts.scaler.is_enabled():
            self.parts.scaler.load_state_dict(info["scaler"])
        self.log_bytes = info["log_bytes"]
        self.notice(f"resuming {self.folder.path} after step {self.at.step} (epoch {self.at.epoch + 1})")

    def start_log(self) -> None:
        """Write what the run is, and open its log at the point where it stands."""
        if not self.process.is_main:
            return
        write_run_files(self.folder, self.config, self.parts)
        self.log = RunLog(
            self.folder.metrics, self.folder.tensorboard, keep=self.log_bytes, step=self.at.step
        )

    def _log(self) -> RunLog:
        if self.log is None:
            raise TrainingError("the log is not open; call start_log first")
        return self.log

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()
