"""What every sampler does: plan an epoch for all processes, and hand each its share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivreid.data import counter_rng as rng
from ivreid.data.settings import BatchSettings
from ivreid.errors import DataError, TrainingError, UsageError
from ivreid.types import BoolArray, IntArray

Int8Array = NDArray[np.int8]

INFRARED, VISIBLE, IDENTITIES, IMAGES, UNIFORM_IDENTITIES, UNIFORM_IMAGES = range(6)
"""Streams of random numbers; a stream's number is part of every run's order and never changes."""


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """One epoch's batches for one process.

    Attributes:
        indices: (batches, images) int64 sample indices.
        occurrences: Same shape; how often that sample has stood earlier in the epoch (over all processes), so
            that an image drawn twice is augmented in two ways.
        views: (images,) int8, the same in every batch; 0 but where an image stands again, as its view 1, 2...
    """

    indices: IntArray
    occurrences: IntArray
    views: Int8Array

    def __len__(self) -> int:
        return len(self.indices)


def check_world_size(unit: str, units: int, world_size: int) -> None:
    """Refuse a number of processes that cannot share a batch equally.

    Raises:
        UsageError: The message names what would fit.
    """
    if units % world_size:
        fits = ", ".join(str(n) for n in range(1, units + 1) if units % n == 0)
        raise UsageError(
            f"{world_size} processes cannot share a batch of {units} {unit} equally; use {fits} "
            f"processes, or a multiple of {world_size} {unit} per batch"
        )


class BatchSampler(ABC):
    """Plans epochs for all processes and hands each its share: rank r takes the r-th run of every batch.

    It is a batch sampler as PyTorch's `DataLoader(batch_sampler=...)` takes one: iterating gives the lists of
    sample indices of the epoch that `set_epoch` named, 0 before. The order depends on (seed, epoch) alone.
    """

    def __init__(self, unit: str, units: int, seed: int, rank: int, world_size: int) -> None:
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank} does not exist among {world_size} process(es)")
        check_world_size(unit, units, world_size)
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that iterating goes through; without it every epoch is the first."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches(self.epoch))

    def __len__(self) -> int:
        """Batches of the epoch that `set_epoch` named; epochs may differ by a few."""
        return len(self.plan(self.epoch))

    @abstractmethod
    def joined(self, epoch: int) -> IntArray:
        """The epoch's batches over all processes: (batches, images) sample indices, each image once."""

    def _shown(self, width: int) -> tuple[IntArray, Int8Array]:
        """Which column of `joined` each column of a batch shows, and as which view."""
        return np.arange(width), np.zeros(width, dtype=np.int8)

    def plan(self, epoch: int) -> EpochPlan:
        """This process's share of an epoch."""
        joined = self.joined(epoch)
        columns, views = self._shown(joined.shape[1])
        width = len(columns) // self.world_size
        mine = slice(self.rank * width, (self.rank + 1) * width)
        shown = columns[mine]
        return EpochPlan(joined[:, shown], _occurrences(joined)[:, shown], views[mine].copy())

    def batches(self, epoch: int) -> list[list[int]]:
        """This process's share of an epoch as lists of sample indices."""
        indices: list[list[int]] = self.plan(epoch).indices.tolist()
        return indices


def _occurrences(joined: IntArray) -> IntArray:
    flat = joined.ravel()
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    first = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1]
    starts = np.repeat(first, np.diff(np.r_[first, len(flat)]))
    out = np.empty_like(flat)
    out[order] = np.arange(len(flat)) - starts
    return out.reshape(joined.shape)


