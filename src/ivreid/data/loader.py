"""Batches for training, from any point of any epoch on, the same whatever the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from ivreid.data.augment import Augmenter
from ivreid.data.pixels import Filter, exchange_channels, normalise, to_tensor
from ivreid.data.planning import BatchSampler, EpochPlan, Int8Array
from ivreid.data.sampler import make_sampler
from ivreid.data.settings import AugmentSettings, BatchSettings
from ivreid.data.source import ImageSource, OnBadImage, open_images
from ivreid.data.workers import prefetch, usable_workers
from ivreid.errors import ConfigError, ImageError
from ivreid.io import REFUSE, ValueRange
from ivreid.types import BoolArray, IntArray, Modality, Progress, Sample


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step trains on.

    Attributes:
        images: (B, 3, H, W) uint8, augmented, not normalised (see `normalise`); channels-last memory.
        labels: (B,) int64 class numbers.
        infrared: (B,) bool, on the CPU.
        indices: (B,) int64 sample indices.
        view: (B,) int8, on the CPU; which view of its image a row shows, 0 where each stands once.
        channels: (B,) int8 codes for `exchange_channels`, or None where nothing is to be done after
            normalisation.
    """

    images: torch.Tensor
    labels: torch.Tensor
    infrared: torch.Tensor
    indices: torch.Tensor
    view: torch.Tensor
    channels: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, for asynchronous copies to a GPU."""
        return self._each(torch.Tensor.pin_memory)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device; asynchronous from page-locked memory.

        `infrared` and `view` stay on the CPU: they decide which rows a method takes, and how many those are must be
        known there. From a GPU the answer would come only after all it has been given to do.
        """
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        return replace(moved, infrared=self.infrared, view=self.view)

    def inputs(self, mean: Sequence[float], std: Sequence[float], channels_last: bool = True) -> torch.Tensor:
        """The network's input: normalised, and then with channels exchanged where that was asked for."""
        normalised = normalise(self.images, mean, std, channels_last)
        return normalised if self.channels is None else exchange_channels(normalised, self.channels)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        values = (getattr(self, field.name) for field in fields(self))
        return Batch(*(None if value is None else change(value) for value in values))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Labelled training images.

    Attributes:
        samples: N samples; a sample's index is its position here.
        images: Their pixels.
        pids: The identities, ascending; class c is `pids[c]`.
        labels: (N,) int64 class of each sample.
        infrared: (N,) bool.
        skipped: Samples left out because their image cannot be read.
    """

    samples: tuple[Sample, ...]
    images: ImageSource
    pids: tuple[int, ...]
    labels: IntArray
    infrared: BoolArray
    skipped: tuple[Sample, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def num_classes(self) -> int:
        """Number of training identities."""
        return len(self.pids)


def open_training_set(
    root: Path | str,
    samples: Sequence[Sample],
    size: tuple[int, int],
    *,
    value_range: ValueRange = REFUSE,
    resize: Filter = "bilinear",
    cache: Path | None = None,
    dataset: str = "",
    on_bad_image: OnBadImage = "stop",
    workers: int | None = None,
    progress: Progress | None = None,
) -> TrainingSet:
    """Open a split for training.

    Args:
        root: The dataset's folder.
        samples: The split; images of unknown people (pid below 0) are left out.
        size: Height and width in pixels.
        value_range: How grey of more than eight bits becomes 256 greys.
        resize: The filter to resize by.
        cache: Folder of the decoded-image cache; None decodes images at every visit.
        dataset: The dataset's fingerprint, which a cache must match.
        on_bad_image: "stop" raises; "skip" leaves unreadable images out, see `TrainingSet.skipped`.
        workers: Decoding threads; None chooses by the cores.
        progress: Called with (done, total) while every image is decoded.

    Raises:
        ImageError: Unreadable images under "stop": all of them when a cache is built; without a cache, one
            raises when its batch is made.
        DataError: The cache cannot be written.
    """
    samples = [sample for sample in samples if sample.pid >= 0]
    try:
        images, rows = open_images(
            root,
            [s.path for s in samples],
            size,
            value_range=value_range,
            resize=resize,
            cache=cache,
            dataset=dataset,
            on_bad_image=on_bad_image,
            workers=usable_workers(workers),
            progress=progress,
        )
    except ImageError as error:
        raise ImageError(f"{error}\nrepair them, or train without them: data.on_bad_image=skip") from error
    kept = tuple(samples[row] for row in rows)
    readable = set(rows.tolist())
    pids, labels = np.unique(np.array([s.pid for s in kept], dtype=np.int64), return_inverse=True)
    return TrainingSet(
        samples=kept,
        images=images,
        pids=tuple(pids.tolist()),
        labels=labels.astype(np.int64),
        infrared=np.array([s.modality is Modality.INFRARED for s in kept], dtype=np.bool_),
        skipped=tuple(s for row, s in enumerate(samples) if row not in readable),
    )


class TrainLoader:
    """Makes a training set's batches.

    In a loop of one's own it is used as PyTorch's loaders are: `set_epoch(n)`, then iterate.

    Args:
        data: The training set.
        batch: What a batch holds.
        augment: Random changes.
        seed: The run's seed: with the epoch it decides order and changes.
        rank: This process.
        world_size: Number of processes, which share each batch by identity.
        workers: Threads that make batches ahead; 0 makes each when asked for; None chooses by the cores.
        pin_memory: Make batches in page-locked memory.

    Raises:
        DataError, TrainingError, UsageError: As `CrossModalityBatchSampler`.
        ConfigError: More padding than image.
    """

    def __init__(
        self,
        data: TrainingSet,
        batch: BatchSettings,
        augment: AugmentSettings,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        workers: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        self.data, self.workers, self.pin_memory = data, usable_workers(workers), pin_memory
        self.sampler: BatchSampler = make_sampler(
            data.labels, data.infrared, batch, seed, rank=rank, world_size=world_size
        )
        self._augmenter = Augmenter(augment, seed)
        self._plans: dict[int, EpochPlan] = {}
        height, width = data.images.read(0).shape[:2]
        padding = self._augmenter.padding
        if padding >= min(height, width):
            raise ConfigError(
                f"augment.padding is {padding}; it must be less than the image's shorter side "
                f"({min(height, width)})"
            )

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that iterating goes through; without it every epoch is the first."""
        self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(self.sampler.epoch)

    def __len__(self) -> int:
        return self.batches_in(self.sampler.epoch)

    def batches_in(self, epoch: int) -> int:
        """Number of batches in an epoch, the same in every process; epochs may differ by a few."""
        return len(self._plan(epoch))

    def _plan(self, epoch: int) -> EpochPlan:
        if epoch not in self._plans:
            self._plans = {epoch: self.sampler.plan(epoch)}
        return self._plans[epoch]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from batch `start` on: as if never interrupted.

        Raises:
            ImageError: An image that cannot be decoded, named, in the turn of its batch.
        """
        plan = self._plan(epoch)

        def make(number: int) -> Batch:
            return self._make(epoch, plan.indices[number], plan.occurrences[number], plan.views)

        return prefetch(make, range(start, len(plan)), self.workers)

    def _make(self, epoch: int, indices: IntArray, occurrences: IntArray, views: Int8Array) -> Batch:
        infrared = self.data.infrared[indices]
        once = {i: self.data.images.read(i) for i in dict.fromkeys(indices.tolist())}
        read = [once[i] for i in indices.tolist()]
        pixels, codes = self._augmenter.batch(read, epoch, indices, occurrences, infrared, views)
        made = Batch(
            images=to_tensor(pixels),
            labels=torch.from_numpy(self.data.labels[indices]),
            infrared=torch.from_numpy(infrared),
            indices=torch.from_numpy(indices.copy()),
            view=torch.from_numpy(views.copy()),
            channels=None if codes is None else torch.from_numpy(codes),
        )
        return made.pin_memory() if self.pin_memory else made
