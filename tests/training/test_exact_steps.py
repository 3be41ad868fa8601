"""What a step, an epoch and a choice come to, each against its own small derivation.

These pin down what larger tests let pass when it is changed: accumulation, rates within an epoch, ties between
epochs, seeds of steps, the colours and shapes of augmentation, constants, the variance that norms remember.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from ivreid.config import Config
from ivreid.data import Augmenter, AugmentSettings, Preprocessing, normalise
from ivreid.data.counter_rng import keys
from ivreid.data.erasing import rectangle
from ivreid.distributed.sync_norm import synchronise_norms
from ivreid.training import loop, read_log, train
from ivreid.training.loop import Run
from ivreid.training.schedule import rate_factor

Make = Callable[..., Config]
SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}


def test_an_accumulated_step_is_that_of_the_mean_loss_without_clipping(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    real = Run.step

    def spy(self: Run, group: Any, epoch: int, batches: int) -> None:
        first = not seen
        if first:
            seen.update(start=copy.deepcopy(self.parts.network), group=group)
        real(self, group, epoch, batches)
        if first:
            seen["end"] = {k: v.detach().clone() for k, v in self.parts.network.named_parameters()}

    monkeypatch.setattr(Run, "step", spy)
    config = tiny_config(epochs=1, accumulate=2, clip=None, optimizer=SGD, method={"classifier_lr": 0.1})
    train(config)
    network, group = seen["start"], seen["group"]
    assert len(group) == 2
    for batch in group:
        images = normalise(batch.images, config.data.mean, config.data.std)
        (sum(network(images, batch.labels, batch.infrared).values()) / 2).backward()
    moved = 0.0
    for name, parameter in network.named_parameters():
        step = 0.1 * parameter.grad
        # the step's own rounding: some thousand products in another order
        limit = 1e-4 * float(step.abs().max()) + 1e-7
        torch.testing.assert_close(seen["end"][name], parameter.detach() - step, rtol=0, atol=limit)
        moved = max(moved, float(step.abs().max()))
    assert moved > 1e-3


def test_the_rate_moves_within_an_epoch(tiny_config: Make) -> None:
    config = tiny_config(epochs=2, schedule={"name": "cosine"}, optimizer=SGD)
    rows = [row for row in read_log(train(config).folder / "metrics.jsonl") if row["kind"] == "step"]
    counts = [sum(row["epoch"] == epoch for row in rows) for epoch in range(2)]
    assert min(counts) > 1
    expected = [
        0.1 * rate_factor(config.schedule, epoch + batch / count, 2)
        for epoch, count in enumerate(counts)
        for batch in range(count)
    ]
    assert [row["lr"] for row in rows] == pytest.approx(expected)
    assert len(set(expected)) == len(expected)


def test_of_equal_epochs_the_first_is_kept(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([0.25, 0.5, 0.5, 0.5])
    monkeypatch.setattr(
        loop, "validate", lambda *args, **options: dict.fromkeys(("rank1", "mAP", "mINP"), next(figures))
    )
    summary = train(tiny_config(epochs=4))
    assert summary.best is not None
    assert summary.best["epoch"] == 1


def test_every_step_has_a_seed_of_its_own(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    real = Run.step

    def spy(self: Run, *args: Any) -> None:
        handle = self.parts.network.register_forward_pre_hook(
            lambda module, inputs: drawn.append(float(torch.rand(1)))
        )
        real(self, *args)
        handle.remove()

    monkeypatch.setattr(Run, "step", spy)
    train(tiny_config(epochs=2))
    assert len(drawn) > 4
    assert len(set(drawn)) == len(drawn)
    once = list(drawn)
    drawn.clear()
    config = tiny_config(epochs=2)
    train(config.model_copy(update={"out": Path(f"{config.out}-again")}))
    assert drawn == once


@pytest.mark.parametrize(
    "settings", [{"channel_exchange": 1.0}, {"channel_exchange": 1.0, "exclusive": True}]
)
def test_channel_exchange_chooses_each_of_the_three_as_often(settings: dict[str, Any]) -> None:
    augmenter = Augmenter(AugmentSettings(flip=0, padding=0, **settings), seed=1)
    count = 600
    images = [np.tile(np.array([10, 20, 30], np.uint8), (2, 2, 1))] * count
    ids = np.arange(count)
    made = augmenter.batch(images, 0, ids, np.zeros_like(ids), np.zeros(count, dtype=bool)).pixels
    chosen = made[:, 0, 0, 0]
    assert (made == chosen[:, None, None, None]).all()
    shares = [float((chosen == value).mean()) for value in (10, 20, 30)]
    # three standard deviations of a share of 1/3 of 600 are 0.058
    assert shares == pytest.approx([1 / 3] * 3, abs=0.06)


@pytest.mark.parametrize("aspect", [0.3, 0.8])
def test_erased_rectangles_have_every_stated_shape(aspect: float) -> None:
    boxes = [rectangle(keys(n), (400, 400), "uniform", (0.1, 0.1), aspect) for n in range(500)]
    sides = np.array([[b.stop - b.start for b in box] for box in boxes if box is not None], dtype=float)
    ratios = sides[:, 0] / sides[:, 1]
    assert len(ratios) > 490
    # a side is rounded to a whole pixel, so a ratio is off by less than one in sixty
    assert ratios.min() > aspect * (1 - 1 / 60)
    assert ratios.max() < (1 + 1 / 60) / aspect
    # uniform from aspect to its inverse: the mean lies in the middle, both ends are reached
    width = 1 / aspect - aspect
    assert ratios.mean() == pytest.approx(
        (aspect + 1 / aspect) / 2, abs=3 * width / 12**0.5 / 500**0.5 + 0.02
    )
    assert ratios.min() < aspect + 0.05 * width
    assert ratios.max() > 1 / aspect - 0.05 * width
    assert sides.prod(1) == pytest.approx(np.full(len(sides), 16_000), rel=0.02)


def test_imagenets_constants() -> None:
    """Of torchvision's reference training: every published weights file of the field was made with them."""
    assert Preprocessing().mean == (0.485, 0.456, 0.406)
    assert Preprocessing().std == (0.229, 0.224, 0.225)
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    found = normalise(image, Preprocessing().mean, Preprocessing().std).flatten().tolist()
    assert found == pytest.approx([-2.11790393, 0.20518207, 2.64], abs=1e-6)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{tmp_path / 'rendezvous'}",
        rank=0,
        world_size=1,
        timeout=datetime.timedelta(seconds=60),
    )
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_a_synchronised_norm_remembers_the_unbiased_variance() -> None:
    """n values: the running variance moves to sum (x - mean)^2 / (n - 1), as torch's own does."""
    x = torch.tensor([[0.0], [1.0], [5.0]])
    own, plain = synchronise_norms(nn.BatchNorm1d(1), torch.device("cpu")), nn.BatchNorm1d(1)
    own(x)
    plain(x)
    assert own.running_var.item() == pytest.approx(0.9 + 0.1 * 14 / 2)
    assert own.running_var.item() == pytest.approx(plain.running_var.item())
    assert own.running_mean.item() == pytest.approx(plain.running_mean.item())
