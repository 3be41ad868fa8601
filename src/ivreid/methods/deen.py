"""DEEN: features of several stages joined by attention, and two more embeddings grown from each image.

Network: a stem per modality, then the four stages of a ResNet-50 (stride 1 in the last), shared. Behind each of
the first three stages the map h is joined with the one before it, l (MFA). What comes of the third is expanded
(DEE) to three branches, t and y_1, y_2, which all pass stage 4; average pooling gives x, BatchNorm1d without a
trained bias gives z, a linear layer W without bias gives logits. On RegDB (`short`) the network ends with stage 3
and expands the map before it.
    MFA     h + BN(conv A g(l)), A = theta(h) phi(l)^T / channels, attention between channels (CNL); then the same
            sum with attention between positions, theta(h)^T phi(l) / positions times g(l) (PNL)
    DEE     y_b = conv(relu((D_1 + D_2 + D_3)(t) / 3)), D_i 3x3 with dilation i to a quarter of the channels;
            dropout on t, y_1 and y_2

Losses, over the 3 B rows of all branches unless said:
    identity       CE(W z, y)
    triplet        batch-hard, margin 0.3, on x
    centre         0.8 [CPM(x_0, x_1) + CPM(x_0, x_2)], centres of two branches near across modality and apart
                   across identity
    orthogonality  0.01 <x_1, x_2>, summed over images, by 3 B rows

Batch: 6 identities x (4 visible + 4 infrared), identities drawn anew for each. SGD as AGW, x 0.1 at epochs 20 and
80, 151 epochs. Test: x and z of the three branches, each of length 1, joined to 12,288 numbers, so that a cosine
is the mean of six; of the image and of its mirror image, averaged. The stem follows the image's modality.

Quirk (`published_quirks`, which is `pnl: halves`): the published attention between positions takes its maps for
ones of twice the channels and half the positions, each holding a place of the upper and one of the lower half. The
weights' shapes are the same, so imported checkpoints have it in their settings. Not repeated: a rate of 1e-3 that
no epoch reaches, and a RegDB test that sends images through the other modality's stem; greying infrared images,
which changes no grey pixel.

Verified here: fusion (both forms), expansion and all four losses against their definitions by loops; embeddings
of imported checkpoints, of both networks, against a network written from the published names; two processes
against one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ivreid.distributed.gather import gather_rows
from ivreid.errors import UsageError
from ivreid.losses import centre_mining_loss, identity_loss, orthogonality_loss, triplet_loss
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.agw import AGW, COPIES
from ivreid.methods.importer import NORM, Importer
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe, merged
from ivreid.models import TwoStems, create_backbone, global_average, make_norm
from ivreid.tensors import without_autocast

BRANCHES = 3
"""The map itself and the two that are grown from it."""

DILATIONS = (1, 2, 3)

Attention = Literal["positions", "halves"]


class DEENSettings(MethodSettings):
    """Options of DEEN; the defaults are the published ones on SYSU-MM01 and LLCM."""

    backbone: str = Field("resnet50", description="timm name of a CNN that comes apart into stem and stages")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    short: bool = Field(False, description="without the last stage, as on RegDB")
    pnl: Attention = Field(
        "positions",
        description="attention between positions, or between halves of maps as published weights have it",
    )
    chunks: Literal["x+z", "z"] = Field("x+z", description="what of each branch is joined to the embedding")
    margin: float = Field(0.3, ge=0, description="of the batch-hard triplet")
    centre_margin: float = Field(0.2, ge=0, description="of the centres")
    centre_weight: float = Field(0.8, ge=0, description="weight of the centres' loss")
    orthogonal_weight: float = Field(0.01, ge=0, description="weight of branches at right angles")
    dropout: float = Field(0.01, ge=0, lt=1, description="behind the expansion")
    head_rate_factor: float = Field(10.0, gt=0, description="how much faster norm and W learn than the rest")
    published_quirks: bool = Field(False, description="pnl: halves")

    @model_validator(mode="before")
    @classmethod
    def _published_attention(cls, values: Any) -> Any:
        """Write out what the quirk means, so that a resolved configuration says it."""
        if isinstance(values, dict) and values.get("published_quirks") is True:
            return {"pnl": "halves", **values}
        return values


@register_method
class DEEN(Method):
    """Diverse embedding expansion; see the top of this file."""

    name = "deen"
    citation = (
        "Zhang and Wang, Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for "
        "Visible-Infrared Person Re-identification, CVPR 2023"
    )
    Settings = DEENSettings
    training_only = ("classifier.",)
    small: ClassVar = {"backbone": "test_resnet", "pretrained": None, "dropout": 0.0}
    publication = Publication(
        title=(
            "Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for Visible-Infrared "
            "Person Re-identification"
        ),
        authors="Yukang Zhang and Hanzi Wang",
        venue="CVPR",
        year=2023,
        code="ZYK100/LLCM",
        figures=(
            PublishedFigures("sysu-mm01", "all-search, single-shot", 74.7, 71.8, draw="agw"),
            PublishedFigures("regdb", "visible-to-infrared", 91.1, 85.1),
            PublishedFigures("llcm", "infrared-to-visible", 54.9, 62.9),
            PublishedFigures("llcm", "infrared-to-visible", 55.5, 62.1, source="the code's page"),
        ),
        remarks=("The kept epoch was the best on the test identities; tested with mirror images.",),
    )
    recipe = Recipe(
        merged(
            AGW.recipe.values,
            {
                "epochs": 151,
                "data": {"size": [384, 144]},
                "batch": {"identities": 6},
                "augment": {
                    "grey": 0.5,  # of an infrared image it would change nothing
                    "erasing": 0.5,
                    "erasing_area": [0.2, 0.8],
                    "erasing_fill": [0.485, 0.456, 0.406],
                },
                "schedule": {"milestones": [20, 80]},
                "embedding": {"flip": "unit"},
            },
        ),
        {
            "sysu-mm01": {},
            "regdb": {"method": {"short": True}, "augment": {"erasing_area": [0.02, 0.4]}},
            "llcm": {"augment": {"erasing_area": [0.02, 0.4]}},
        },
        source="ZYK100/LLCM",
        compact=AGW.recipe.compact,
    )

    settings: DEENSettings

    def __init__(self, settings: DEENSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        plain = create_backbone(settings.backbone, pretrained=settings.pretrained)
        self.backbone = TwoStems(plain, settings.backbone)
        if settings.short:
            del self.backbone.shared[f"layer{len(self.backbone.shared)}"]
        used = len(self.backbone.shared)
        if used < 2:
            raise UsageError(f"{settings.backbone} has too few stages for deen; choose a ResNet")
        widths = self.backbone.widths
        self.fusion = nn.ModuleDict(
            {
                f"layer{number}": MFA(widths[number], widths[number - 1], stride, settings.pnl)
                for number, stride in enumerate(self.backbone.strides()[:-1], start=1)
            }
        )
        self.expansion = DEE(widths[used - 1], settings.dropout)
        dim = widths[used]
        self.embedding_dim = dim * BRANCHES * (2 if settings.chunks == "x+z" else 1)
        self.norm = make_norm("bn", dim, shift=False)
        nn.init.normal_(self.norm.weight, 1.0, 0.01)  # type: ignore[arg-type]
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def pooled(self, images: Tensor, infrared: Tensor) -> Tensor:
        """The feature x of all branches, one after another: (B, 3, H, W) -> (3 B, D)."""
        t = self.backbone.stems(images, infrared)
        for name, stage in self.backbone.shared.items():
            t = self.fusion[name](stage(t), t) if name in self.fusion else stage(self.expansion(t))
        return global_average(t)

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """The joined chunks, each of length 1: (B, 3, H, W) -> (B, 6 D)."""
        x = self.pooled(images, infrared)
        kinds = (x, self.norm(x)) if self.settings.chunks == "x+z" else (self.norm(x),)
        branches = [functional.normalize(kind).reshape(BRANCHES, images.shape[0], -1) for kind in kinds]
        return torch.cat([chunk for branch in zip(*branches, strict=True) for chunk in branch], 1)

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The four losses, weighted; the batch needs images of both modalities."""
        settings = self.settings
        x, tiled = self.pooled(images, infrared), labels.repeat(BRANCHES)
        self.both_modalities(infrared, x.device)
        first, *others = x.chunk(BRANCHES)
        whole, whole_labels, whole_infrared = (
            gather_rows(v) for v in (first, labels, infrared.to(x.device, non_blocking=True))
        )
        centre = torch.stack(
            [
                centre_mining_loss(
                    whole, gather_rows(other), whole_labels, whole_infrared, margin=settings.centre_margin
                )
                for other in others
            ]
        ).sum()
        triplet = triplet_loss(
            x, tiled, margin=settings.margin, candidates=gather_rows(x), candidate_labels=gather_rows(tiled)
        )
        return {
            "identity": identity_loss(self.classifier(self.norm(x)), tiled),
            "triplet": triplet,
            "centre": settings.centre_weight * centre,
            "orthogonality": settings.orthogonal_weight * orthogonality_loss(others[0], others[1]),
        }

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Norm and classifier at the base rate, stems, stages, fusion and expansion at a tenth of it."""
        base = nn.ModuleList([self.backbone, self.fusion, self.expansion])
        heads = nn.ModuleList([self.norm, self.classifier])
        slow = lr / self.settings.head_rate_factor
        return [
            {"name": "base", "params": list(base.parameters()), "lr": slow},
            {"name": "heads", "params": list(heads.parameters()), "lr": lr},
        ]


class MFA(nn.Module):
    """A stage's map joined with the one before it: attention between channels, then between positions.

    Args:
        high: Channels of the stage's map.
        low: Channels of the map before.
        stride: How much smaller the stage's map is.
        attention: Between what the second attention is.
    """

    def __init__(self, high: int, low: int, stride: int, attention: Attention) -> None:
        super().__init__()
        self.channels = CNL(high, low, stride)
        self.positions = PNL(high, low, attention)

    def forward(self, h: Tensor, low: Tensor) -> Tensor:
        """(B, high, h, w) and (B, low, h', w') -> (B, high, h, w)."""
        out: Tensor = self.positions(self.channels(h, low), low)
        return out


class CNL(nn.Module):
    """Attention between channels; see the top of the file. Its norm starts at 0: it changes nothing at first."""

    def __init__(self, high: int, low: int, stride: int) -> None:
        super().__init__()
        self.g, self.theta = nn.Conv2d(low, low, 1), nn.Conv2d(high, low, 1)
        self.phi = nn.Conv2d(low, low, 1, stride=stride)
        self.expand = nn.Conv2d(low, high, 1, stride=stride)
        self.norm = nn.BatchNorm2d(high)
        nn.init.zeros_(self.norm.weight)

    def forward(self, h: Tensor, low: Tensor) -> Tensor:
        """(B, high, h, w) and (B, low, h', w') -> (B, high, h, w)."""
        y = _between_channels(self.theta(h), self.phi(low), self.g(low)).to(h.dtype)
        out: Tensor = h + self.norm(self.expand(y))
        return out


class PNL(nn.Module):
    """Attention between positions; see the top of the file. Its norm starts at 0: it changes nothing at first."""

    def __init__(self, high: int, low: int, attention: Attention) -> None:
        super().__init__()
        width = low // 2
        self.halves = attention == "halves"
        self.g, self.phi = (nn.Conv2d(low, width, 1) for _ in range(2))
        self.theta = nn.Conv2d(high, width, 1)
        self.expand = nn.Conv2d(width, high, 1)
        self.norm = nn.BatchNorm2d(high)
        nn.init.zeros_(self.norm.weight)

    def forward(self, h: Tensor, low: Tensor) -> Tensor:
        """(B, high, h, w) and (B, low, h', w') -> (B, high, h, w)."""
        y = _between_positions(self.theta(h), self.phi(low), self.g(low), 2 if self.halves else 1).to(h.dtype)
        out: Tensor = h + self.norm(self.expand(y))
        return out


@without_autocast
def _between_channels(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """A g with A = theta phi^T / channels: (B, C, N), (B, C, N) and (B, C, h, w) -> (B, C, h, w)."""
    attention = theta.flatten(2) @ phi.flatten(2).transpose(1, 2) / theta.shape[1]
    return (attention @ g.flatten(2)).reshape(g.shape)


@without_autocast
def _between_positions(theta: Tensor, phi: Tensor, g: Tensor, cut: int) -> Tensor:
    """Mean over positions n of (theta . phi_n) g_n, in maps cut into so many parts that stand as channels.

    The sum over positions is done first, so that no matrix of pairs of positions is needed.

    Raises:
        UsageError: Maps that cannot be cut.
    """
    batch, width = theta.shape[:2]

    def tokens(maps: Tensor) -> Tensor:
        places = maps.shape[2] * maps.shape[3]
        if places % cut:
            raise UsageError(
                f"pnl: halves needs maps of an even number of places, this one has {maps.shape[2]}x{maps.shape[3]}; "
                "choose another data.size, or pnl: positions"
            )
        return maps.reshape(batch, width * cut, places // cut)

    t, p, v = tokens(theta), tokens(phi), tokens(g)
    pairs = p @ v.transpose(1, 2) / v.shape[2]
    return (pairs.transpose(1, 2) @ t).reshape(theta.shape)


class DEE(nn.Module):
    """Two more maps grown from a map, by branches of dilated convolutions; see the top of the file."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(channels) for _ in range(BRANCHES - 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, t: Tensor) -> Tensor:
        """(B, C, h, w) -> (3 B, C, h, w): the map itself, then each branch's."""
        out: Tensor = self.dropout(torch.cat([t, *(branch(t) for branch in self.branches)]))
        return out


