"""The training loop, top to bottom.

What happens in a step depends on the configuration and (seed, epoch, batch) alone, so a run stopped after any
step and resumed gives, on a CPU, the same bits as one that was never stopped.

In several processes all take every step together and hold the same state after it; rank 0 alone writes.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ivreid.data import Batch
from ivreid.distributed.collectives import barrier, reduce_mean
from ivreid.distributed.parallel import accumulate_locally, average_buffers, data_parallel
from ivreid.evaluation.sharded import Interrupted
from ivreid.evaluation.validation import validate
from ivreid.methods import Method
from ivreid.methods.base import named_losses
from ivreid.training.health import Diverged
from ivreid.training.optimizer import set_rates
from ivreid.training.precision import autocast
from ivreid.training.random_state import seed_step
from ivreid.training.saving import LoopState, Position, Saver
from ivreid.training.schedule import progress, rate_factor
from ivreid.training.signals import StopSignal, TrainingStopped
from ivreid.training.step_log import StepLog
from ivreid.types import Progress


class Run:
    """A run in progress: where it stands, and what it takes to go on."""

    def __init__(
        self,
        saver: Saver,
        state: LoopState,
        log: StepLog,
        stop: StopSignal,
        notice: Callable[[str], None],
        progress: Progress | None = None,
        on_validation: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.config, self.parts, self.folder = saver.config, saver.parts, saver.folder
        self.process = saver.parts.process
        self.saver, self.log, self.stop = saver, log, stop
        self.notice, self.progress, self.on_validation = notice, progress, on_validation
        self.model: nn.Module = saver.parts.network
        self.position, self.best = state.position, state.best

    def fit(self) -> None:
        """Train from where the run stands to the last epoch, or the last of `steps`."""
        self.model = data_parallel(self.process, self.parts.network)
        self.log.speed.restart()
        while not self.position.is_end(self.config):
            epoch = self.position.epoch
            self.epoch(epoch)
            self.end_epoch(epoch)

    def batches(self) -> Generator[Batch]:
        """Epoch after epoch without end."""
        for epoch in itertools.count():
            with closing(self.parts.loader.epoch(epoch)) as batches:  # type: ignore[type-var]
                yield from batches

    @property
    def out_of_steps(self) -> bool:
        """Whether `steps` ends the run here, be it in the middle of an epoch."""
        return self.config.steps is not None and self.position.step >= self.config.steps

    def epoch(self, epoch: int) -> None:
        """The rest of one epoch's batches."""
        self.parts.network.begin_epoch(epoch)
        total = self.parts.loader.batches_in(epoch)
        with closing(self.parts.loader.epoch(epoch, self.position.batch)) as batches:  # type: ignore[type-var]
            while self.position.batch < total and not self.out_of_steps:
                with self.log.speed.waiting():
                    group = list(islice(batches, self.config.accumulate))
                self.step(group, epoch, total)
                self.log.speed.count(sum(len(batch) for batch in group) * self.process.world_size)
                self.position = replace(
                    self.position, batch=self.position.batch + len(group), step=self.position.step + 1
                )
                if self.progress is not None:
                    self.progress(*self.done_of(epoch, total))
                self.between_steps()

    def done_of(self, epoch: int, batches: int) -> tuple[int, int]:
        """Optimiser steps done and in all; epochs to come, which may differ by a few, count as this one does."""
        step, at_once = self.position.step, self.config.accumulate
        if self.config.steps is not None:
            return step, self.config.steps
        here = ceil((batches - self.position.batch) / at_once)
        return step, step + here + (self.config.epochs - epoch - 1) * ceil(batches / at_once)

    def step(self, group: list[Batch], epoch: int, batches: int) -> None:
        """One optimiser step on the mean loss of a group of batches."""
        config, parts, step = self.config, self.parts, self.position.step + 1
        done = progress(config, epoch + self.position.batch / batches, self.position.step)
        factor = rate_factor(config.schedule, done, config.epochs)
        rates = set_rates(parts.optimizer, config.schedule, factor)
        seed_step(config.seed, step, self.process.rank)
        parts.optimizer.zero_grad(set_to_none=True)
        parts.network.begin_step()
        losses: dict[str, Tensor] = {}
        measures: dict[str, Tensor] = {}
        for number, loaded in enumerate(group, start=1):
            batch = loaded.to(parts.device)
            images = batch.inputs(config.data.mean, config.data.std, config.channels_last)
            with accumulate_locally(self.model, number < len(group)):
                with autocast(parts.precision, parts.device):
                    found = self.model(images, batch.labels, batch.infrared, batch.view)
                terms = named_losses(found, parts.network.name)
                loss = torch.stack([term.float() for term in terms.values()]).sum() / len(group)
                parts.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            for sums, given in ((losses, terms), (measures, parts.network.measures)):
                for name, value in given.items():
                    sums[name] = sums.get(name, 0.0) + value.detach().float() / len(group)
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
        row = {"kind": "step", "step": step, "epoch": epoch, "rates": rates}
        figures = torch.stack([*losses.values(), *measures.values(), norm.float()])
        self.log.add(row, list(losses), reduce_mean(self.process, figures), list(measures))

    def between_steps(self) -> None:
        """Read the figures, save when it is time, stop when asked to."""
        if self.log.due():
            self.flush()
        if signum := self.stop.anywhere():
            self.stop_here(signum)
        if self.saver.due(self.position.step):
            self.save(self.folder.last)

    def end_epoch(self, epoch: int) -> None:
        """Validate where due, keep the best, and save. The order makes a kill in between harmless."""
        self.flush()
        done, row = epoch + 1, None
        last = done == self.config.epochs if self.config.steps is None else self.out_of_steps
        due = self.config.validation.is_due(done) or last
        if due and self.config.validation.select != "last":
            row = self.validate(epoch)  # stopped in it, the run stands before it
        self.position = Position(done, 0, self.position.step)
        if due:
            self.keep_best(row)
        if self.config.checkpoint.keep_every and done % self.config.checkpoint.keep_every == 0:
            self.save(self.folder.epoch(done))
        self.save(self.folder.last)
        if row is not None and self.on_validation is not None:
            self.on_validation(row)

    @property
    def network(self) -> Method:
        """What is validated and kept: the averaged weights where there are some."""
        average = self.parts.average
        return self.parts.network if average is None else average.network

    def validate(self, epoch: int) -> dict[str, Any]:
        """Score the model; returns the log's row."""
        try:
            figures = validate(
                self.config,
                self.parts.dataset,
                self.network,
                device=self.parts.device,
                process=self.process,
                progress=self.stop.interrupt,
            )
        except Interrupted:
            self.stop_here(self.stop.anywhere())
            raise
        self.log.speed.restart()  # its time is not training time
        row = {"kind": "validation", "epoch": epoch, "step": self.position.step, **figures}
        self.log.write(row)
        return row

    def keep_best(self, row: dict[str, Any] | None) -> None:
        """Keep the weights where they are the best so far, or where none are scored."""
        metric = self.config.validation.metric
        better = row is None or self.best is None or row[metric] > self.best[metric]
        if better:
            self.best = None if row is None else {key: row[key] for key in row if key != "kind"}
            self.keep(self.network)
        if row is not None:
            shown = "  ".join(f"{name} {100 * row[name]:.1f}%" for name in ("rank1", "mAP", "mINP"))
            mark = "  (best so far)" if better else ""
            step, steps = self.position.step, self.config.steps
            where = f"of {self.config.epochs}" if steps is None else f"(step {step:,} of {steps:,})"
            self.notice(f"epoch {self.position.epoch} {where}: {shown}{mark}")

    def keep(self, network: Method) -> None:
        """Write the weights for use, and where they were selected also the state they come from."""
        if self.best is not None:
            self.save(self.folder.best)
        self.saver.save_weights(network, self.position, self.best)

    def save(self, path: Path) -> None:
        """Save the training state; every figure so far is in the log by then."""
        self.flush()
        self.saver.save(path, LoopState(self.position, self.best, self.log.health, self.log.sync()))

    def stop_here(self, signum: int) -> None:
        """Save and leave, because a signal asked for it."""
        self.save(self.folder.last)
        barrier(self.process)  # saved before the first of them leaves
        raise TrainingStopped(
            f"stopped by {signal.Signals(signum).name} after step {self.position.step} (epoch {self.position.epoch_number});"
            f" everything is saved in {self.folder.last}: the same command with --resume goes on from there",
            signum,
        )

    def flush(self) -> None:
        """Read the figures of the steps since the last time, judge them, write them to the log."""
        try:
            self.log.flush()
        except Diverged as error:
            raise Diverged(f"{error}. {self.saver.last_good()}") from None
