"""MCJA: attention that weighs channels by what a few masks see, and a loss that is the retrieval itself.

Network: one ResNet-50 for both modalities, with stride 2 in its last stage. A modality distribution attention
(MDA) follows each of the last two blocks of stage 2 and the last three of stage 3. Generalised mean pooling
(p = 3) gives x; BatchNorm1d without a trained bias gives z; a linear layer W without bias gives logits.
    MDA     M masks, softmax over positions of a 1x1 convolution; s, the map's mean under each mask; a gate per
            image and channel, sigmoid(BN(sum over masks of a_cm s_cm)); the map plus BN(gate x map)

Losses, both with weight 1, on z of all rows:
    identity    CE(W z, y)
    retrieval   the other modality's rows as candidates of each query: how far their soft ranks are from 1 (the
                query's identity) and from last (the others). In closed form it is a contrast of mean cosines,
                and about 31 with 64 candidates

Batch: 8 identities x 16 images of any modality (RegDB: 4 x 32). Of visible images one of four changes of colour.
Adam, rate 3.5e-4, x 0.1 at epochs 80 and 120, 140 epochs (RegDB: 300, constant). M is 2, on RegDB 12. Test: z,
L2-normalised. The modality makes no difference. The published figures use a re-ranking by other test images.

Quirks. `published_quirks` changes nothing in the network or its losses; `mcja-published` trains in fp16. Not
repeated: a rectangle of another channel is drawn for the image lying on its side and replaces the whole
channel where it does not fit; a batch may lack candidates, which is found here before the first step.

Verified here: the attention mask by mask; the retrieval loss against soft ranks computed by isotonic regression;
embeddings of imported checkpoints, of SYSU-MM01's and RegDB's network, against a network written from the
published names; two processes against one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ivreid.distributed.gather import gather_rows
from ivreid.losses import cross_retrieval_loss, identity_loss
from ivreid.losses.cross_retrieval import SMALLEST_GALLERY
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import NORM, Importer
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe
from ivreid.models import RESNETS, after_last_blocks, create_backbone, gem, make_norm, split_backbone

ATTENDED = {"layer2": 2, "layer3": 3}
"""Blocks at a stage's end that an attention follows."""


class MCJASettings(MethodSettings):
    """Options of MCJA; the defaults are the published ones."""

    backbone: str = Field("resnet50", description="timm name of a CNN that comes apart into stem and stages")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    last_stride: Literal[1, 2] | None = Field(
        None, description="stride of the last stage; null: 2 for ResNets, unchanged elsewhere"
    )
    masks: int = Field(2, ge=1, description="masks of each attention: 2 on SYSU-MM01, 12 on RegDB")
    identity_weight: float = Field(1.0, ge=0, description="weight of the identity loss")
    cmr_weight: float = Field(1.0, ge=0, description="weight of the cross-modality retrieval loss")
    published_quirks: bool = Field(
        False, description="nothing in the network or its losses; the recipe mcja-published has the rest"
    )

    @model_validator(mode="before")
    @classmethod
    def _published_stride(cls, values: Any) -> Any:
        """Write out what null means for ResNets, so that a resolved configuration says it."""
        if isinstance(values, dict) and values.get("backbone", "resnet50") in RESNETS:
            return {**values, "last_stride": values.get("last_stride") or 2}
        return values


