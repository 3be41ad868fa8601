"""Images per second of the training data path, against the published one and against what training consumes.

    python benchmarks/data_loading.py [--images 1200] [--workers 2] [--repeats 3] [--step]

Every path ends in normalised float32 batches of 64 with flip, pad and crop at 384x128. "published" is the
published pipeline: Pillow and torchvision transforms image by image in DataLoader processes. `--step` also
times a ResNet-50 training step as `ivreid train` does it (batch 64) on the same cores. Files are
smooth noise as JPEG. The paths take turns, `--repeats` times; the best of each counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ivreid.data import (
    AugmentSettings,
    BatchSettings,
    Preprocessing,
    TrainLoader,
    normalise,
    open_training_set,
)
from ivreid.machine import keep_freed_memory
from ivreid.types import Modality, Sample

PREPROCESSING = Preprocessing()
EVERYTHING = AugmentSettings(jitter=0.5, grey=0.3, channel_exchange=0.5, erasing=0.5, channel_erasing=0.5)


def write_images(root: Path, count: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(count):
        pid, infrared, frame = i % (count // 20), i // (count // 20) % 2 == 0, i // (count // 20) // 2 + 1
        modality = Modality.INFRARED if infrared else Modality.VISIBLE
        sample = Sample(f"{modality}/{pid:04d}/{frame:04d}.jpg", pid, 1 + infrared, modality, frame)
        coarse = Image.fromarray(rng.integers(0, 256, (24, 8, 3), dtype=np.uint8))
        size = int(rng.integers(80, 180)), int(rng.integers(240, 420))
        (root / sample.path).parent.mkdir(parents=True, exist_ok=True)
        coarse.resize(size, Image.Resampling.BICUBIC).save(root / sample.path, quality=90)
        samples.append(sample)
    return samples


class PerImage(Dataset):  # type: ignore[type-arg]
    def __init__(self, root: Path, samples: list[Sample]) -> None:
        self.root, self.samples = root, samples
        self.steps = transforms.Compose(
            [
                transforms.Resize((384, 128)),
                transforms.RandomHorizontalFlip(0.5),
                transforms.Pad(10),
                transforms.RandomCrop((384, 128)),
                transforms.ToTensor(),
                transforms.Normalize(PREPROCESSING.mean, PREPROCESSING.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.root / self.samples[row].path) as image:
            return self.steps(image.convert("RGB")), self.samples[row].pid


def ours(loader: TrainLoader) -> Iterator[int]:
    for batch in loader.epoch(0):
        yield len(normalise(batch.images, PREPROCESSING.mean, PREPROCESSING.std))


def rates(paths: dict[str, Callable[[], Iterator[int]]], repeats: int) -> dict[str, float]:
    best = dict.fromkeys(paths, 0.0)
    for _ in range(repeats):
        for name, epoch in paths.items():
            started = time.perf_counter()
            count = sum(epoch())
            best[name] = max(best[name], count / (time.perf_counter() - started))
    return best


def step_rate() -> float:
    from ivreid import methods

    keep_freed_memory()  # as the command line does
    method = methods.build("iv-reid", {"pretrained": None}, 100).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(method.parameters(), 1e-4, fused=True)
    images = torch.randn(64, 3, 384, 128).contiguous(memory_format=torch.channels_last)
    labels, infrared = torch.arange(8).repeat_interleave(8), torch.arange(64) % 2 == 0
    times = []
    for _ in range(3):
        started = time.perf_counter()
        optimizer.zero_grad()
        sum(method(images, labels, infrared).values()).backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    return len(images) / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--step", action="store_true")
    options = parser.parse_args()
    batch = BatchSettings()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        samples = write_images(root, options.images)
        started = time.perf_counter()
        cached = open_training_set(root, samples, (384, 128), cache=root / "cache", workers=options.workers)
        built = options.images / (time.perf_counter() - started)
        direct = open_training_set(root, samples, (384, 128), workers=options.workers)

        published = DataLoader(
            PerImage(root, samples), 64, shuffle=True, num_workers=options.workers, drop_last=True
        )
        paths: dict[str, Callable[[], Iterator[int]]] = {
            "published (processes)": lambda: (len(b[0]) for b in published)
        }
        for name, data, augment in (
            ("direct decoding", direct, AugmentSettings()),
            ("cache", cached, AugmentSettings()),
            ("cache, every augmentation", cached, EVERYTHING),
        ):
            loader = TrainLoader(data, batch, augment, 0, workers=options.workers)
            paths[name] = lambda loader=loader: ours(loader)  # type: ignore[misc]
        rows = rates(paths, options.repeats)
    print(f"{options.images} images, {options.workers} workers; cache built at {built:,.0f} images/s")
    for name, value in rows.items():
        print(f"{name:28} {value:8,.0f} images/s  {value / rows['published (processes)']:6.2f} x published")
    if options.step:
        step = step_rate()

        print(
            f"{'ResNet-50 step':28} {step:8.1f} images/s; the cache gives {rows['cache'] / step:,.0f} x that"
        )


if __name__ == "__main__":
    main()
