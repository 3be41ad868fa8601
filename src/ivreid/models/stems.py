"""Two stems: the first layers of a network once per modality, the rest shared."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ivreid.errors import UsageError
from ivreid.models.stages import split_backbone
from ivreid.tensors import modality_rows

Rows = Callable[[Tensor], Tensor]


def route(x: Tensor, infrared: Tensor, visible_part: Rows, infrared_part: Rows) -> Tensor:
    """Each modality's rows through its own part, and back to their places.

    A part without rows is not run, so a batch may hold one modality only. An exported graph cannot ask how many
    rows there are: there both parts run on all rows, and the modality chooses.

    Args:
        x: (B, ...) rows.
        infrared: (B,) bool, on any device.
        visible_part: (V, ...) -> (V, ...).
        infrared_part: (R, ...) -> (R, ...), to the same shape per row.
    """
    if torch.compiler.is_exporting():
        visible, other = visible_part(x), infrared_part(x)
        return torch.where(infrared.reshape(-1, *[1] * (visible.ndim - 1)), other, visible)
    visible_rows, infrared_rows = modality_rows(infrared, x.device)
    if not len(infrared_rows):
        return visible_part(x)
    if not len(visible_rows):
        return infrared_part(x)
    joined = torch.cat([visible_part(x[visible_rows]), infrared_part(x[infrared_rows])])
    return joined[torch.argsort(torch.cat([visible_rows, infrared_rows]))]


class TwoStems(nn.Module):
    """A backbone whose first layers exist once per modality, both with the backbone's weights at the start.

    Source: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook" (TPAMI 2021),
        sec. 4, for the stem alone; Jiang et al. (ECCV 2024) for a stem and two stages.

    Args:
        backbone: From `create_backbone`; it is taken apart and not to be used afterwards.
        name: Its name.
        depth: Stages, after the stem, that each modality has of its own.

    Attributes:
        visible: Stem and own stages of visible images.
        infrared: The same of infrared ones.
        shared: The stages that both go through: `layer1`, `layer2`... less the own ones.
        widths: Channels after the stem and after each stage.

    Raises:
        UsageError: A backbone that cannot be taken apart, or has no stage left to share.
    """

    def __init__(self, backbone: nn.Module, name: str, depth: int = 0) -> None:
        super().__init__()
        stem, stages, self.widths = split_backbone(backbone, name)
        if not 0 <= depth < len(stages):
            raise UsageError(
                f"{name} has {len(stages)} stages; a modality may own 0 to {len(stages) - 1} of them, "
                f"not {depth}"
            )
        named = {f"layer{number}": stage for number, stage in enumerate(stages, start=1)}
        own = list(named)[:depth]
        self.visible = nn.Sequential(OrderedDict(stem=stem, **{key: named.pop(key) for key in own}))
        self.infrared = copy.deepcopy(self.visible)
        self.shared = nn.ModuleDict(named)
        self.num_features = self.widths[-1]

    def stems(self, images: Tensor, infrared: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w): every row through its modality's own layers."""
        return route(images, infrared, self.visible, self.infrared)

    def forward(self, images: Tensor, infrared: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_features, h, w): own layers, then the shared stages."""
        x = self.stems(images, infrared)
        for stage in self.shared.values():
            x = stage(x)
        return x

    @torch.no_grad()
    def strides(self) -> list[int]:
        """How much smaller each shared stage makes its map, found by trying."""
        training = self.training
        x = self.eval().visible(next(self.parameters()).new_zeros(1, 3, 96, 96))
        strides = []
        for stage in self.shared.values():
            y = stage(x)
            strides.append(max(1, round(x.shape[2] / y.shape[2])))
            x = y
        self.train(training)
        return strides
