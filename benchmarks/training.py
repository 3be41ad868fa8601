"""Training speed: our step and data path against the published loop, same network, images and losses.

    python benchmarks/training.py [--method iv-reid] [--steps 10] [--repeats 1] [--rate 0.1]
                                  [--backbone resnet50] [--size 384x128]

The published loop: each image decoded, resized, flipped, padded and cropped by Pillow and torchvision in a
DataLoader of 2 processes; the network eager, NCHW, fp32; a plain optimiser. Ours: the decoded-image cache, threads,
channels-last, a fused optimiser, everything else as `ivreid train` does it. Both see the same random changes, so
their losses must agree: to 1e-4 over the ten steps, or the command fails. They take turns, and the best turn
of each counts. On a CUDA device both run there, ours in bf16 (then losses agree roughly only). Run it on a
quiet machine.

`--method` takes any other method with the batch, image size and optimiser of its recipe, at a constant rate and
without averaged weights on both sides. Every row is decoded by itself there, a second view of an image too; changes
of colour and erasing are ours, an image at a time. Losses must agree in the first step; after it a method at a high
rate may amplify rounding, which is printed. Also told: which share of a large fp32 product's speed the step reaches,
and which share of it the losses take, forward and backward.

Both learn at a tenth of the published rates, which changes no time. From random weights at the full rates
(`--rate 1`) ten steps amplify any rounding to almost a percent of the loss, for Adam's first steps have the
size of the rate whatever the size of the gradient; with `--set channels_last=false`, whose convolutions
round nearly as the published loop's do, to a few times 1e-4.
"""

from __future__ import annotations

import argparse
import functools
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import functional as tv

from ivreid import methods
from ivreid.config import Config, load_config, make_config
from ivreid.data import Augmenter, Batch, TrainLoader, open_training_set
from ivreid.data.pixels import exchange_channels
from ivreid.data.settings import ViewSettings
from ivreid.datasets import load_dataset
from ivreid.distributed.device import choose_device
from ivreid.machine import keep_freed_memory
from ivreid.synthetic import synthesise
from ivreid.training import read_log, train
from ivreid.training.loop import Run
from ivreid.training.random_state import seed_step

AGREEMENT = 1e-4
FLIP, ROW, COLUMN = range(3)  # the augmenter's draws that decide them


