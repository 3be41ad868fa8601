"""A classifier of each modality, and slow copies that let each teach the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ivreid.models.ema_linear import EmaLinear


class ModalityHeads(nn.Module):
    """Linear classifiers without bias for visible and for infrared rows, each with a copy that follows slowly.

    Args:
        features: Width of the feature.
        classes: Identities.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.visible, self.infrared = (nn.Linear(features, classes, bias=False) for _ in range(2))
        self.ema_visible, self.ema_infrared = EmaLinear(self.visible), EmaLinear(self.infrared)

    def update(self, rate: float) -> None:
        """The copies move by this share of the way; once an optimiser step."""
        self.ema_visible.update(self.visible, rate)
        self.ema_infrared.update(self.infrared, rate)

    def forward(self, visible: Tensor, infrared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each row's own classifier says of it, and what the other modality's copy says.

        Shape:
            (V, D) visible and (R, D) infrared rows -> (V, C), (R, C), and (V + R, C) without gradient.
        """
        with torch.no_grad():
            other = torch.cat([self.ema_infrared(visible), self.ema_visible(infrared)])
        return self.visible(visible), self.infrared(infrared), other
