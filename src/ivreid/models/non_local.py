"""Non-local block without softmax, computed without a matrix over pairs of positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ivreid.tensors import without_autocast


class NonLocal(nn.Module):
    """x + BN(expand(y)), where y at a position is the mean over positions n of (theta . phi_n) g_n.

    Source: Wang et al., "Non-local Neural Networks" (CVPR 2018), the dot-product form. The sum over positions
        is done first: y = theta (phi^T g) / N costs N k^2 and holds k x k numbers, where
        (theta^T phi) g costs N^2 k and holds N x N.

    The norm's weight and bias start at 0, so that a new block changes nothing.

    Args:
        channels: C of the map.
        width: k, channels inside; 1 is what the published AGW code computes.
    """

    def __init__(self, channels: int, width: int = 1) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Conv2d(channels, width, 1) for _ in range(3))
        self.expand = nn.Conv2d(width, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        y = _mix(self.theta(x), self.phi(x), self.g(x)).to(x.dtype)
        out: Tensor = x + self.norm(self.expand(y))
        return out


@without_autocast
def _mix(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """Return theta (phi^T g / N), N positions; a sum over them may pass fp16's largest number."""
    batch, width, height, columns = g.shape
    pairs = torch.einsum("bkn,bln->bkl", phi.flatten(2), g.flatten(2)) / (height * columns)
    mixed = torch.einsum("bkn,bkl->bln", theta.flatten(2), pairs)
    return mixed.reshape(batch, width, height, columns)
