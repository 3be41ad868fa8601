"""Batches that a method could not train on are found before the first step, not in the middle of a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import ceil

import numpy as np
import torch

from ivreid import methods
from ivreid.config.schema import Config
from ivreid.data import BatchSettings, TrainLoader
from ivreid.data.planning import check_world_size
from ivreid.distributed.processes import ProcessRank
from ivreid.errors import ConfigError, counted
from ivreid.methods import Method

_ANY_MODALITY = ("identity", "random")
"""Samplers whose batches hold any number of images of a modality."""


def check_processes(config: Config, process: ProcessRank) -> None:
    """Refuse what several processes cannot share so that they act as one.

    Raises:
        UsageError: A batch of identities that the number of processes does not divide.
        ConfigError: A sampler whose shares of a batch hold unequal numbers of each modality.
    """
    if process.is_single:
        return
    sampler, by_modality = config.batch.sampler, _method(config).means_by_modality
    if sampler == "random" or (sampler == "identity" and by_modality):
        raise ConfigError(
            f"batch.sampler = {sampler} does not fit {process.world_size} processes: their shares of a batch "
            "hold unequal numbers of each modality, whose losses are means; use balanced, or one process"
        )
    check_world_size("identities", config.batch.identities, process.world_size)


def check_batch(config: Config, process: ProcessRank) -> None:
    """Refuse, before any data is read, what several processes cannot share, or a method cannot train on.

    Raises:
        UsageError: As `check_processes`.
        ConfigError: As `check_processes`, `check_views`, `check_phases` and `check_pairs`; too few identities
            in a batch, or too few images in a process's share.
    """
    check_processes(config, process)
    check_views(config)
    check_phases(config)
    check_pairs(config)
    method, batch = _method(config), config.batch
    if batch.identities < method.min_identities:
        raise ConfigError(
            f"batch.identities = {batch.identities}: {method.name} compares people and needs "
            f"{method.min_identities} or more in a batch; set batch.identities={method.min_identities} or more"
        )
    key = batch.per_identity_key
    in_each = "" if process.is_single else f" in each of {process.world_size} processes"
    fewer = "" if process.is_single else ", or start fewer processes"
    share = method.min_rows if method.means_by_modality else method.min_rows / 2
    for people, needed, where, way_out in (
        (batch.identities // process.world_size, share, in_each, fewer),
        (batch.identities, method.min_of_modality, "", ""),
    ):
        of_each = _images_of_each_modality(batch, people)
        if of_each < needed:
            raise ConfigError(
                f"batch.identities = {batch.identities} and {key} = {batch.images or batch.instances} make "
                f"{counted(of_each, 'image')} of each modality{where}, too few for {method.name}, which needs "
                f"{ceil(needed)}; raise one of them{way_out}"
            )


def _images_of_each_modality(batch: BatchSettings, people: int) -> int:
    """Images of a modality that so many people have in a batch, at best."""
    if batch.sampler in _ANY_MODALITY:
        return people * batch.images_per_identity // 2
    return people * batch.instances * min(batch.views.visible, batch.views.infrared)


def check_views(config: Config) -> None:
    """Refuse a batch that lacks the views of visible images that the method compares.

    Raises:
        ConfigError: With what to set.
    """
    method, given = _method(config), config.batch.views.visible
    needed = method.views_with(config.method)
    if needed > given:
        raise ConfigError(
            f"the method {method.name!r} needs {needed} views of each visible image, batch.views.visible "
            f"is {given}; set it to {needed}"
        )


def check_phases(config: Config) -> None:
    """Refuse a method and a loader that would end a phase of grey images in different epochs.

    Raises:
        ConfigError: With what to set.
    """
    ours, loaded = config.method.get("grey_epochs"), config.augment.grey_epochs
    if ours is not None and ours != loaded:
        raise ConfigError(
            f"method.grey_epochs is {ours} and augment.grey_epochs is {loaded}: visible images must be grey for as "
            f"long as {config.method['name']} expects; set augment.grey_epochs={ours}, or method.grey_epochs="
            f"{loaded}"
        )


def check_pairs(config: Config) -> None:
    """Refuse a batch that holds more images of one modality where the method needs pairs.

    Raises:
        ConfigError: With what to set.
    """
    method, batch = _method(config), config.batch
    if not method.pairs:
        return
    needs = f"the method {method.name!r} needs as many visible as infrared images of each identity"
    if batch.sampler in _ANY_MODALITY:
        raise ConfigError(f"{needs}, batch.sampler is {batch.sampler}; set it to paired or balanced")
    if batch.views.visible != batch.views.infrared:
        raise ConfigError(
            f"{needs}, batch.views are {batch.views.visible} of a visible and {batch.views.infrared} of an "
            "infrared image; set both to 1"
        )


def check_every_batch(config: Config, loader: TrainLoader) -> None:
    """Refuse a run one of whose batches would be short of a modality; every batch is known beforehand.

    Raises:
        ConfigError: The message names the batch and what to change.
    """
    method = _method(config)
    needed = method.min_rows if method.means_by_modality else method.min_of_modality
    if config.batch.sampler not in _ANY_MODALITY or not needed:
        return
    sampler = loader.sampler
    for epoch in _epochs(config, loader):
        indices = sampler.plan(epoch).indices if method.means_by_modality else sampler.joined(epoch)
        infrared = loader.data.infrared[indices].sum(axis=1)
        fewest = np.minimum(infrared, indices.shape[1] - infrared)
        short = np.flatnonzero(fewest < needed)
        if len(short):
            number, rows = int(short[0]), indices.shape[1]
            found = int(infrared[number])
            raise ConfigError(
                f"batch.sampler = {config.batch.sampler}: batch {number + 1} of epoch {epoch + 1} would hold "
                f"{found} infrared and {counted(rows - found, 'visible image')}, and {method.name} needs "
                f"{needed} or more of each; set batch.sampler=balanced, or make batches larger "
                f"(batch.identities, {config.batch.per_identity_key})"
            )


def _epochs(config: Config, loader: TrainLoader) -> Iterator[int]:
    """The epochs that a run has or begins."""
    if config.steps is None:
        yield from range(config.epochs)
        return
    left = config.steps
    for epoch in itertools.count():
        if left <= 0:
            return
        yield epoch
        left -= -(-loader.batches_in(epoch) // config.accumulate)


def what_to_lower(config: Config, device: torch.device, precision: str) -> str:
    """What to say where a step does not fit into memory."""
    height, width = config.data.size
    lower = [f"batch.identities or {config.batch.per_identity_key} (accumulate makes up for it)", "data.size"]
    if precision == "fp32":
        lower.append("the precision (bf16)")
    return (
        f"a step on {config.batch.size} images of {height}x{width} does not fit on {device}; lower "
        f"{', or '.join(lower)}"
    )


def _method(config: Config) -> type[Method]:
    return methods.get_method(config.method["name"])
