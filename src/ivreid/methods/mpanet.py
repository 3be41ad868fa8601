"""MPANet: modality alleviation, part patterns by masks, and classifiers of each modality that agree.

Network: one ResNet-50 with stride 1 in its last stage. Modality alleviation after stages 3 and 4: a gate per
image and channel chooses between the map and its instance norm. Of the last map F six masks are made,
m_p = sigmoid(1x1 convolution); x joins the means over positions of m_1 F ... m_6 F and of F. BatchNorm1d
without a trained bias gives z. A linear layer W without bias; one of each modality, H_v and H_r; slow copies of
those, S_v and S_r.

Losses, over rows with visible rows V and infrared rows R:
    identity     CE(W z, y)
    centre       mean |x - c_y| plus mean over pairs of identities of (0.7 - |c_i - c_j|)+, c the centres of x
    separation   0.5 mean over images and pairs of masks of sum m_p m_q
    modality     CE(H_v z_V, y_V) + CE(H_r z_R, y_R)
    mutual       2.5 mean over rows of KL(own H || sg[S of the other modality]); before each step
                 S <- (1 - r) S + r H, r = 0.2 min(1, 100 / (epochs done + 2))

Batch: 16 identities x (4 visible + 4 infrared), in pairs of an epoch's shuffled images. Adam, rate 3.5e-4, x 0.1
at epochs 80 and 120, 140 epochs. Test: z, L2-normalised. The modality makes no difference.

Quirks. The mutual loss has student and teacher the other way round than mutual learning: its gradient comes
through p in KL(p || q). `published_quirks` changes nothing; `mpanet-published` trains in fp16 and chooses among
epochs 120, 125 ... 140. Not repeated: distances to centres whose gradient is NaN where a row is its centre, a
sampler that stops at identities with fewer images than asked for, and RegDB's Euclidean test on z as it is.

Verified here: all five losses against their definitions by loops, at the rates of four epochs; embeddings of an
imported checkpoint against a network written from the published names; two processes against one; resuming with
the slow copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ivreid.distributed.gather import gather_rows
from ivreid.losses import centre_cluster_loss, identity_loss, reverse_mutual_loss, separation_loss
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import NORM, Importer
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe
from ivreid.models import AlleviatedBackbone, ModalityHeads, global_average, make_norm
from ivreid.tensors import without_autocast


class MPANetSettings(MethodSettings):
    """Options of MPANet; the defaults are the published ones."""

    backbone: str = Field("resnet50", description="timm name of a CNN that comes apart into stem and stages")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    alleviation: tuple[int, ...] = Field(
        (3, 4), description="stages, from 1, behind which style is taken out"
    )
    part_masks: bool = Field(True, description="part features beside the whole map's")
    parts: int = Field(6, ge=2, description="how many masks")
    centre_margin: float = Field(0.7, ge=0, description="distance that centres of identities shall have")
    separation_weight: float = Field(0.5, ge=0, description="weight of masks that do not overlap")
    modality_weight: float = Field(
        1.0, ge=0, description="weight of the modality classifiers' identity losses"
    )
    mutual_weight: float = Field(2.5, ge=0, description="weight of the mutual loss")
    update_rate: float = Field(
        0.2,
        ge=0,
        le=1,
        description="how far slow classifiers move in a step, at first; less from epoch 99 on",
    )
    published_quirks: bool = Field(
        False, description="nothing in the network or its losses; the recipe mpanet-published has the rest"
    )


@register_method
class MPANet(Method):
    """Modality and pattern alignment; see the top of this file."""

    name = "mpanet"
    citation = (
        "Wu et al., Discover Cross-Modality Nuances for Visible-Infrared Person Re-Identification, CVPR 2021"
    )
    Settings = MPANetSettings
    training_only = ("classifier.", "heads.")
    small: ClassVar = {"backbone": "test_resnet", "pretrained": None}
    small_size: ClassVar = (128, 64)
    publication = Publication(
        title="Discover Cross-Modality Nuances for Visible-Infrared Person Re-Identification",
        authors=(
            "Qiong Wu and Pingyang Dai and Jie Chen and Chia-Wen Lin and Yongjian Wu and Feiyue Huang and "
            "Bineng Zhong and Rongrong Ji"
        ),
        venue="CVPR",
        year=2021,
        code="DoubtedSteam/MPANet",
        licence="MIT",
        figures=(
            PublishedFigures("sysu-mm01", "all-search, single-shot", 70.58, 68.24, draw="official"),
            PublishedFigures("sysu-mm01", "indoor-search, single-shot", 76.74, 80.95, draw="official"),
            PublishedFigures("regdb", "visible-to-infrared", 83.7, 80.9, split=1),
        ),
        remarks=(
            "The kept epoch was the best on the test identities; RegDB's figures are of its first split alone.",
            "Other people reached 65.6/62.9 on SYSU-MM01.",
        ),
    )
    recipe = Recipe(
        {
            "seed": 1,
            "epochs": 140,
            "data": {"size": [384, 128]},
            "batch": {"sampler": "paired", "identities": 16, "instances": 4},
            "augment": {
                "flip": 0.5,
                "padding": 10,
                "padding_fill": 127,
                "erasing": 0.5,
                "erasing_law": "log",
                "erasing_area": [0.02, 0.33],
            },
            "optimizer": {"name": "adam", "lr": 3.5e-4, "weight_decay": 5e-4},
            "schedule": {"name": "step", "per": "epoch", "milestones": [80, 120], "gamma": 0.1},
        },
        {
            "sysu-mm01": {},
            "regdb": {
                "data": {"size": [256, 128]},
                "batch": {"identities": 12, "instances": 5},
                "schedule": {"milestones": [110]},
            },
        },
        source="DoubtedSteam/MPANet",
        published={"precision": "fp16", "validation": {"first": 120, "every": 5}},
    )

    settings: MPANetSettings

    def __init__(self, settings: MPANetSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        self.backbone = AlleviatedBackbone(settings.backbone, settings.pretrained, settings.alleviation)
        dim = self.backbone.num_features
        parts = settings.parts if settings.part_masks else 0
        if parts:
            self.masks = nn.Conv2d(dim, parts, 1)
            nn.init.zeros_(self.masks.bias)  # type: ignore[arg-type]
        dim = self.embedding_dim = dim * (parts + 1)
        self.norm = make_norm("bn", dim, shift=False)
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        self.heads = ModalityHeads(dim, num_classes)
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Slow classifiers move less, the later it is."""
        self.rate = decaying(self.settings.update_rate, epoch)

    def begin_step(self) -> None:
        """Slow classifiers follow, before the classifiers learn."""
        self.heads.update(self.rate)

    def pooled(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """The feature x and the masks: (B, 3, H, W) -> (B, D (P + 1)) and (B, P, h, w), None without parts."""
        maps = self.backbone(images)
        if not self.settings.part_masks:
            return global_average(maps), None
        masks = self.masks(maps).sigmoid()
        return torch.cat([masked_means(maps, masks), global_average(maps)], 1), masks

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z: (B, 3, H, W) -> (B, D (P + 1)). The modality makes no difference."""
        z: Tensor = self.norm(self.pooled(images)[0])
        return z

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The losses, weighted; the batch needs images of both modalities."""
        settings = self.settings
        x, masks = self.pooled(images)
        z = self.norm(x)
        v, r = self.both_modalities(infrared, x.device)
        own_v, own_r, other = self.heads(z[v], z[r])
        modality = identity_loss(own_v, labels[v]) + identity_loss(own_r, labels[r])
        mutual = reverse_mutual_loss(torch.cat([own_v, own_r]), other)
        terms = {
            "identity": identity_loss(self.classifier(z), labels),
            "centre": centre_cluster_loss(
                gather_rows(x), gather_rows(labels), centre_margin=settings.centre_margin
            ),
            "modality": settings.modality_weight * modality,
            "mutual": settings.mutual_weight * mutual,
        }
        if masks is not None:
            terms["separation"] = settings.separation_weight * separation_loss(masks)
        return terms


def decaying(rate: float, epoch: int) -> float:
    """How far slow classifiers move in a step: `rate`, and from the 100th epoch on less and less."""
    return rate * min(1.0, 100 / (epoch + 2))


@without_autocast
def masked_means(maps: Tensor, masks: Tensor) -> Tensor:
    """Means over positions of a map times each mask, joined.

    Shape:
        (B, D, h, w), (B, P, h, w) -> (B, P D).
    """
    places = maps.shape[2] * maps.shape[3]
    return (torch.einsum("bpn,bdn->bpd", masks.flatten(2), maps.flatten(2)) / places).flatten(1)


BACKBONE_NAMES = {
    r"backbone\.(conv1|bn1)\.(.+)": r"backbone.stem.\1.\2",
    r"backbone\.(layer[1-4]\..+)": r"backbone.stages.\1",
    r"backbone\.MAM([34])\.channel_attention\.0\.weight": r"backbone.alleviation.layer\1.gate.squeeze.weight",
    r"backbone\.MAM([34])\.channel_attention\.2\.weight": r"backbone.alleviation.layer\1.gate.expand.weight",
}
"""Published names of the backbone, here and in the methods that build on this one."""

CLASSIFIERS = (r"backbone\.fc\..+", r"(|visible_|infrared_)classifier_?\.weight")
"""What embedding does not need."""


def alleviated(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Stages with modality alleviation in a published checkpoint."""
    return tuple(stage for stage in (3, 4) if f"backbone.MAM{stage}.channel_attention.0.weight" in tensors)


def _settings(tensors: Mapping[str, Tensor], dataset: str) -> dict[str, Any]:
    return {"alleviation": alleviated(tensors), "parts": len(tensors["spatial_attention.weight"])}


MPANet.importer = Importer(
    names={
        **BACKBONE_NAMES,
        r"spatial_attention\.(.+)": r"masks.\1",
        rf"bn_neck\.{NORM}": r"norm.\1",
    },
    dropped=(*CLASSIFIERS, r"bn_neck\.bias"),
    recognised_by=("backbone.conv1.weight", "spatial_attention.weight", "bn_neck.weight"),
    settings=_settings,
    zero=("bn_neck.bias",),
)
