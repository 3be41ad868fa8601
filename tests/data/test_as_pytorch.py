"""The sampler and the loader used as PyTorch's are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ivreid import load_dataset, synthesise
from ivreid.data import AugmentSettings, BatchSettings, TrainLoader, make_sampler, open_training_set


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> int:
        return index * index


def test_a_sampler_serves_a_data_loader_epoch_by_epoch() -> None:
    labels, infrared = np.repeat(np.arange(8), 8), np.tile([True, False], 32)
    sampler = make_sampler(labels, infrared, BatchSettings(identities=4, instances=2), seed=3)
    loader = DataLoader(Squares(), batch_sampler=sampler)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        seen = [batch.tolist() for batch in loader]
        assert seen == [[index * index for index in batch] for batch in sampler.batches(epoch)]
        assert len(loader) == len(seen) == len(sampler)
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_a_loader_is_iterated_after_set_epoch(tmp_path: Path) -> None:
    synthesise(tmp_path, layout="regdb", identities=12, images=4, size=(32, 16))
    dataset = load_dataset("regdb", tmp_path)
    data = open_training_set(dataset.root, dataset.split("train"), (32, 16))
    loader = TrainLoader(data, BatchSettings(identities=2, instances=2), AugmentSettings(padding=2), seed=1)
    for epoch in (0, 3):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == loader.batches_in(epoch)
        for found, expected in zip(batches, loader.epoch(epoch), strict=True):
            assert torch.equal(found.images, expected.images)
            assert torch.equal(found.indices, expected.indices)