@register_method
class MCJA(Method):
    """Multi-level cross-modality joint alignment; see the top of this file."""

    name = "mcja"
    citation = (
        "Liang et al., Bridging the Gap: Multi-Level Cross-Modality Joint Alignment for Visible-Infrared Person "
        "Re-Identification, TCSVT 2024"
    )
    Settings = MCJASettings
    training_only = ("classifier.",)
    small: ClassVar = {"backbone": "test_resnet", "pretrained": None}
    means_by_modality = False
    min_of_modality = SMALLEST_GALLERY
    publication = Publication(
        title=(
            "Bridging the Gap: Multi-Level Cross-Modality Joint Alignment for Visible-Infrared Person "
            "Re-Identification"
        ),
        authors="Tengfei Liang and Yi Jin and Wu Liu and Tao Wang and Songhe Feng and Yidong Li",
        venue="TCSVT",
        year=2024,
        code="workingcoder/MCJA",
        licence="MIT",
        figures=(
            PublishedFigures(
                "sysu-mm01",
                "all-search, single-shot",
                89.51,
                87.58,
                kind="transductive",
                source="code",
                draw="official",
                rerank="mser",
            ),
        ),
        remarks=(
            "The figures are of MSER, a re-ranking by other queries; no plain figures were found.",
            "The kept epoch was the best on the test identities.",
        ),
    )
    recipe = Recipe(
        {
            "seed": 8,
            "epochs": 140,
            "data": {"size": [384, 192]},
            "batch": {"sampler": "identity", "identities": 8, "images": 16},
            "augment": {
                "flip": 0.5,
                "padding": 10,
                "padding_fill": 127,
                "erasing": 0.5,
                "erasing_law": "log",
                "erasing_area": [0.02, 0.3],
                "visible": {
                    "colour_choice": ["jitter", "weighted_grey", "channel_cutmix", "spectrum_jitter"],
                    "jitter": 0.5,
                    "brightness": 0.0,
                    "contrast": 0.0,
                    "saturation": 0.0,
                    "hue": 0.2,
                    "weighted_grey": 0.5,
                    "channel_cutmix": 0.5,
                    "spectrum_jitter": 0.5,
                },
            },
            "optimizer": {"name": "adam", "lr": 3.5e-4, "weight_decay": 5e-4},
            "schedule": {"name": "step", "per": "epoch", "milestones": [80, 120], "gamma": 0.1},
        },
        {
            "sysu-mm01": {},
            "regdb": {
                "epochs": 300,
                "batch": {"identities": 4, "images": 32},
                "method": {"masks": 12},
                "schedule": {"name": "constant", "milestones": []},
            },
        },
        source="workingcoder/MCJA",
        published={"precision": "fp16", "validation": {"every": 1}},
    )

    settings: MCJASettings

    def __init__(self, settings: MCJASettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        plain = create_backbone(
            settings.backbone, pretrained=settings.pretrained, last_stride=settings.last_stride
        )
        stem, stages, widths = split_backbone(plain, settings.backbone)
        named = {f"layer{number}": stage for number, stage in enumerate(stages, start=1)}
        for name, blocks in ATTENDED.items():
            after_last_blocks(named[name], blocks, partial(MDA, widths[int(name[-1])], settings.masks))
        self.backbone = nn.Sequential(OrderedDict(stem=stem, **named))
        dim = self.embedding_dim = widths[-1]
        self.norm = make_norm("bn", dim, shift=False)
        self.classifier = nn.Linear(dim, num_classes, bias=False)

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z: (B, 3, H, W) -> (B, D). The modality makes no difference."""
        z: Tensor = self.norm(gem(self.backbone(images)))
        return z

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The two losses, weighted; a batch over all processes needs four images or more of each modality."""
        z = self.embed(images, infrared)
        retrieval = cross_retrieval_loss(gather_rows(z), gather_rows(labels), gather_rows(infrared))
        return {
            "identity": self.settings.identity_weight * identity_loss(self.classifier(z), labels),
            "retrieval": self.settings.cmr_weight * retrieval,
        }


class MDA(nn.Module):
    """Modality distribution attention; see the top of the file. A new one changes nothing.

    Args:
        channels: C of the map.
        masks: M.
    """

    def __init__(self, channels: int, masks: int) -> None:
        super().__init__()
        self.masks = nn.Conv2d(channels, masks, 1)
        self.mix = nn.Conv1d(channels, channels, masks, groups=channels, bias=False)
        self.gate_norm = nn.BatchNorm1d(channels)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, t: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        masks = self.masks(t).flatten(2).softmax(2)
        seen = torch.einsum("bcn,bmn->bcm", t.flatten(2), masks.to(t.dtype))
        gate = self.gate_norm(self.mix(seen)).sigmoid()
        out: Tensor = t + self.norm(gate[..., None] * t)
        return out


def _names() -> dict[str, str]:
    """The published names here: blocks that an attention follows stand as `N.block` beside `N.after`."""
    inner = {"sc_conv": "masks", "ca_conv": "mix", "ca_bn": "gate_norm", "norm_bn": "norm"}
    names = {}
    for stage, count in (("2", 4), ("3", 6)):
        blocks = ATTENDED[f"layer{stage}"]
        for number, index in enumerate(range(count - blocks, count)):
            names[rf"backbone\.layer{stage}\.{index}\.(.+)"] = rf"backbone.layer{stage}.{index}.block.\1"
            for theirs, ours in inner.items():
                place = rf"backbone.layer{stage}.{index}.after.{ours}.\1"
                names[rf"MDA_{stage}\.{number}\.{theirs}\.(.+)"] = place
    return {
        **names,
        r"backbone\.(conv1|bn1)\.(.+)": r"backbone.stem.\1.\2",
        r"backbone\.(layer[1-4]\..+)": r"backbone.\1",
        rf"bn_neck\.{NORM}": r"norm.\1",
    }


def _settings(tensors: Mapping[str, Tensor], dataset: str) -> dict[str, Any]:
    return {"masks": len(tensors["MDA_2.0.sc_conv.weight"])}


MCJA.importer = Importer(
    names=_names(),
    dropped=(r"backbone\.fc\..+", r"bn_neck\.bias", r"classifier\.weight"),
    recognised_by=("backbone.conv1.weight", "MDA_2.0.sc_conv.weight", "bn_neck.weight"),
    settings=_settings,
    zero=("bn_neck.bias",),
)
