"""A method of your own, trained by the command line without touching the package:

    ivreid train demo --plugin examples/own_method.py --set method='{name: modality-centres, backbone: resnet10t, pretrained: null}'

The network is plain. Besides the identity loss, the two modality centres of each person are pulled together.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

import ivreid
from ivreid.losses import identity_loss
from ivreid.methods import Method, MethodSettings
from ivreid.models import create_backbone, gem, make_norm
from ivreid.tensors import modality_rows


class CentresSettings(MethodSettings):
    """Options; what a configuration gives under `method`."""

    backbone: str = Field("resnet50", description="timm name of a CNN")
    pretrained: str | None = Field("imagenet", description="imagenet, a local weights file, or null")
    pull: float = Field(0.5, ge=0, description="weight of the centre loss")


@ivreid.register_method
class ModalityCentres(Method):
    """Identity loss, and the squared distance between each person's visible and infrared centre."""

    name = "modality-centres"
    citation = "an example"
    Settings = CentresSettings
    training_only = ("classifier.",)
    small: ClassVar = {"backbone": "resnet10t", "pretrained": None}

    def __init__(self, settings: CentresSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        self.backbone = create_backbone(settings.backbone, pretrained=settings.pretrained)
        self.embedding_dim = int(self.backbone.num_features)
        self.norm = make_norm("bn", self.embedding_dim, shift=False)
        self.classifier = nn.Linear(self.embedding_dim, num_classes, bias=False)

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, embedding_dim)."""
        return self.norm(gem(self.backbone(images)))

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The losses by name, already weighted."""
        z = self.embed(images, infrared)
        visible, other = modality_rows(infrared, z.device)
        gaps = [
            (z[visible][labels[visible] == person].mean(0) - z[other][labels[other] == person].mean(0))
            for person in labels.unique()
        ]
        centres = torch.stack(gaps).square().mean()
        return {
            "identity": identity_loss(self.classifier(z), labels),
            "centres": self.settings.pull * centres,
        }
