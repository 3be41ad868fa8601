"""A backbone that takes a modality's style out of its maps on the way."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ivreid.errors import UsageError
from ivreid.models.backbone import create_backbone
from ivreid.models.gates import ModalityAlleviation
from ivreid.models.stages import split_backbone


class AlleviatedBackbone(nn.Module):
    """A backbone with modality alleviation behind some of its stages.

    Args:
        name: timm name of a CNN that comes apart into stem and stages.
        pretrained: As `create_backbone`.
        stages: Numbers from 1 of these stages.

    Raises:
        UsageError: A stage that the network has not.
    """

    def __init__(self, name: str, pretrained: str | None, stages: tuple[int, ...]) -> None:
        super().__init__()
        self.stem, parts, widths = split_backbone(create_backbone(name, pretrained=pretrained), name)
        wrong = [stage for stage in stages if not 1 <= stage <= len(parts)]
        if wrong:
            raise UsageError(
                f"alleviation = {list(stages)}: {name} has stages 1 to {len(parts)}, not {wrong[0]}"
            )
        self.stages = nn.ModuleDict({f"layer{number}": part for number, part in enumerate(parts, start=1)})
        self.alleviation = nn.ModuleDict(
            {f"layer{number}": ModalityAlleviation(widths[number]) for number in sorted(set(stages))}
        )
        self.num_features = widths[-1]

    @torch.no_grad()
    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the map of images of that size, found by trying."""
        training = self.training
        weight = next(self.parameters())
        height, width = self.eval()(weight.new_zeros(1, 3, *size)).shape[2:]
        self.train(training)
        return int(height), int(width)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_features, h, w)."""
        x: Tensor = self.stem(images)
        for name, stage in self.stages.items():
            x = stage(x)
            if name in self.alleviation:
                x = self.alleviation[name](x)
        return x
