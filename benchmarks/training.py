"""Training speed: our step and data path against the published loop, same network, images and losses.

    python benchmarks/training.py [--steps 10] [--backbone resnet50] [--size 384x128] [--repeats 1] [--rate 0.1]

The published loop: each image decoded, resized, flipped, padded and cropped by Pillow and torchvision in a
DataLoader of 2 processes; the network eager, NCHW, fp32; plain Adam. Ours: the decoded-image cache, threads,
channels-last, fused Adam, everything else as `ivreid train` does it. Both see the same random changes, so
their losses must agree: to 1e-4 over the ten steps, or the command fails. They take turns, and the best turn
of each counts. On a CUDA device both run there, ours in bf16 (then losses agree roughly only). Run it on a
quiet machine.

Both learn at a tenth of the published rates, which changes no time. From random weights at the full rates
(`--rate 1`) ten steps amplify any rounding to almost a percent of the loss, for Adam's first steps have the
size of the rate whatever the size of the gradient; with `--set channels_last=false`, whose convolutions
round nearly as the published loop's do, to a few times 1e-4.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import functional as tv

from ivreid import methods
from ivreid.config import Config, load_config, make_config
from ivreid.data import Augmenter, TrainLoader, open_training_set
from ivreid.datasets import load_dataset
from ivreid.distributed.device import choose_device
from ivreid.machine import keep_freed_memory
from ivreid.synthetic import synthesise
from ivreid.training import read_log, train
from ivreid.training.loop import Run

AGREEMENT = 1e-4
FLIP, ROW, COLUMN = range(3)  # the augmenter's draws that decide them


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
        tensor: torch.Tensor = tv.normalize(tv.to_tensor(image), self.config.data.mean, self.config.data.std)
        return tensor


class Turn(NamedTuple):
    losses: list[float]
    times: list[float]  # after each step, the first before them all
    peak: float  # memory in GiB, the device's

    def rate(self, images: int) -> float:
        """Images per second over all steps but the first, which warms up."""
        return images * (len(self.times) - 2) / (self.times[-1] - self.times[1])


def peak_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def published(config: Config, steps: int) -> Turn:
    """The published loop."""
    device = choose_device(config.device)
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
    return Turn(losses, times, peak_gib(device))


def training_loader(config: Config) -> TrainLoader:
    assert config.data.root is not None
    dataset = load_dataset("sysu-mm01", config.data.root)
    data = open_training_set(dataset.root, dataset.split("train"), config.data.size)
    return TrainLoader(data, config.batch, config.augment, config.seed, workers=0)


class Enough(Exception):
    """Enough steps have been timed."""


def ours(config: Config, steps: int, give_back: bool = False) -> Turn:
    """The same from `ivreid train` itself."""
    if not give_back:
        keep_freed_memory()  # as the command line does
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
    rows = read_log(config.out / "metrics.jsonl")
    losses = [row["loss"] for row in rows if row["kind"] == "step"]
    return Turn(losses[:steps], times, peak_gib(choose_device(config.device)))


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """Each turn in a process of its own, which inherits nothing from the other."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def flops_of_step(config: Config, device: torch.device) -> int:
    """Floating-point operations of one step's forward and backward pass."""
    settings = {key: value for key, value in config.method.items() if key != "name"}
    network = methods.build("iv-reid", settings, 100, seed=0).to(device)
    count = config.batch.size
    images = torch.rand(count, 3, *config.data.size, device=device)
    labels = torch.arange(count, device=device) // config.batch.instances % config.batch.identities
    with FlopCounterMode(display=False) as counter:
        terms = network(images, labels, torch.arange(count) < count // 2)
        torch.stack(list(terms.values())).sum().backward()
    return int(counter.get_total_flops())


def bf16_peak(device: torch.device, side: int = 8192, repeats: int = 20) -> float:
    """Floating-point operations a second in a large product of bf16 matrices."""
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        one @ one
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        one @ one
    torch.cuda.synchronize(device)
    return 2 * side**3 * repeats / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", default="384x128")
    parser.add_argument("--identities", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.1, help="times the published learning rates")
    parser.add_argument("--give-back", action="store_true", help="ours without `keep_freed_memory`")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="for ours only, e.g. --set compile=true")
    options = parser.parse_args()
    size = [int(side) for side in options.size.split("x")]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        drawn = [min(side, limit) for side, limit in zip(size, (256, 128), strict=True)]
        people = max(100, 2 * options.identities)
        synthesise(
            root / "data", layout="sysu-mm01", identities=people, images=4, size=(drawn[0], drawn[1]), seed=0
        )
        tree: dict[str, Any] = {
            "device": options.device,
            "epochs": options.steps,
            "data": {"root": str(root / "data"), "size": size},
            "augment": {"padding": min(10, min(size) // 4)},
            "batch": {"identities": options.identities},
            "method": {
                "name": "iv-reid",
                "backbone": options.backbone,
                "pretrained": None,
                "classifier_lr": 1e-3 * options.rate,
            },
            "optimizer": {"lr": 1e-4 * options.rate},
            "validation": {"select": "last", "every": options.steps + 1},
            "checkpoint": {"every_minutes": None},
        }
        (root / "benchmark.yaml").write_text(yaml.safe_dump(tree))
        images = make_config(tree).batch.size
        turns: list[tuple[Turn, Turn]] = []
        for number in range(options.repeats):
            theirs = in_a_process(published, load_config(root / "benchmark.yaml"), options.steps)
            words = [*options.set, f"out={root / f'run{number}'}"]
            changed = load_config(root / "benchmark.yaml", words)
            mine = in_a_process(ours, changed, options.steps, options.give_back)
            turns.append((theirs, mine))
    device = choose_device(options.device)
    apart = max(abs(a - b) / abs(a) for a, b in zip(theirs.losses, mine.losses, strict=True))
    one, other = (max(turn[side].rate(images) for turn in turns) for side in (0, 1))
    print(f"{options.backbone}, {options.size}, batch {images}, {device}, {torch.get_num_threads()} threads")
    print(f"published loop {one:8.2f} images/s, peak memory {theirs.peak:.1f} GiB")
    print(
        f"ivreid train   {other:8.2f} images/s, peak memory {mine.peak:.1f} GiB, {other / one:.2f} times as fast"
    )
    print(f"turn by turn   {', '.join(f'{b.rate(1) / a.rate(1):.2f}' for a, b in turns)} times as fast")
    span = f"{theirs.losses[0]:.5f} ... {theirs.losses[-1]:.5f}"
    print(f"losses over {len(mine.losses)} steps differ by at most {apart:.1e} (relative): {span}")
    if device.type == "cuda":
        done, peak = flops_of_step(make_config(tree), device) * other / images, bf16_peak(device)
        print(
            f"{done / 1e12:.1f} TFLOP/s, {done / peak:.0%} of the {peak / 1e12:.0f} measured in bf16 products"
        )
    elif apart > AGREEMENT:
        sys.exit("the losses differ")


if __name__ == "__main__":
    main()