class IdentityBatchSampler(BatchSampler):
    """A sampler whose batches hold P distinct identities; processes divide them among themselves.

    Joined in rank order, the processes' batches are exactly the single process's.

    Args:
        labels: (N,) identity of each sample.
        infrared: (N,) bool.
        settings: P and how many images of each identity.
        seed: The run's seed.
        rank: This process.
        world_size: Number of processes; must divide P.

    Attributes:
        identities: The identities, ascending.

    Raises:
        DataError: Arrays of unequal length.
        TrainingError: Fewer identities than P.
        UsageError: A world size that does not divide P.
    """

    def __init__(
        self,
        labels: Sequence[int] | ArrayLike,
        infrared: Sequence[bool] | ArrayLike,
        settings: BatchSettings,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__("identities", settings.identities, seed, rank, world_size)
        self.settings = settings
        ids, infra = np.asarray(labels, dtype=np.int64), np.asarray(infrared, dtype=np.bool_)
        if ids.shape != infra.shape or ids.ndim != 1:
            raise DataError(
                f"{ids.shape} labels for {infra.shape} modality flags; both need one value per image"
            )
        self.identities = np.unique(ids)
        self._check_modalities(ids, infra)
        if len(self.identities) < settings.identities:
            raise TrainingError(
                f"a batch needs {settings.identities} identities, but there are only "
                f"{len(self.identities)} to train on; lower batch.identities to {len(self.identities)} "
                "or fewer, or add identities"
            )
        self._infrared = [np.flatnonzero((ids == i) & infra) for i in self.identities]
        self._visible = [np.flatnonzero((ids == i) & ~infra) for i in self.identities]

    def _check_modalities(self, ids: IntArray, infrared: BoolArray) -> None:
        """Refuse what this sampler cannot use."""

    def _draw_groups(self, epoch: int, groups: list[IntArray]) -> IntArray:
        """Batches of P identities, drawn among those that have a group left until fewer than P have one.

        Args:
            epoch: The epoch.
            groups: Per identity (groups, images); they are taken in their order.
        """
        wanted = self.settings.identities
        left = np.array([len(g) for g in groups])
        batches: list[IntArray] = []
        while len(alive := np.flatnonzero(left)) >= wanted:
            draw = rng.permutation(rng.keys(self.seed, epoch, IDENTITIES, len(batches)), len(alive))[:wanted]
            chosen = alive[draw]
            batches.append(np.concatenate([groups[i][-left[i]] for i in chosen]))
            left[chosen] -= 1
        return np.stack(batches)


class TwoModalityBatchSampler(IdentityBatchSampler):
    """P identities, each with K infrared and K visible images, and each image once per view.

    Within a batch the order is identity by identity: its K infrared images, those again for every further
    view, then its K visible images likewise.

    Raises:
        DataError: An identity without any image of one modality.
    """

    def _check_modalities(self, ids: IntArray, infrared: BoolArray) -> None:
        lines = []
        for name, have in (("infrared", ids[infrared]), ("visible", ids[~infrared])):
            lacking = np.setdiff1d(ids, have)
            if len(lacking):
                listed = ", ".join(map(str, lacking[:20])) + (", ..." if len(lacking) > 20 else "")
                lines.append(f"{len(lacking)} without any {name} image ({listed})")
        if lines:
            raise DataError(
                f"every training identity needs visible and infrared images, but there are identities "
                f"{' and '.join(lines)}; remove them from the training split"
            )

    def _shown(self, width: int) -> tuple[IntArray, Int8Array]:
        size, views = self.settings.instances, self.settings.views
        blocks = [(0, view) for view in range(views.infrared)] + [
            (size, view) for view in range(views.visible)
        ]
        columns = np.concatenate([start + np.arange(size) for start, _ in blocks])
        shown = np.repeat(np.array([view for _, view in blocks], dtype=np.int8), size)
        starts = np.arange(0, width, 2 * size)
        return (starts[:, None] + columns).ravel(), np.tile(shown, len(starts))


def walk(images: IntArray, size: int, groups: int | None, key: tuple[int, ...]) -> IntArray:
    """Shuffled walks over `images` in groups of `size`: (groups, size); one walk where `groups` is None.

    Fewer images than `size` are drawn with replacement.
    """
    whole = len(images) // size
    if whole == 0:
        groups = groups or 1
        return images[rng.choices(rng.keys(*key, 0), len(images), groups * size)].reshape(groups, size)
    walks = 1 if groups is None else -(-groups // whole)
    orders = [rng.permutation(rng.keys(*key, walk), len(images))[: whole * size] for walk in range(walks)]
    return images[np.concatenate(orders)].reshape(-1, size)[:groups]
