"""What a run is, said before its first step: data, network, machine, time, and how much will lie where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD

from ivreid.config.schema import Config
from ivreid.data import default_cache_folder
from ivreid.errors import counted
from ivreid.evaluation.run_folder import RunFolder
from ivreid.evaluation.validation import validation_samples
from ivreid.io import free_bytes, size_in_words
from ivreid.training.saving import Position
from ivreid.training.setup import RunParts

FORWARD = 1 / 3
"""Of a step's time, what embedding the same images takes: the backward pass costs two forward passes."""


@dataclass(frozen=True)
class StartSummary:
    """A run before its first step.

    Attributes:
        dataset: Its name and folder.
        people: Identities trained on.
        images: Images trained on, the unreadable ones left out.
        validation: People and images that the weights are selected on; (0, 0) without.
        on_test: Whether these are the TEST identities.
        batch: Images in a batch, over all processes.
        batches: Batches in the next epoch.
        epochs: Epochs in all, the last one cut short where `steps` ends in it.
        step: Steps done before.
        steps: Steps in all, within a few.
        method: The method, and its backbone where it names one.
        parameters: Numbers that are trained.
        machine: Device, threads, precision and processes, in words.
        step_seconds: A step's time as measured; None where it was not.
        seconds: The expected time of the rest, validations included; None likewise.
        folder: The run folder.
        folder_bytes: What checkpoints and weights will take there.
        folder_free: What is free there now.
        cache: Where decoded images lie; None without.
        cache_bytes: What they take.
    """

    dataset: str
    people: int
    images: int
    validation: tuple[int, int]
    on_test: bool
    batch: int
    batches: int
    epochs: int
    step: int
    steps: int
    method: str
    parameters: int
    machine: str
    step_seconds: float | None
    seconds: float | None
    folder: Path
    folder_bytes: int
    folder_free: int
    cache: Path | None
    cache_bytes: int

    def lines(self) -> tuple[tuple[str, str], ...]:
        """What it says, as (word, sentence)."""
        people, images = self.validation
        held = f"{counted(people, 'person', 'people')}, {counted(images, 'image')}"
        chosen = (
            f"; selects on the TEST identities (published-test), {held}"
            if self.on_test
            else f"; validation on {held}"
        )
        trained = f"{counted(self.people, 'person', 'people')}, {counted(self.images, 'image')}"
        begun = f", {self.step:,} of them done" if self.step else ""
        room = "" if self.folder_bytes < self.folder_free else ": THIS WILL NOT FIT"
        found = [
            ("data", f"{self.dataset}: {trained}{chosen if people else '; no validation'}"),
            ("batches", f"{self.batches:,} of {counted(self.batch, 'image')} an epoch"),
            ("steps", f"{self.steps:,} in {counted(self.epochs, 'epoch')}{begun}"),
            ("method", f"{self.method}, {self.parameters / 1e6:.1f} million parameters"),
            ("machine", self.machine),
        ]
        if self.seconds is not None and self.step_seconds is not None:
            spell = in_words(self.seconds)
            found.append(
                ("time", f"about {spell}, validations included ({self.step_seconds:.2g} s a step here)")
            )
        size, free = size_in_words(self.folder_bytes), size_in_words(self.folder_free)
        found.append(("folder", f"{self.folder}: about {size} at most, {free} free{room}"))
        if self.cache is not None:
            found.append(("cache", f"{self.cache}: {size_in_words(self.cache_bytes)} of decoded images"))
        return tuple(found)


def describe_start(
    config: Config,
    parts: RunParts,
    folder: RunFolder,
    done: tuple[int, int],
    position: Position,
    step_seconds: float | None,
) -> StartSummary:
    """What a run is about to be.

    Args:
        config: The run.
        parts: What it is made of.
        folder: Where it lies.
        done: Steps done, and steps in all.
        position: Where it stands.
        step_seconds: How long a step takes here, where that was measured.
    """
    step, steps = done
    held = validation_samples(config, parts.dataset)
    epoch, batches = position.epoch, parts.loader.batches_in(position.epoch)
    batch = config.batch.size
    epochs = config.epochs
    if config.steps is not None:
        here = ceil(position.batch / config.accumulate)
        epochs = epoch + ceil((steps - step + here) / ceil(batches / config.accumulate))
    seconds = None
    if step_seconds is not None:
        left = steps - step
        validations = sum(map(config.validation.is_due, range(epoch + 1, epochs + 1)))
        embedded = len(held) * max(1, validations)
        per_image = step_seconds / (batch * config.accumulate)
        seconds = left * step_seconds + embedded * per_image * FORWARD
    backbone = config.method.get("backbone")
    threads = f", {counted(torch.get_num_threads(), 'thread')}" if parts.device.type == "cpu" else ""
    processes = "" if parts.process.is_single else f", {parts.process.world_size} processes"
    cached = len(parts.data.samples) + len(parts.data.skipped) + len(held)
    height, width = config.data.size
    return StartSummary(
        dataset=f"{parts.dataset.name} in {parts.dataset.root}",
        people=parts.data.num_classes,
        images=len(parts.data.samples),
        validation=(len({sample.pid for sample in held}), len(held)),
        on_test=config.validation.select == "published-test",
        batch=batch,
        batches=batches,
        epochs=epochs,
        step=step,
        steps=steps,
        method=config.method["name"] + (f" with {backbone}" if backbone else ""),
        parameters=sum(one.numel() for one in parts.network.parameters() if one.requires_grad),
        machine=f"{parts.device}{threads}, {parts.precision}{processes}",
        step_seconds=step_seconds,
        seconds=seconds,
        folder=folder.path,
        folder_bytes=expected_bytes(config, parts, epochs),
        folder_free=free_bytes(folder.path),
        cache=default_cache_folder() if config.data.cache else None,
        cache_bytes=cached * height * width * 3,
    )


def expected_bytes(config: Config, parts: RunParts, epochs: int) -> int:
    """What a run's checkpoints and weights will take at the end: last, best, those kept for good, and the weights."""
    network = _bytes(parts.network)
    trained = _sum(one for one in parts.network.parameters() if one.requires_grad)
    slots = int(config.optimizer.momentum > 0) if isinstance(parts.optimizer, SGD) else 2
    state = network * (2 if parts.average is not None else 1) + slots * trained
    kept = epochs // config.checkpoint.keep_every if config.checkpoint.keep_every else 0
    return state * (1 + (config.validation.select != "last") + kept) + network


def _bytes(network: nn.Module) -> int:
    return _sum(chain(network.parameters(), network.buffers()))


def _sum(tensors: Iterator[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)


def in_words(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h 20 min, 2 days, 5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    whole = timedelta(minutes=minutes)
    hours, rest = divmod(whole.seconds // 60, 60)
    if whole.days:
        return f"{whole.days} day{'s' * (whole.days > 1)}, {hours} h"
    return f"{hours} h {rest} min" if rest else f"{hours} h"
