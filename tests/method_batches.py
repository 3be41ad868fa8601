"""A small form of every method, and a batch it can train on."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ivreid import methods
from ivreid.methods import Method
from ivreid.testing.method_contract import IDENTITIES, make_batch

OWN_PARTS = ("agw", "caj", "caj-plus", "deen", "dns", "saai")
"""Methods of which a part belongs to one modality, so that an embedding depends on it."""


class SmallBatch(NamedTuple):
    """What `forward` takes."""

    images: Tensor
    labels: Tensor
    infrared: Tensor
    view: Tensor

    def part(self, first: int, last: int) -> SmallBatch:
        """Some of its rows."""
        return SmallBatch(*(value[first:last] for value in self))

    def double(self) -> SmallBatch:
        """With images in double precision."""
        return self._replace(images=self.images.double())


def small_method(name: str, **settings: Any) -> Method:
    """The method as its contract test has it, on `IDENTITIES` identities."""
    kind = methods.get_method(name)
    return methods.build(name, {**kind.small, **settings}, IDENTITIES, size=kind.small_size)


def small_batch(name: str, seed: int = 0, options: Mapping[str, Any] | None = None) -> SmallBatch:
    """Identities one after another, of each two infrared images, then two visible ones in every view."""
    kind = methods.get_method(name)
    of_options = SimpleNamespace(views=kind.views_with(options or {}), small_size=kind.small_size)
    return SmallBatch(*make_batch(of_options, seed=seed))  # type: ignore[arg-type]


@torch.no_grad()
def scatter(network: nn.Module, seed: int = 0, keep: tuple[str, ...] = ()) -> nn.Module:
    """Give every tensor values of its own, as after training: no copy equals another, nothing is 0 or 1.

    Args:
        network: Changed in place.
        seed: Decides the values.
        keep: Names of tensors that stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name in keep or not value.is_floating_point():
            continue
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif name.endswith(("bias", "running_mean")):
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        elif value.dim() == 1:
            value.copy_(0.5 + 0.5 * torch.rand(value.shape, generator=generator))
        else:
            noise = torch.randn(value.shape, generator=generator)
            value.add_(0.1 * value.std() * noise)
    return network
