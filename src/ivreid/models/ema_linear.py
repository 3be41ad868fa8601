"""A classifier that follows another slowly, and teaches without being taught."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class EmaLinear(nn.Module):
    """A copy of a linear layer that moves towards it; buffers, so no optimiser sees it and checkpoints hold it.

    Source: Tarvainen & Valpola, "Mean teachers are better role models" (NeurIPS 2017), eq. 1, for one layer.

    Args:
        head: The layer it starts equal to.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", head.weight.detach().clone())
        self.register_buffer("bias", None if head.bias is None else head.bias.detach().clone())

    @torch.no_grad()
    def update(self, head: nn.Linear, rate: float) -> None:
        """S <- (1 - rate) S + rate H."""
        self.weight.lerp_(head.weight.to(self.weight.dtype), rate)
        if self.bias is not None:
            self.bias.lerp_(head.bias.to(self.bias.dtype), rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, C) logits."""
        return functional.linear(x, self.weight, self.bias)
