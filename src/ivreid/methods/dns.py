"""DNS: a tower per modality, a shared trunk whose maps are gated by rows and columns, and shifted features.

Network: stem, stage 1 and stage 2 of a ResNet-50 once per modality; stage 3 and stage 4 (stride 1), each
followed by a gate (HSS), shared. Generalised mean pooling (p = 3) of the last map gives x; BatchNorm1d gives z;
a linear layer W without bias gives logits. In training only: xh, the map's average through a small perceptron
(CSS) that shifts it; a classifier of each modality, H_v and H_r; and slow copies of them, S_v and S_r.
    HSS     r, the mean over a map's columns plus softmax over rows of its row maxima / width, and c likewise,
            joined to a line; hardswish(BN(A [r, c])), split again; the map is multiplied by sigmoid(A_h r) at
            its row and sigmoid(A_w c) at its column
    CSS     drop(L2(drop(gelu(L1(LN(v + softmax(v)))))))

Losses, over B rows with visible rows V and infrared rows R:
    identity    CE(W z, y)
    circle      circle loss on z (margin 0.5, gamma 64), divided by B once more
    alignment   0.2 {0.45 [M(x_V, x_R) + M(xh_V, xh_R)] + 0.05 [M(x_V, xh_V) + M(x_R, xh_R)]}, M the maximum
                mean discrepancy of rows of length 1
    teaching    of f = z and of f = xh: KL(own H || sg[S of the other modality]) on every row, plus
                0.25 [CE(H_v f_V) + CE(H_r f_R)]; before each step S <- 0.8 S + 0.2 H

Batch: 6 identities x (4 visible + 4 infrared), identities drawn anew for each. SGD with Nesterov momentum, rate
0.2 for the norm and the classifiers, a quarter of it for stage 4, a fifth for stage 3, a tenth for the rest; it
rises for 16 epochs and falls to 0 at the end of 100. Test: z of the image and of its mirror image, each of
length 1, averaged. The tower follows the image's modality.

Quirks. The published program exchanges channels and erases after normalisation, in fp16, and chooses its epoch
by one drawn gallery of ten; `dns-published` does so, and `published_quirks` changes nothing in the network or its
losses. Not repeated: each step there takes the rate of the step before; the divergence is infinite where a
teacher's probability underflows; cosines of the circle loss are products in fp16. The hue jitter of infrared images
is left out, for it changes no grey pixel.

Verified here: the gates, the shift and all four losses against their definitions by loops; embeddings of an
imported checkpoint against a network written from the published names; two processes against one; resuming with
the slow copies.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ivreid.distributed.gather import first_row, gather_rows
from ivreid.losses import circle_loss, identity_loss, mmd_loss, reverse_mutual_loss
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import Importer
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe
from ivreid.models import ModalityHeads, TwoStems, create_backbone, gem, global_average, make_norm

OWN_STAGES = 2
"""Stages that each modality has of its own, after its stem."""

LAST_RATE, SHARED_RATE, OTHER_RATE = 0.25, 0.2, 0.1
"""How fast the last stage, the other shared stages and all other features learn, against the heads."""


class DNSSettings(MethodSettings):
    """Options of DNS; the defaults are the published ones."""

    backbone: str = Field("resnet50", description="timm name of a CNN that comes apart into stem and stages")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    margin: float = Field(0.5, ge=0, description="of the circle loss")
    gamma: float = Field(64.0, gt=0, description="scale of the circle loss")
    circle_weight: float | None = Field(
        None, ge=0, description="weight of the circle loss; null: 1 / rows of the batch, as published"
    )
    align_weight: float = Field(0.2, ge=0, description="weight of the alignment loss")
    inter: float = Field(0.45, ge=0, description="in it, the weight of one modality against the other")
    intra: float = Field(0.05, ge=0, description="in it, the weight of features against shifted ones")
    head_weight: float = Field(0.25, ge=0, description="weight of the modality classifiers' identity losses")
    update_rate: float = Field(0.2, ge=0, le=1, description="how far slow classifiers move in a step")
    dropout: float = Field(0.01, ge=0, lt=1, description="in the perceptron that shifts features")
    published_quirks: bool = Field(
        False, description="nothing in the network or its losses; the recipe dns-published has the rest"
    )


@register_method
class DNS(Method):
    """Domain shifting; see the top of this file."""

    name = "dns"
    citation = (
        "Jiang et al., Domain Shifting: A Generalized Solution for Heterogeneous Cross-Modality Person "
        "Re-Identification, ECCV 2024"
    )
    Settings = DNSSettings
    training_only = ("classifier.", "shift.", "heads.")
    small: ClassVar = {"backbone": "resnet18", "pretrained": None, "dropout": 0.0}
    publication = Publication(
        title="Domain Shifting: A Generalized Solution for Heterogeneous Cross-Modality Person Re-Identification",
        authors="Yan Jiang and Xu Cheng and Hao Yu and Xingyu Liu and Haoyu Chen and Guoying Zhao",
        venue="ECCV",
        year=2024,
        code="Joey623/DNS",
        licence="MIT",
        figures=(
            PublishedFigures(
                "sysu-mm01", "all-search, single-shot", 77.27, 74.35, 62.43, source="code", draw="agw"
            ),
            PublishedFigures(
                "sysu-mm01", "indoor-search, single-shot", 84.21, 86.83, 83.88, source="code", draw="agw"
            ),
            PublishedFigures("regdb", "visible-to-infrared", 93.01, 88.56, 78.42, source="code"),
            PublishedFigures("regdb", "infrared-to-visible", 93.49, 88.10, source="code"),
            PublishedFigures("llcm", "infrared-to-visible", 57.45, 64.11, 61.01, source="code"),
            PublishedFigures("llcm", "visible-to-infrared", 66.02, 68.60, source="code"),
        ),
        remarks=(
            "The kept epoch was the best on the test identities; tested with mirror images.",
            "RegDB's figures are those of its second logged run.",
        ),
    )
    importer = Importer(
        names={
            r"visible\.visible\.(conv1|bn1)\.(.+)": r"backbone.visible.stem.\1.\2",
            r"visible\.visible\.(layer[12]\..+)": r"backbone.visible.\1",
            r"thermal\.thermal\.(conv1|bn1)\.(.+)": r"backbone.infrared.stem.\1.\2",
            r"thermal\.thermal\.(layer[12]\..+)": r"backbone.infrared.\1",
            r"base\.base\.(layer[34]\..+)": r"backbone.shared.\1",
            r"base\.HSS([34])\.channel_attention\.0\.weight": r"gates.layer\1.squeeze.weight",
            r"base\.HSS([34])\.channel_attention\.1\.(.+)": r"gates.layer\1.norm.\2",
            r"base\.HSS([34])\.conv_h\.weight": r"gates.layer\1.rows.weight",
            r"base\.HSS([34])\.conv_w\.weight": r"gates.layer\1.columns.weight",
            r"bottleneck\.(.+)": r"norm.\1",
        },
        dropped=(
            r"base\.base\.layer[12]\..+",
            r"CSS\.mlp\..+",
            r"classifier\.weight",
            r"DD\.(visible|infrared)_classifier_?\.weight",
        ),
        recognised_by=("visible.visible.conv1.weight", "base.HSS3.conv_h.weight", "bottleneck.weight"),
        flip="unit",
    )
    recipe = Recipe(
        {
            "seed": 0,
            "epochs": 100,
            "data": {"size": [288, 144], "resize": "lanczos"},
            "batch": {"sampler": "uniform", "identities": 6, "instances": 4},
            "augment": {
                "flip": 0.5,
                "padding": 10,
                "erasing": 0.5,
                "erasing_law": "log",
                "erasing_area": [0.02, 0.33],
                "erasing_fill": [0.028, 0.117, 0.18],
                "channel_erasing": 0.5,
                "channel_erasing_area": [0.02, 0.4],
                "visible": {"channel_exchange": 1 / 2, "grey": 1 / 6, "exclusive": True},
            },
            "optimizer": {
                "name": "sgd",
                "lr": 0.2,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 5e-4,
            },
            "schedule": {"name": "triangle", "per": "step", "warmup": 16, "warmup_from": 1e-4},
            "embedding": {"flip": "unit"},
        },
        {
            "sysu-mm01": {},
            "regdb": {
                "optimizer": {"lr": 0.1},
                "augment": {"channel_erasing": 0.0, "visible": {"channel_exchange": 2 / 3, "grey": 0.0}},
            },
            "llcm": {"augment": {"erasing": 0.0, "visible": {"channel_exchange": 2 / 3, "grey": 0.0}}},
        },
        source="Joey623/DNS",
        published={
            "augment": {"channel_stage": "normalized"},
            "precision": "fp16",
            "validation": {"every": 1, "trials": 1},
        },
        compact={"optimizer": {"lr": 0.003 / LAST_RATE}},  # the features' rate, not the heads'
    )

    settings: DNSSettings

    def __init__(self, settings: DNSSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        plain = create_backbone(settings.backbone, pretrained=settings.pretrained)
        self.backbone = TwoStems(plain, settings.backbone, depth=OWN_STAGES)
        widths = self.backbone.widths
        self.gates = nn.ModuleDict({name: HSS(widths[int(name[5:])]) for name in self.backbone.shared})
        dim = self.embedding_dim = self.backbone.num_features
        self.norm = make_norm("bn", dim)
        nn.init.normal_(self.norm.weight, 1.0, 0.01)  # type: ignore[arg-type]
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.shift = CSS(dim, settings.dropout)
        self.heads = ModalityHeads(dim, num_classes)

    def maps(self, images: Tensor, infrared: Tensor) -> Tensor:
        """F: (B, 3, H, W) -> (B, D, h, w), no value below 0."""
        x = self.backbone.stems(images, infrared)
        for name, stage in self.backbone.shared.items():
            x = self.gates[name](stage(x))
        return x.relu()  # of a ResNet's maps it changes nothing; other networks have values below 0

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z: (B, 3, H, W) -> (B, D)."""
        z: Tensor = self.norm(gem(self.maps(images, infrared)))
        return z

    def begin_step(self) -> None:
        """The slow classifiers follow, before the classifiers learn."""
        self.heads.update(self.settings.update_rate)

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The four losses, weighted; the batch needs images of both modalities."""
        maps = self.maps(images, infrared)
        x, shifted = gem(maps), self.shift(global_average(maps))
        z = self.norm(x)
        rows = self.both_modalities(infrared, x.device)
        return {
            "identity": identity_loss(self.classifier(z), labels),
            "circle": self.circle(z, labels),
            "alignment": self.settings.align_weight * self.alignment(x, shifted, rows),
            "teaching": self.teaching(z, labels, rows) + self.teaching(shifted, labels, rows),
        }

    def circle(self, z: Tensor, labels: Tensor) -> Tensor:
        """The circle loss with its weight: own rows against the rows of all processes."""
        candidates, weight = gather_rows(z), self.settings.circle_weight
        return (1 / len(candidates) if weight is None else weight) * circle_loss(
            z,
            labels,
            margin=self.settings.margin,
            gamma=self.settings.gamma,
            candidates=candidates,
            candidate_labels=gather_rows(labels),
            first=first_row(len(z)),
        )

    def alignment(self, x: Tensor, shifted: Tensor, rows: tuple[Tensor, Tensor]) -> Tensor:
        """How unlike the features are, of the modalities and before and after the shift: of all processes' rows."""
        (x_v, x_r), (h_v, h_r) = ([gather_rows(f[of]) for of in rows] for f in (x, shifted))
        inter = mmd_loss(x_v, x_r) + mmd_loss(h_v, h_r)
        intra = mmd_loss(x_v, h_v) + mmd_loss(x_r, h_r)
        return self.settings.inter * inter + self.settings.intra * intra

    def teaching(self, f: Tensor, labels: Tensor, rows: tuple[Tensor, Tensor]) -> Tensor:
        """Each modality's classifier learns identities, and what the other's slow copy says of the same rows."""
        v, r = rows
        own_v, own_r, other = self.heads(f[v], f[r])
        identity = identity_loss(own_v, labels[v]) + identity_loss(own_r, labels[r])
        return reverse_mutual_loss(torch.cat([own_v, own_r]), other) + self.settings.head_weight * identity

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Norm and classifiers at the base rate; the last stage, the other shared ones and the rest slower."""
        *earlier, last = self.backbone.shared.values()
        parts: dict[str, tuple[float, list[nn.Module]]] = {
            "heads": (1.0, [self.norm, self.classifier, self.heads]),
            "last_stage": (LAST_RATE, [last]),
            "shared_stages": (SHARED_RATE, earlier),
            "others": (
                OTHER_RATE,
                [self.backbone.visible, self.backbone.infrared, self.gates, self.shift],
            ),
        }
        groups = [
            {"name": name, "params": list(nn.ModuleList(modules).parameters()), "lr": lr * rate}
            for name, (rate, modules) in parts.items()
        ]
        return [group for group in groups if group["params"]]


class HSS(nn.Module):
    """A gate of a map's rows times a gate of its columns; see the top of the file.

    Args:
        channels: C; the line inside has C / 32 channels, 8 at least.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(8, channels // 32)
        self.squeeze = nn.Conv2d(channels, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.rows, self.columns = (nn.Conv2d(width, channels, 1, bias=False) for _ in range(2))

    def forward(self, t: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape, every value times a number in 0..1."""
        height, width = t.shape[2:]
        rows = t.mean(3, keepdim=True) + t.amax(3, keepdim=True).softmax(2) / width
        columns = t.mean(2, keepdim=True) + t.amax(2, keepdim=True).softmax(3) / height
        line = self.squeeze(torch.cat([rows, columns.transpose(2, 3)], 2))
        line = functional.hardswish(self.norm(line))
        row, column = line[:, :, :height], line[:, :, height:]
        row_gate = self.rows(row).sigmoid()
        column_gate = self.columns(column.transpose(2, 3)).sigmoid()
        out: Tensor = t * row_gate * column_gate
        return out


class CSS(nn.Module):
    """A perceptron of features raised by their own softmax; see the top of the file."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, 4 * features),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * features, features),
            nn.Dropout(dropout),
        )

    def forward(self, v: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        out: Tensor = self.layers(v + v.softmax(1))
        return out
