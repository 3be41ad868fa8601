"""A whole network that follows another slowly, and teaches without being taught."""

from __future__ import annotations

import copy
from typing import Generic, Self, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class SlowCopy(nn.Module, Generic[Network]):
    """A frozen copy that moves towards a network, in evaluation mode for good; checkpoints hold it.

    Source: Tarvainen & Valpola, "Mean teachers are better role models" (NeurIPS 2017), eq. 1.

    Args:
        network: What it starts equal to.
        decay: What stays of the copy in a step. In the n-th it is min(decay, n / (9 + n)), so that a random start,
            or weights loaded after it, are soon followed.
    """

    steps: torch.Tensor

    def __init__(self, network: Network, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> Self:
        """It stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """S <- S + rate (N - S), rate = 1 less what stays, for all weights and running statistics; once an optimiser step."""
        self.steps.add_(1)
        rate = 1 - (self.steps / (9 + self.steps)).clamp(max=self.decay)
        theirs = network.state_dict(keep_vars=True)
        for name, value in self.network.state_dict(keep_vars=True).items():
            if value.is_floating_point():
                value.lerp_(theirs[name].to(value.dtype), rate.to(value.dtype))
            else:
                value.copy_(theirs[name])
