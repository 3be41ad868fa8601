"""How fast synthetic pictures are drawn, and how much of an identity crosses between the modalities.

    python benchmarks/synthetic.py [--identities 60] [--images 4] [--gap 0.7] [--features FEATURES.npz]

Without `--features` the vectors are mean colours and grey histograms, each camera's own average and
spread taken out. With it they are a trained model's embeddings of its test images. Rank-1 is over
galleries of one picture per person and camera; chance is what a blind guess in them reaches.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ivreid.datasets import load_dataset
from ivreid.datasets.features import read_features
from ivreid.synthetic import DEFAULT_GAP, synthesise
from ivreid.types import ImageTable


def rank1(
    vectors: np.ndarray, images: ImageTable, query: np.ndarray, gallery: np.ndarray
) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    found = guessed = asked_in_all = 0.0
    for _ in range(20):
        order = rng.permutation(np.flatnonzero(gallery))
        _, first = np.unique(np.stack([images.pids, images.camids])[:, order], axis=1, return_index=True)
        shown, asked = order[first], np.flatnonzero(query)
        allowed = images.camids[asked][:, None] != images.camids[shown][None]
        right = (images.pids[asked][:, None] == images.pids[shown][None]) & allowed
        valid = right.any(axis=1)
        distance = ((vectors[asked][:, None] - vectors[shown][None]) ** 2).sum(axis=2)
        nearest = np.where(allowed, distance, np.inf).argmin(axis=1)
        found += right[np.arange(len(asked)), nearest][valid].sum()
        guessed += (right.sum(axis=1) / allowed.sum(axis=1))[valid].sum()
        asked_in_all += valid.sum()
    return found / asked_in_all, guessed / asked_in_all


def report(name: str, vectors: np.ndarray, images: ImageTable) -> None:
    infrared = images.infrared
    for title, query, gallery in (
        ("infrared to visible", infrared, ~infrared),
        ("visible to infrared", ~infrared, infrared),
        ("visible to visible", ~infrared, ~infrared),
        ("infrared to infrared", infrared, infrared),
    ):
        reached, chance = rank1(vectors, images, query, gallery)
        over = f"{reached / chance:5.1f} times chance ({chance:.1%})"
        print(f"{name:15} {title:22} Rank-1 {reached:6.1%}, {over}")


def standardised(vectors: np.ndarray, images: ImageTable) -> np.ndarray:
    out = vectors.copy()
    for camera in np.unique(images.camids):
        rows = images.camids == camera
        out[rows] = (out[rows] - out[rows].mean(axis=0)) / (out[rows].std(axis=0) + 1e-6)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--identities", type=int, default=60)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--gap", type=float, default=DEFAULT_GAP)
    parser.add_argument("--features", type=Path)
    arguments = parser.parse_args()
    if arguments.features:
        embeddings = read_features(arguments.features, protocol="sysu-mm01")
        report("embeddings", embeddings.vectors, embeddings.images)
        return
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, None):
            summary = synthesise(
                Path(folder) / str(workers), layout="sysu-mm01", identities=arguments.identities,
                images=arguments.images, size=(128, 64), seed=0, gap=arguments.gap, workers=workers,
            )  # fmt: skip
            speed = summary.images / summary.seconds
            print(f"{summary.images} pictures of 128x64, workers {workers or 'all'}: {speed:.0f} a second")
        data = load_dataset("sysu-mm01", summary.root)
        samples = [sample for split in data.splits.values() for sample in split]
        images = ImageTable.from_samples(samples)
        small = []
        for sample in samples:
            with Image.open(data.path(sample)) as image:
                small.append(np.asarray(image.resize((32, 64)), dtype=np.float64))
    mean = np.array([picture[8:56, 8:24].mean(axis=(0, 1)) for picture in small])
    grey = [np.histogram(picture.mean(axis=2), 16, (0, 255))[0] for picture in small]
    report("mean colour", standardised(mean, images), images)
    report("grey histogram", standardised(np.array(grey, dtype=np.float64), images), images)


if __name__ == "__main__":
    main()
