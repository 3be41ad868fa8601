"""Which images stand in which batch: a pure function of (seed, epoch, rank, world size)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ivreid.data import counter_rng as rng
from ivreid.data.planning import (
    IMAGES,
    INFRARED,
    UNIFORM_IDENTITIES,
    UNIFORM_IMAGES,
    VISIBLE,
    BatchSampler,
    IdentityBatchSampler,
    TwoModalityBatchSampler,
    walk,
)
from ivreid.data.settings import BatchSettings
from ivreid.errors import TrainingError
from ivreid.types import IntArray


class CrossModalityBatchSampler(TwoModalityBatchSampler):
    """The published two-modality batch of IV-ReID: P identities, each with K infrared and K visible images.

    An epoch shuffles each identity's infrared images and cuts them into groups of K; each group is paired
    with K visible images of that identity, taken from a shuffled walk over them which starts anew,
    reshuffled, when fewer than K remain. A batch draws P identities without replacement among those that
    still have a group; the epoch ends when fewer than P identities have one. So two kinds of images sit
    an epoch out: the last `count % K` infrared images of an identity, and the groups of identities left
    over at the end. The shuffles differ in every epoch, so no image sits out for long. An identity with
    fewer than K images of a modality is sampled with replacement in it (one group of K, where that
    modality is infrared).
    """

    def joined(self, epoch: int) -> IntArray:
        """Groups of K infrared images with K visible ones, P identities a batch."""
        size = self.settings.instances
        groups = []
        for i in range(len(self.identities)):
            infrared = walk(self._infrared[i], size, None, (self.seed, epoch, INFRARED, i))
            visible = walk(self._visible[i], size, len(infrared), (self.seed, epoch, VISIBLE, i))
            groups.append(np.concatenate([infrared, visible], axis=1))
        return self._draw_groups(epoch, groups)


class UniformBatchSampler(TwoModalityBatchSampler):
    """Every batch drawn for itself: P identities uniformly, then K images of each modality independently.

    An epoch is floor(max(N_v, N_r) / (P K)) + 1 batches, N the images of a modality. Images are drawn with
    replacement, or, where `settings.replacement` is off, without within a batch by identities that have K.

    Source: the sampler of the AGW family (Ye et al., TPAMI 2021).
    """

    def joined(self, epoch: int) -> IntArray:
        """Every batch drawn for itself."""
        wanted, size = self.settings.identities, self.settings.instances
        totals = [sum(map(len, images)) for images in (self._infrared, self._visible)]
        batches = max(totals) // (wanted * size) + 1
        order = rng.keys(self.seed, epoch, UNIFORM_IDENTITIES, np.arange(batches))
        chosen = np.argsort(rng.bits(order, len(self.identities)), axis=1, kind="stable")[:, :wanted]
        out = np.empty((batches, wanted, 2, size), dtype=np.int64)
        for side, images in enumerate((self._infrared, self._visible)):
            for i in np.unique(chosen):
                batch, slot = np.nonzero(chosen == i)
                keys = rng.keys(self.seed, epoch, UNIFORM_IMAGES, side, batch, i)
                out[batch, slot, side] = images[i][self._draw(keys, len(images[i]))]
        return out.reshape(batches, -1)

    def _draw(self, keys: rng.Keys, count: int) -> IntArray:
        """K of `count` images for each key: (N,) -> (N, K)."""
        size = self.settings.instances
        if self.settings.replacement or count < size:
            return np.asarray(rng.uniforms(keys, size) * count, dtype=np.int64)
        return np.argsort(rng.bits(keys, count), axis=1, kind="stable")[:, :size]


class PairedBatchSampler(TwoModalityBatchSampler):
    """As many images of both modalities: the larger one is cut to the size of the smaller.

    An epoch shuffles both modalities of an identity, cuts the larger to the size of the smaller and walks
    both in groups of K; batches draw P identities among those with a group left. An identity with fewer than
    K images of a modality has one group, drawn in it with replacement.

    Source: the sampler of MPANet (Wu et al., CVPR 2021), whose program fails at such an identity.
    """

    def joined(self, epoch: int) -> IntArray:
        """Groups of K pairs, P identities a batch."""
        size = self.settings.instances
        groups = []
        for i in range(len(self.identities)):
            sides = [
                walk(images[i], size, None, (self.seed, epoch, stream, i))
                for images, stream in ((self._infrared, INFRARED), (self._visible, VISIBLE))
            ]
            count = min(map(len, sides))
            groups.append(np.concatenate([side[:count] for side in sides], axis=1))
        return self._draw_groups(epoch, groups)


class AnyModalityBatchSampler(IdentityBatchSampler):
    """P identities with groups of `settings.images` images, whatever their modality.

    An epoch shuffles each identity's images and cuts them into groups; batches draw P identities among those
    with a group left. An identity with fewer images has one group, drawn with replacement.

    Source: the sampler of MCJA (Liang et al., TCSVT 2024).
    """

    def joined(self, epoch: int) -> IntArray:
        """Groups of any modality, P identities a batch."""
        size = self.settings.images_per_identity
        groups = [
            walk(np.sort(np.concatenate(sides)), size, None, (self.seed, epoch, IMAGES, i))
            for i, sides in enumerate(zip(self._infrared, self._visible, strict=True))
        ]
        return self._draw_groups(epoch, groups)


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

    def joined(self, epoch: int) -> IntArray:
        """All images in random order, cut into batches."""
        order = rng.permutation(rng.keys(self.seed, epoch, IMAGES, 0), self.count)
        batches = self.count // self.batch_size
        return order[: batches * self.batch_size].reshape(batches, self.batch_size)


BY_IDENTITY: dict[str, type[IdentityBatchSampler]] = {
    "balanced": CrossModalityBatchSampler,
    "uniform": UniformBatchSampler,
    "paired": PairedBatchSampler,
    "identity": AnyModalityBatchSampler,
}
"""The samplers of `batch.sampler` but for `random`."""


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
    kind = BY_IDENTITY[settings.sampler]
    return kind(labels, infrared, settings, seed, rank=rank, world_size=world_size)
