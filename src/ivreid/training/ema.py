"""A slowly moving average of the weights, which often ranks better than the weights themselves."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ivreid.methods import Method


class WeightAverage:
    """Exponential moving average of a network's parameters and floating buffers.

    Args:
        network: The network in training; its copy, `self.network`, is what validation and
            `weights.safetensors` use.
        decay: Weight of the old average, e.g. 0.999. Early on it is min(decay, (1 + n) / (10 + n)) at the
            n-th step, so that the random start is soon forgotten.
    """

    def __init__(self, network: Method, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network; `step` counts optimiser steps from 1."""
        keep = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = _tensors(self.network), _tensors(network)
        floating = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in floating], [theirs[n] for n in floating], 1 - keep)
        for name in mine.keys() - set(floating):
            mine[name].copy_(theirs[name])


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.state_dict(keep_vars=True).items()}