class PublishedImages(Dataset[torch.Tensor]):
    """One image at a time, by Pillow, with the random changes that ours would make."""

    def __init__(self, config: Config, loader: TrainLoader, epoch: int) -> None:
        plan = loader.sampler.plan(epoch)
        views = np.broadcast_to(plan.views, plan.indices.shape)
        self.rows = np.stack([plan.indices.ravel(), plan.occurrences.ravel(), views.ravel()], axis=1)
        self.infrared = loader.data.infrared
        self.config, self.epoch, self.samples = config, epoch, loader.data.samples
        self.augmenter = Augmenter(config.augment, config.seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> torch.Tensor:
        index, occurrence, view = self.rows[row]
        _, draws = self.augmenter.draws(self.epoch, np.array([index]), np.array([occurrence]))
        draw, pad, (height, width) = draws[0], self.config.augment.padding, self.config.data.size
        assert self.config.data.root is not None
        by = Image.Resampling[self.config.data.resize.upper()]
        with Image.open(self.config.data.root / self.samples[index].path) as opened:
            image = opened.convert("RGB").resize((width, height), by)
        if not flips_and_crops_only(self.config):
            return self.changed(np.asarray(image), index, occurrence, view)
        if draw[FLIP] < self.config.augment.flip:
            image = ImageOps.mirror(image)
        top, left = (int((2 * pad + 1) * draw[i]) for i in (ROW, COLUMN))
        image = ImageOps.expand(image, pad).crop((left, top, left + width, top + height))
        tensor: torch.Tensor = tv.normalize(tv.to_tensor(image), self.config.data.mean, self.config.data.std)
        return tensor

    def changed(self, pixels: np.ndarray, index: int, occurrence: int, view: int) -> torch.Tensor:
        """One image with all of our changes."""
        found = self.augmenter.batch(
            [pixels],
            self.epoch,
            np.array([index]),
            np.array([occurrence]),
            self.infrared[[index]],
            np.array([view], dtype=np.int8),
        )
        tensor: torch.Tensor = tv.normalize(
            tv.to_tensor(found.pixels[0]), self.config.data.mean, self.config.data.std
        )
        if found.channels is None:
            return tensor
        return exchange_channels(tensor[None], torch.from_numpy(found.channels))[0]


def flips_and_crops_only(config: Config) -> bool:
    """Whether images change in no other way, as IV-ReID's do."""
    plain = ViewSettings(flip=config.augment.flip, padding=config.augment.padding)
    return all(config.augment.kind(kind) == plain for kind in ("visible", "second", "infrared"))


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
    network = build(config, loader.data.num_classes).to(device)
    optimizer = plain_optimizer(config, network)
    losses, times = [], [time.perf_counter()]

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        for epoch in range(steps):
            network.begin_epoch(epoch)
            images, plan = PublishedImages(config, loader, epoch), loader.sampler.plan(epoch)
            made = DataLoader(images, config.batch.size, num_workers=2)
            for batch, rows in zip(made, plan.indices, strict=True):
                infrared = torch.from_numpy(loader.data.infrared[rows])
                labels = torch.from_numpy(loader.data.labels[rows])
                yield batch, labels, infrared, torch.from_numpy(plan.views.copy())

    for batch in batches():
        seed_step(config.seed, len(losses) + 1, 0)
        network.begin_step()
        terms = network(*(tensor.to(device) for tensor in batch))
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
    data = open_training_set(
        dataset.root, dataset.split("train"), config.data.size, resize=config.data.resize
    )
    return TrainLoader(data, config.batch, config.augment, config.seed, workers=0)


def build(config: Config, num_classes: int) -> methods.Method:
    settings = {key: value for key, value in config.method.items() if key != "name"}
    return methods.build(
        config.method["name"], settings, num_classes, size=config.data.size, seed=config.seed
    )


def plain_optimizer(config: Config, network: methods.Method) -> torch.optim.Optimizer:
    """As published programs make it: not fused."""
    chosen, groups = config.optimizer, network.parameter_groups(config.optimizer.lr)
    if chosen.name == "sgd":
        return torch.optim.SGD(
            groups, momentum=chosen.momentum, nesterov=chosen.nesterov, weight_decay=chosen.weight_decay
        )
    kind = torch.optim.Adam if chosen.name == "adam" else torch.optim.AdamW
    return kind(groups, betas=chosen.betas, weight_decay=chosen.weight_decay)


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


class OneStep:
    """A step of ours on one batch, to be counted and timed by itself."""

    def __init__(self, config: Config) -> None:
        self.config, self.device = config, choose_device(config.device)
        loader = training_loader(config)
        network = build(config, loader.data.num_classes)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.network = network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.network.begin_epoch(0)
        self.batch: Batch = next(loader.epoch(0)).to(self.device)

    def __call__(self) -> None:
        """Forward and backward."""
        data, batch = self.config.data, self.batch
        images = batch.inputs(data.mean, data.std, self.config.channels_last)
        terms = self.network(images, batch.labels, batch.infrared, batch.view)
        torch.stack([term.float() for term in terms.values()]).sum().backward()

    def seconds(self, work: Callable[[], Any]) -> float:
        wait(self.device)
        start = time.perf_counter()
        work()
        wait(self.device)
        return time.perf_counter() - start

    def flops(self) -> int:
        """Floating-point operations."""
        with FlopCounterMode(display=False) as counter:
            self()
        return int(counter.get_total_flops())

    def seconds_of_losses(self, repeats: int = 2) -> float:
        """The time in loss functions, forward and backward, in one step."""
        spent = []
        for _ in range(repeats):
            with self.losses_timed() as times:
                self()
            spent.append(sum(times))
        return min(spent)

    @contextmanager
    def losses_timed(self) -> Iterator[list[float]]:
        """Time each call of a loss on its own: with leaves in the place of its inputs, and its backward pass."""
        times: list[float] = []

        def timed(loss: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(loss)
            def call(*args: Any, **kwargs: Any) -> Any:
                leaves = [
                    value.detach().requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value
                    for value in (*args, *kwargs.values())
                ]
                named = dict(zip(kwargs, leaves[len(args) :], strict=True))

                def alone() -> None:
                    found = loss(*leaves[: len(args)], **named)
                    if isinstance(found, Tensor) and found.requires_grad:
                        found.sum().backward()

                times.append(self.seconds(alone))
                return loss(*args, **kwargs)

            return call

        replaced = []
        for kind in type(self.network).__mro__:
            if not kind.__module__.startswith("ivreid.methods."):
                continue
            names = vars(sys.modules[kind.__module__])
            for name, value in list(names.items()):
                if getattr(value, "__module__", "").startswith("ivreid.losses.") and callable(value):
                    replaced.append((names, name, value))
                    names[name] = timed(value)
        try:
            yield times
        finally:
            for names, name, value in replaced:
                names[name] = value


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device, dtype: torch.dtype, side: int, repeats: int) -> float:
    """Floating-point operations a second in a large product of matrices."""
    one = torch.randn(side, side, device=device, dtype=dtype)
    for _ in range(3):
        one @ one
    wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        one @ one
    wait(device)
    return 2 * side**3 * repeats / (time.perf_counter() - start)


def told_of_a_step(config: Config, rate: float) -> Iterator[str]:
    """Its speed against a large product's, and the share of its losses.

    Args:
        config: The run.
        rate: Images a second that ours reached.
    """
    step = OneStep(config)
    device, done = step.device, step.flops() * rate / config.batch.size
    on_gpu = device.type == "cuda"
    kind = "bf16" if on_gpu else "fp32"
    most = peak(device, torch.bfloat16, 8192, 20) if on_gpu else peak(device, torch.float32, 2048, 10)
    yield f"{done / 1e9:.0f} GFLOP/s, {done / most:.0%} of the {most / 1e9:.0f} measured in {kind} products"
    share = step.seconds_of_losses() * rate / config.batch.size
    yield f"losses take {share:.1%} of a step (forward and backward)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="iv-reid")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--backbone", help="another than the method's own")
    parser.add_argument("--size", help="of images, e.g. 384x128; the recipe's where not given")
    parser.add_argument("--identities", type=int, help="in a batch; the recipe's where not given")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.1, help="times the published learning rates")
    parser.add_argument("--give-back", action="store_true", help="ours without `keep_freed_memory`")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="for ours only, e.g. --set compile=true")
    options = parser.parse_args()
    recipe = make_config({"recipe": options.method})
    size = [int(side) for side in options.size.split("x")] if options.size else list(recipe.data.size)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        drawn = [min(side, limit) for side, limit in zip(size, (256, 128), strict=True)]
        people = options.identities or recipe.batch.identities
        synthesise(
            root / "data",
            layout="sysu-mm01",
            identities=max(100, 2 * people),
            images=4,
            size=(drawn[0], drawn[1]),
            seed=0,
        )
        tree: dict[str, Any] = {
            "recipe": options.method,
            "device": options.device,
            "epochs": options.steps,
            "data": {"root": str(root / "data"), "size": size},
            "augment": {"padding": min(recipe.augment.padding, min(size) // 4)},
            "batch": {"identities": people},
            "method": {"pretrained": None},
            "optimizer": {"lr": recipe.optimizer.lr * options.rate},
            "schedule": {"name": "constant", "per": "step", "warmup": 0, "milestones": []},
            "precision": "auto",
            "ema": None,
            "clip": None,
            "validation": {"select": "last", "every": options.steps + 1},
            "checkpoint": {"every_minutes": None},
        }
        if options.backbone:
            tree["method"]["backbone"] = options.backbone
        if options.method == "iv-reid":
            tree["method"]["classifier_lr"] = 1e-3 * options.rate
        (root / "benchmark.yaml").write_text(yaml.safe_dump(tree))
        config = make_config(tree)
        images = config.batch.size
        turns: list[tuple[Turn, Turn]] = []
        for number in range(options.repeats):
            theirs = in_a_process(published, load_config(root / "benchmark.yaml"), options.steps)
            words = [*options.set, f"out={root / f'run{number}'}"]
            changed = load_config(root / "benchmark.yaml", words)
            mine = in_a_process(ours, changed, options.steps, options.give_back)
            turns.append((theirs, mine))
        one, other = (max(turn[side].rate(images) for turn in turns) for side in (0, 1))
        told = list(told_of_a_step(config, other))
    device = choose_device(options.device)
    gaps = [abs(a - b) / abs(a) for a, b in zip(theirs.losses, mine.losses, strict=True)]
    height, width = size
    print(
        f"{options.method}, {config.method.get('backbone')}, {height}x{width}, batch {images}, {device}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"published loop {one:8.2f} images/s, peak memory {theirs.peak:.1f} GiB")
    print(
        f"ivreid train   {other:8.2f} images/s, peak memory {mine.peak:.1f} GiB, {other / one:.2f} times as fast"
    )
    print(f"turn by turn   {', '.join(f'{b.rate(1) / a.rate(1):.2f}' for a, b in turns)} times as fast")
    span = f"{theirs.losses[0]:.5f} ... {theirs.losses[-1]:.5f}"
    print(
        f"losses of the first step differ by {gaps[0]:.1e}, over {len(gaps)} steps by at most {max(gaps):.1e} "
        f"(relative): {span}"
    )
    for line in told:
        print(line)
    if device.type != "cuda" and (max(gaps) if options.method == "iv-reid" else gaps[0]) > AGREEMENT:
        sys.exit("the losses differ")


if __name__ == "__main__":
    main()
