"""How long a step takes, by steps that no one keeps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice

import torch

from ivreid.config.schema import Config
from ivreid.distributed.parallel import data_parallel
from ivreid.distributed.processes import ProcessRank
from ivreid.evaluation.run_folder import RunFolder
from ivreid.machine import naming_memory
from ivreid.training.budget import quick_seconds, seconds_per_step
from ivreid.training.loop import Run
from ivreid.training.optimizer import make_optimizer
from ivreid.training.saving import Saver
from ivreid.training.setup import RunParts, build_run_parts
from ivreid.training.signals import StopSignal
from ivreid.training.step_log import StepLog
from ivreid.types import Progress


def measure_step(
    config: Config, folder: RunFolder, process: ProcessRank, minutes: float, preparing: Progress | None
) -> float:
    """Seconds of an optimiser step, by taking some with a network of its own that is then forgotten.

    Every random number of a run comes from its seed, so the run itself is the same with and without.
    """
    parts = build_run_parts(config, process, initial_weights=False, progress=preparing)
    with trial_steps(config, parts, folder) as (take_step, wait):
        return seconds_per_step(take_step, wait, process, minutes)


def quick_measure(config: Config, parts: RunParts, folder: RunFolder) -> float | None:
    """Seconds of a step, of a copy's, in a second or two; None for several processes, and for what cannot be copied."""
    if not parts.process.is_single or config.compile:
        return None
    try:
        network = copy.deepcopy(parts.network)
    except (RuntimeError, TypeError):
        return None
    optimizer = make_optimizer(config.optimizer, network.parameter_groups(config.optimizer.lr), parts.device)
    scaler = torch.amp.GradScaler(parts.device.type, enabled=parts.scaler.is_enabled())
    copied = replace(parts, network=network, optimizer=optimizer, average=None, scaler=scaler)
    with trial_steps(config, copied, folder) as (take_step, wait):
        return quick_seconds(take_step, wait)


@contextmanager
def trial_steps(
    config: Config, parts: RunParts, folder: RunFolder
) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Steps that no one keeps: what takes one, and what waits for the device."""
    saver = Saver(config, parts, folder)
    log = StepLog(None, saver.beginning().health, parts.device, scaled=parts.scaler.is_enabled())
    run = Run(saver, saver.beginning(), log, StopSignal(parts.process), lambda _: None)
    run.model = data_parallel(parts.process, parts.network)
    parts.network.begin_epoch(0)

    def wait() -> None:
        if parts.device.type == "cuda":
            torch.cuda.synchronize(parts.device)

    with closing(run.batches()) as batches, naming_memory(saver.what_to_lower):
        yield lambda: run.step(list(islice(batches, config.accumulate)), 0, 1), wait
