"""One run, from its configuration to its weights.

In several processes all build the same parts and train together; rank 0 alone writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.config.schema import Config
from ivreid.distributed.collectives import broadcast
from ivreid.distributed.failure import restarted
from ivreid.distributed.group import process_group
from ivreid.distributed.processes import local_device, process_from_environment
from ivreid.errors import ConfigError, counted
from ivreid.evaluation.settings import tell_unserved
from ivreid.evaluation.validation import validation_notes
from ivreid.machine import naming_memory
from ivreid.training.batch_checks import check_batch
from ivreid.training.budget import settle_steps
from ivreid.training.log import Callback
from ivreid.training.loggers import check_loggers
from ivreid.training.loop import Run
from ivreid.training.random_state import own_random_state
from ivreid.training.resuming import check_same_everywhere
from ivreid.training.run_lock import open_run_folder
from ivreid.training.saving import Saver
from ivreid.training.schedule import tell_what_is_late
from ivreid.training.setup import build_run_parts, settle_range, tell_division
from ivreid.training.signals import StopSignal
from ivreid.training.start import StartSummary, describe_start
from ivreid.training.step_log import open_log
from ivreid.training.trial_steps import measure_step, quick_measure
from ivreid.types import Progress


@dataclass(frozen=True)
class Summary:
    """What training came to.

    Attributes:
        folder: The run folder.
        steps: Optimiser steps in all.
        best: Epoch and figures of the weights kept; None for a run without validation.
        seconds: Time this call took.
        on_test: Whether they were selected on the TEST identities, so that their figures are no fair test.
    """

    folder: Path
    steps: int
    best: dict[str, Any] | None
    seconds: float
    on_test: bool = False


def train(
    config: Config,
    *,
    resume: bool = False,
    minutes: float | None = None,
    preparing: Progress | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] = lambda _: None,
    on_start: Callable[[StartSummary], None] | None = None,
    on_validation: Callable[[dict[str, Any]], None] | None = None,
    loggers: Sequence[str | Callback] = (),
) -> Summary:
    """Train a model as the configuration says; everything it makes lies in `config.out`.

    In processes that torchrun started it joins them for one run.

    Args:
        config: The run.
        resume: Continue from the folder's last checkpoint; from the start where there is none yet.
        minutes: Train for so long: the steps that fit are measured first and become `config.steps`, so that
            from then on only steps count; a resumed run goes on with the number it began with.
        preparing: Called with (done, total) while images are drawn or decoded before the first step.
        progress: Called with (steps done, steps in all); the second may move a little, for epochs differ in length.
        notice: Called with a line for people: validations, and where a resumed run stands.
        on_start: Called with what the run is before its first step. How long it will take is measured for it, in one
            process: a second or two, or a step or two where those take longer.
        on_validation: Called with each validation's row of the log once its epoch is saved; what it raises
            stops the run, which can be resumed.
        loggers: Where else the log goes: "wandb", "mlflow", or callables that receive every row as a
            dictionary. One that fails is called no more; the run goes on.

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
    check_batch(config, process)
    check_loggers(loggers)
    notice = notice if process.is_main else lambda _: None
    with (
        own_random_state(local_device(config.device, process)),
        process_group(config.device, process),
        open_run_folder(config.out, process, resume=resume, notice=notice) as folder,
    ):
        check_same_everywhere(process, config)
        resuming = broadcast(process, resume and bool(folder.states()))
        config = settle_range(config, preparing)
        if minutes is not None:
            config = settle_steps(
                config,
                minutes,
                folder,
                process,
                resume=resume,
                measure=lambda: measure_step(config, folder, process, minutes, preparing),
                notice=notice,
            )
        parts = build_run_parts(config, process, initial_weights=not resuming, progress=preparing)
        saver = Saver(config, parts, folder)
        state = saver.restore(notice) if resume else saver.beginning()
        saver.write_run_files()
        tell_what_is_late(config, notice)
        tell_division(config, parts.dataset, notice)
        for line in validation_notes(config, parts.dataset):
            notice(line)
        tell_unserved(config, parts.dataset, notice)
        with closing(open_log(saver, state, notice, loggers)) as log, StopSignal(process) as stop:
            progress = progress if process.is_main else None
            run = Run(saver, state, log, stop, notice, progress, on_validation)
            if run.position.is_end(config):
                notice(f"nothing is left to train: all {counted(run.position.step, 'step')} are done")
            with naming_memory(saver.what_to_lower):
                if on_start is not None and process.is_main and not run.position.is_end(config):
                    epoch, seconds = run.position.epoch, quick_measure(config, parts, folder)
                    done = run.done_of(epoch, parts.loader.batches_in(epoch))
                    on_start(describe_start(config, parts, folder, done, run.position, seconds))
                run.fit()
        seconds, on_test = time.monotonic() - started, config.validation.select == "published-test"
        return Summary(folder.path, run.position.step, run.best, seconds, on_test)
