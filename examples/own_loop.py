"""A training loop of your own with our reader, batches, losses and evaluator; each part can be yours instead.

python examples/own_loop.py
"""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from torch import nn

import ivreid
from ivreid.data import AugmentSettings, BatchSettings, TrainLoader, open_training_set
from ivreid.losses import identity_loss, weighted_triplet_loss

SIZE = (64, 32)


def embed(network: nn.Module, root: object, samples: tuple[ivreid.Sample, ...]) -> torch.Tensor:
    """(N, D): whatever turns your pictures into vectors."""
    pictures = open_training_set(root, samples, SIZE).images  # type: ignore[arg-type]
    pixels = torch.from_numpy(np.stack([pictures.read(i) for i in range(len(samples))]))
    with torch.no_grad():
        return network.eval()(pixels.permute(0, 3, 1, 2).float() / 255)


def main(epochs: int = 2) -> ivreid.Result:
    """Draw people, train a small network of no method at all, score it by RegDB's protocol."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        ivreid.synthesise(folder, layout="regdb", identities=24, images=4, size=SIZE, workers=1)
        dataset = ivreid.load_dataset("regdb", folder, trial=1)
        data = open_training_set(dataset.root, dataset.split("train"), SIZE)
        loader = TrainLoader(data, BatchSettings(identities=4, instances=2), AugmentSettings(), seed=0)

        network = nn.Sequential(
            *(nn.Conv2d(3, 32, 5, 4), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        classifier = nn.Linear(64, data.num_classes)
        optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters()], 1e-3)
        for epoch in range(epochs):
            loader.set_epoch(epoch)
            for batch in loader:
                x = network.train()(batch.images.float() / 255)
                loss = identity_loss(classifier(x), batch.labels) + weighted_triplet_loss(x, batch.labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        test = dataset.split("test")
        result = ivreid.score(
            embed(network, dataset.root, test),
            [sample.pid for sample in test],
            [sample.camid for sample in test],
            modality=[sample.modality for sample in test],
            protocol="regdb",
        )
    print(f"{result.title}: Rank-1 {result.mean['rank1']:.1%}, mAP {result.mean['mAP']:.1%}")
    return result


if __name__ == "__main__":
    main()