class Branch(nn.Module):
    """One branch of the expansion."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.dilated = nn.ModuleList(
            nn.Conv2d(channels, width, 3, padding=i, dilation=i, bias=False) for i in DILATIONS
        )
        self.expand = nn.Conv2d(width, channels, 1)
        for layer in (*self.dilated, self.expand):
            nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(self.expand.bias)  # type: ignore[arg-type]

    def forward(self, t: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        mean = torch.stack([layer(t) for layer in self.dilated]).sum(0) / len(DILATIONS)
        out: Tensor = self.expand(mean.relu())
        return out


def _names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    layers = "1-3" if _short(tensors) else "1-4"
    names = {
        r"visible_module\.visible\.(conv1|bn1)\.(.+)": r"backbone.visible.stem.\1.\2",
        r"thermal_module\.thermal\.(conv1|bn1)\.(.+)": r"backbone.infrared.stem.\1.\2",
        rf"base_resnet\.base\.(layer[{layers}]\..+)": r"backbone.shared.\1",
        rf"bottleneck\.{NORM}": r"norm.\1",
    }
    for branch in (1, 2):
        ours = f"expansion.branches.{branch - 1}"
        names[rf"DEE\.FC{branch}\.(weight|bias)"] = rf"{ours}.expand.\1"
        for index, dilation in enumerate(DILATIONS):
            names[rf"DEE\.FC{branch}{dilation}\.weight"] = f"{ours}.dilated.{index}.weight"
    for theirs, attention in (("CNL", "channels"), ("PNL", "positions")):
        ours = rf"fusion.layer\1.{attention}"
        names[rf"MFA([123])\.{theirs}\.(g|theta|phi)\.(.+)"] = rf"{ours}.\2.\3"
        names[rf"MFA([123])\.{theirs}\.W\.0\.(.+)"] = rf"{ours}.expand.\2"
        names[rf"MFA([123])\.{theirs}\.W\.1\.(.+)"] = rf"{ours}.norm.\2"
    return names


def _short(tensors: Mapping[str, Tensor]) -> bool:
    return "MFA3.CNL.g.weight" not in tensors


def _settings(tensors: Mapping[str, Tensor], dataset: str) -> dict[str, Any]:
    return {"short": _short(tensors), "pnl": "halves"}


DEEN.importer = Importer(
    names=_names,
    dropped=(*COPIES, r"base_resnet\.base\.layer4\..+", r"bottleneck\.bias", r"classifier\.weight"),
    recognised_by=("visible_module.visible.conv1.weight", "DEE.FC11.weight", "MFA1.CNL.g.weight"),
    settings=_settings,
    zero=("bottleneck.bias",),
    flip="unit",
)
