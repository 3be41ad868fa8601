"""No step waits for its device: every method on a device that holds no numbers and so can give none back.

What asks a tensor there for a number (`item`, `nonzero`, a mask as an index, `cpu`) fails, as nothing on a GPU does; it
only takes time there. A copy to the device that waits until it has arrived, and an operation that gets rows of the
CPU beside the device's own, are found by watching the operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ivreid.data import Batch
from ivreid.data.pixels import exchange_channels
from ivreid.methods import METHODS
from ivreid.methods.baseline import Baseline
from method_batches import small_batch, small_method

DEVICE = torch.device("meta")
COPIES = ("aten::_to_copy", "aten::copy_")


class Waits(Exception):
    pass


class Watch(TorchDispatchMode):
    """Refuses operations that a GPU's host would wait in."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = any(tensor.is_meta for tensor in tensors)
        here = any(not tensor.is_meta and tensor.dim() for tensor in tensors)
        name = func._schema.name
        if name in COPIES:
            to = args[0] if name == "aten::copy_" else kwargs.get("device")
            moved = here and (
                to is not None and (to.is_meta if isinstance(to, Tensor) else to.type == "meta")
            )
            waiting = not (
                kwargs.get("non_blocking") or (name == "aten::copy_" and len(args) > 2 and args[2])
            )
            if moved and waiting:
                raise Waits(f"{name} to the device without non_blocking")
        elif there and here:
            raise Waits(f"{name} of tensors on the CPU and on the device")
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def without_autocast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Autocast, which losses switch off around themselves, knows no such device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    yield


def moved(name: str, channels: Tensor | None = None) -> Batch:
    """The method's small batch as a loader makes it, moved as the trainer moves it."""
    images, labels, infrared, view = small_batch(name)
    pixels = (images.clamp(-2, 2) * 60 + 128).to(torch.uint8)
    return Batch(pixels, labels, infrared, torch.arange(len(labels)), view, channels).to(DEVICE)


def step(method: torch.nn.Module, batch: Batch) -> None:
    inputs = batch.inputs((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    terms = method(inputs, batch.labels, batch.infrared, batch.view)
    torch.stack([term.float() for term in terms.values()]).sum().backward()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_step_waits_for_nothing(name: str) -> None:
    method = small_method(name).to(DEVICE).train()
    codes = torch.ones(len(small_batch(name).labels), dtype=torch.int8)
    for epoch in (0, 10_000):
        method.begin_epoch(epoch)
        with Watch():
            method.begin_step()
            step(method, moved(name, codes))
    assert all(parameter.grad is not None for parameter in method.parameters())


class Item(Baseline):
    def triplet(self, x: Tensor, labels: Tensor) -> Tensor:
        return super().triplet(x, labels) if x.sum().item() else x.sum()


class Mask(Baseline):
    def triplet(self, x: Tensor, labels: Tensor) -> Tensor:
        return x[labels == 0].sum()


class HostMask(Baseline):
    def pooled(self, images: Tensor, infrared: Tensor) -> Tensor:
        x = super().pooled(images, infrared)
        return x + x[infrared].sum()


class BlockingCopy(Baseline):
    def pooled(self, images: Tensor, infrared: Tensor) -> Tensor:
        x = super().pooled(images, infrared)
        return x * infrared.to(x.device)[:, None]


@pytest.mark.parametrize("kind", [Item, Mask, HostMask, BlockingCopy])
def test_a_step_that_waits_is_found(kind: type[Baseline]) -> None:
    settings = Baseline.Settings(**Baseline.small)
    method = kind(settings, 4, Baseline.small_size).to(DEVICE)
    with pytest.raises((Waits, NotImplementedError, RuntimeError)), Watch():
        step(method, moved("baseline"))


def test_what_decides_rows_stays_on_the_cpu() -> None:
    batch = moved("caj-plus")
    assert not batch.infrared.is_meta and not batch.view.is_meta
    assert batch.images.is_meta and batch.labels.is_meta and batch.indices.is_meta


def test_channels_are_exchanged_there_as_here() -> None:
    x = torch.from_numpy(np.arange(60, dtype=np.float32).reshape(5, 3, 2, 2))
    found = exchange_channels(x, torch.arange(5, dtype=torch.int8))
    assert torch.equal(found[0], x[0])
    for code in (1, 2, 3):
        assert torch.equal(found[code], x[code, code - 1].expand(3, 2, 2))
    luma = 0.2989 * x[4, 0] + 0.5870 * x[4, 1] + 0.1140 * x[4, 2]
    torch.testing.assert_close(found[4], luma.expand(3, 2, 2))
