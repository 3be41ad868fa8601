"""Which images stand in which batch: a pure function of (seed, epoch, rank, world size)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ivreid.data import counter_rng as rng
from ivreid.data.settings import BatchSettings
from ivreid.errors import DataError, TrainingError, UsageError
from ivreid.types import BoolArray, IntArray

_INFRARED, _VISIBLE, _IDENTITIES, _IMAGES = range(4)  # streams of random numbers


@dataclass(frozen=True, eq=False)
class Plan:
    """One epoch's batches for one process.

    Attributes:
        indices: (batches, images) int64 sample indices.
        occurrences: Same shape; how often that sample has stood earlier in the epoch (over all processes), so
            that an image drawn twice is augmented in two ways.
    """

    indices: IntArray
    occurrences: IntArray

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
    """Plans epochs for all processes and hands each its share: rank r takes the r-th run of every batch."""

    def __init__(self, unit: str, units: int, seed: int, rank: int, world_size: int) -> None:
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank} does not exist among {world_size} process(es)")
        check_world_size(unit, units, world_size)
        self.seed, self.rank, self.world_size = seed, rank, world_size

    @abstractmethod
    def _joined(self, epoch: int) -> IntArray:
        """The epoch's batches over all processes, (batches, images)."""

    def plan(self, epoch: int) -> Plan:
        """This process's share of an epoch."""
        joined = self._joined(epoch)
        width = joined.shape[1] // self.world_size
        mine = slice(self.rank * width, (self.rank + 1) * width)
        return Plan(joined[:, mine].copy(), _occurrences(joined)[:, mine].copy())

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


class CrossModalityBatchSampler(BatchSampler):
    """The published two-modality batch: P identities, each with K infrared and K visible images.

    An epoch shuffles each identity's infrared images and cuts them into groups of K; each group is paired
    with K visible images of that identity, taken from a shuffled walk over them which starts anew,
    reshuffled, when fewer than K remain. A batch draws P identities without replacement among those that
    still have a group; the epoch ends when fewer than P identities have one. So two kinds of images sit
    an epoch out: the last `count % K` infrared images of an identity, and the groups of identities left
    over at the end. The shuffles differ in every epoch, so no image sits out for long. An identity with
    fewer than K images of a modality is sampled with replacement in it (one group of K, where that
    modality is infrared).

    Within a batch the order is identity by identity, its K infrared images first. Processes divide the P
    identities among themselves; joined in rank order, their batches are exactly the single process's.

    Args:
        labels: (N,) identity of each sample.
        infrared: (N,) bool.
        settings: P and K.
        seed: The run's seed.
        rank: This process.
        world_size: Number of processes; must divide P.

    Raises:
        DataError: An identity without any image of one modality, or arrays of unequal length.
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
        _refuse_one_modality(ids, infra)
        if len(self.identities) < settings.identities:
            raise TrainingError(
                f"a batch needs {settings.identities} identities, but there are only "
                f"{len(self.identities)} to train on; lower batch.identities to {len(self.identities)} "
                "or fewer, or add identities"
            )
        self._infrared = [np.flatnonzero((ids == i) & infra) for i in self.identities]
        self._visible = [np.flatnonzero((ids == i) & ~infra) for i in self.identities]

    def _groups(self, epoch: int, identity: int) -> IntArray:
        """One identity's groups of an epoch: (groups, 2 K), infrared first."""
        size = self.settings.instances
        infrared = _walk(self._infrared[identity], size, None, (self.seed, epoch, _INFRARED, identity))
        visible = _walk(self._visible[identity], size, len(infrared), (self.seed, epoch, _VISIBLE, identity))
        return np.concatenate([infrared, visible], axis=1)

    def _joined(self, epoch: int) -> IntArray:
        wanted = self.settings.identities
        groups = [self._groups(epoch, i) for i in range(len(self.identities))]
        left = np.array([len(g) for g in groups])
        batches: list[IntArray] = []
        while len(alive := np.flatnonzero(left)) >= wanted:
            draw = rng.permutation(rng.keys(self.seed, epoch, _IDENTITIES, len(batches)), len(alive))[:wanted]
            chosen = alive[draw]
            batches.append(np.concatenate([groups[i][-left[i]] for i in chosen]))
            left[chosen] -= 1
        return np.stack(batches)


def _walk(images: IntArray, size: int, groups: int | None, key: tuple[int, ...]) -> IntArray:
    """Shuffled walks over `images` in groups of `size`: (groups, size); one walk where `groups` is None."""
    whole = len(images) // size
    if whole == 0:
        groups = groups or 1
        return images[rng.choices(rng.keys(*key, 0), len(images), groups * size)].reshape(groups, size)
    walks = 1 if groups is None else -(-groups // whole)
    orders = [rng.permutation(rng.keys(*key, walk), len(images))[: whole * size] for walk in range(walks)]
    return images[np.concatenate(orders)].reshape(-1, size)[:groups]


def _refuse_one_modality(ids: IntArray, infrared: BoolArray) -> None:
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


class RandomBatchSampler(BatchSampler):
    """The published `SAMPLER = random`: all images in random order, cut into batches.

    The incomplete last batch is dropped.

    Args:
        count: Number of samples.
        batch_size: Images per batch over all processes; the world size must divide it.
        seed: The run's seed.
        rank: This process.
        world_size: Number of processes.

    Raises:
        TrainingError: Fewer images than one batch.
        UsageError: A world size that does not divide the batch.
    """

    def __init__(self, count: int, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1) -> None:
        super().__init__("images", batch_size, seed, rank, world_size)
        if count < batch_size:
            raise TrainingError(
                f"a batch needs {batch_size} images, but there are only {count}; use smaller batches"
            )
        self.count, self.batch_size = count, batch_size

    def _joined(self, epoch: int) -> IntArray:
        order = rng.permutation(rng.keys(self.seed, epoch, _IMAGES, 0), self.count)
        batches = self.count // self.batch_size
        return order[: batches * self.batch_size].reshape(batches, self.batch_size)


def make_sampler(
    labels: Sequence[int] | ArrayLike,
    infrared: Sequence[bool] | ArrayLike,
    settings: BatchSettings,
    seed: int,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> BatchSampler:
    """The sampler that `settings.sampler` names."""
    if settings.sampler == "random":
        return RandomBatchSampler(
            len(np.asarray(labels)), settings.size, seed, rank=rank, world_size=world_size
        )
    return CrossModalityBatchSampler(labels, infrared, settings, seed, rank=rank, world_size=world_size)
