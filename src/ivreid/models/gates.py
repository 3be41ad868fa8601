"""Channel gates, and the module that takes a modality's style out of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelGate(nn.Module):
    """sigmoid(expand(relu(squeeze(x)))) at every position, both 1x1 convolutions without bias.

    On a map pooled to one position it is the gate of Hu et al., "Squeeze-and-Excitation Networks"
    (CVPR 2018), eq. 3.

    Args:
        channels: C.
        reduction: C divided by the width inside.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        width = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, width, 1, bias=False)
        self.expand = nn.Conv2d(width, channels, 1, bias=False)
        for layer in (self.squeeze, self.expand):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape, in 0..1."""
        out: Tensor = torch.sigmoid(self.expand(functional.relu(self.squeeze(x))))
        return out


class ModalityAlleviation(nn.Module):
    """g x + (1 - g) IN(x): a gate per image and channel chooses between a map and its instance norm.

    Source: Wu et al., "Discover Cross-Modality Nuances for Visible-Infrared Person Re-Identification" (CVPR
        2021), sec. 3.2. The instance norm has neither weights nor running statistics.

    Args:
        channels: C.
        reduction: C divided by the gate's width inside.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.gate = ChannelGate(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape; a map needs two or more positions."""
        g = self.gate(x.mean((2, 3), keepdim=True))
        normed = functional.instance_norm(x, eps=1e-5)
        out: Tensor = normed + g * (x - normed)
        return out
