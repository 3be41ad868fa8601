"""Training speed: our step and data path against the published loop, same network, images and losses.

    python benchmarks/training.py [--steps 10] [--backbone resnet50] [--size 384x128] [--repeats 1]

The published loop: each image decoded, resized, flipped, padded and cropped by Pillow and torchvision in a
DataLoader of 2 processes; the network eager, NCHW, fp32; plain Adam. Ours: the decoded-image cache, threads,
channels-last, fused Adam, everything else as `ivreid train` does it. Both see the same random changes, so
their losses must agree. They take turns, and the best turn of each counts. On a CUDA device both run there,
ours in bf16 (then losses agree roughly only). Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as tv

from ivreid import methods
from ivreid.data import Augmenter, TrainLoader, open_training_set
from ivreid.training import Config, make_config, read_log, train
from ivreid.training.loop import Run
from ivreid.types import Modality, Sample

FLIP, ROW, COLUMN = range(3)  # the augmenter's draws that decide them


def write_people(root: Path, identities: int, size: tuple[int, int]) -> list[Sample]:
    """Noise in SYSU-MM01's layout, 8 images per identity and modality, in the usual sizes of its files."""
    rng = np.random.default_rng(0)
    (root / "exp").mkdir(parents=True)
    splits = {"train": range(1, identities + 1), "val": [identities + 1], "test": [identities + 2]}
    for split, pids in splits.items():
        (root / "exp" / f"{split}_id.txt").write_text(",".join(map(str, pids)))
    samples = []
    for camera in range(1, 7):
        for pid in range(1, identities + 3):
            folder = root / f"cam{camera}" / f"{pid:04d}"
            folder.mkdir(parents=True)
            for frame in range(1, (4 if camera in (3, 6) else 2) + 1):
                coarse = Image.fromarray(rng.integers(0, 256, (24, 10, 3), dtype=np.uint8))
                coarse.resize((120, 300)).save(folder / f"{frame:04d}.jpg", quality=90)
                modality = Modality.INFRARED if camera in (3, 6) else Modality.VISIBLE
                samples.append(Sample(f"cam{camera}/{pid:04d}/{frame:04d}.jpg", pid, camera, modality, frame))
    return samples


class PublishedImages(Dataset[torch.Tensor]):
    """One image at a time, by Pillow, with the random changes that ours would make."""

    def __init__(self, config: Config, loader: TrainLoader, epoch: int) -> None:
        plan = loader.sampler.plan(epoch)
        self.rows = np.stack([plan.indices.ravel(), plan.occurrences.ravel()], axis=1)
        self.config, self.epoch, self.samples = config, epoch, loader.data.samples
        self.augmenter = Augmenter(config.augment, config.seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> torch.Tensor:
        index, occurrence = self.rows[row]
        _, draws = self.augmenter.draws(self.epoch, np.array([index]), np.array([occurrence]))
        draw, pad, (height, width) = draws[0], self.config.augment.padding, self.config.data.size
        assert self.config.data.root is not None
        with Image.open(self.config.data.root / self.samples[index].path) as opened:
            image = opened.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        if draw[FLIP] < self.config.augment.flip:
            image = ImageOps.mirror(image)
        top, left = (int((2 * pad + 1) * draw[i]) for i in (ROW, COLUMN))
        image = ImageOps.expand(image, pad).crop((left, top, left + width, top + height))
        return tv.normalize(tv.to_tensor(image), self.config.data.mean, self.config.data.std)


def published(config: Config, device: torch.device, steps: int) -> tuple[list[float], list[float]]:
    """Losses and the time after each step."""
    loader = training_loader(config)
    settings = {key: value for key, value in config.method.items() if key != "name"}
    network = methods.build("iv-reid", settings, loader.data.num_classes, seed=config.seed).to(device)
    optimizer = torch.optim.Adam(network.parameter_groups(config.optimizer.lr), weight_decay=5e-4)
    losses, times = [], [time.perf_counter()]

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        for epoch in range(steps):
            images = PublishedImages(config, loader, epoch)
            made = DataLoader(images, config.batch.size, num_workers=2)
            for batch, (start, rows) in zip(made, enumerate(loader.sampler.batches(epoch)), strict=True):
                del start
                infrared = torch.from_numpy(loader.data.infrared[rows])
                yield batch, torch.from_numpy(loader.data.labels[rows]), infrared

    for images, labels, infrared in batches():
        terms = network(images.to(device), labels.to(device), infrared.to(device))
        loss = sum(terms.values(), torch.zeros((), device=device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        times.append(time.perf_counter())
        if len(losses) == steps:
            break
    return losses, times


def training_loader(config: Config) -> TrainLoader:
    from ivreid.datasets import load_dataset

    assert config.data.root is not None
    dataset = load_dataset("sysu-mm01", config.data.root)
    data = open_training_set(dataset.root, dataset.split("train"), config.data.size)
    return TrainLoader(data, config.batch, config.augment, config.seed, workers=0)


class Enough(Exception):
    """Enough steps have been timed."""


def ours(config: Config, steps: int) -> tuple[list[float], list[float]]:
    """The same from `ivreid train` itself."""
    times: list[float] = []
    fit, between = Run.fit, Run.between_steps

    def timed_fit(self: Run) -> None:
        times.append(time.perf_counter())
        fit(self)

    def timed(self: Run) -> None:
        if self.parts.device.type == "cuda":
            torch.cuda.synchronize()
        between(self)
        times.append(time.perf_counter())
        if len(times) > steps:
            self.flush()
            raise Enough

    Run.fit, Run.between_steps = timed_fit, timed  # type: ignore[method-assign]
    try:
        train(config)
    except Enough:
        pass
    finally:
        Run.fit, Run.between_steps = fit, between  # type: ignore[method-assign]
    assert config.out is not None
    return [row["loss"] for row in read_log(config.out / "metrics.jsonl") if row["kind"] == "step"][
        :steps
    ], times


def rate(times: list[float], images: int) -> float:
    """Images per second over all steps but the first, which warms up."""
    return images * (len(times) - 2) / (times[-1] - times[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", default="384x128")
    parser.add_argument("--identities", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="for ours only, e.g. --set compile=true")
    options = parser.parse_args()
    size = [int(side) for side in options.size.split("x")]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_people(root / "data", 2 * options.identities, (size[0], size[1]))
        tree: dict[str, Any] = {
            "device": options.device,
            "epochs": options.steps,
            "data": {"root": str(root / "data"), "size": size},
            "augment": {"padding": min(10, min(size) // 4)},
            "batch": {"identities": options.identities},
            "method": {"name": "iv-reid", "backbone": options.backbone, "pretrained": None},
            "validation": {"select": "last", "every": options.steps + 1},
            "checkpoint": {"every_minutes": None},
        }
        from ivreid.inference import choose_device
        from ivreid.training.load import _override

        changed = json.loads(json.dumps(tree))
        for word in options.set:
            _override(changed, word)
        device = choose_device(options.device)
        speeds: dict[str, list[float]] = {"published": [], "ours": []}
        for turn in range(options.repeats):
            theirs, times = published(make_config(tree), device, options.steps)
            images = make_config(tree).batch.size
            speeds["published"].append(rate(times, images))
            mine, times = ours(make_config({**changed, "out": str(root / f"run{turn}")}), options.steps)
            speeds["ours"].append(rate(times, images))
    apart = max(abs(a - b) / abs(a) for a, b in zip(theirs, mine, strict=True))
    one, other = max(speeds["published"]), max(speeds["ours"])
    print(f"{options.backbone}, {options.size}, batch {images}, {device}, {torch.get_num_threads()} threads")
    print(f"published loop {one:8.2f} images/s")
    print(f"ivreid train   {other:8.2f} images/s   {other / one:.2f} times")
    span = f"{theirs[0]:.5f} ... {theirs[-1]:.5f}"
    print(f"losses over {len(mine)} steps differ by at most {apart:.1e} (relative): {span}")
    if device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
