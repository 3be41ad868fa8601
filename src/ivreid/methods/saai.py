"""SAAI: part features by learnt tokens, one norm per modality, classifiers that teach each other.

Network: one ResNet-50 with stride 1 in its last stage and MPANet's modality alleviation after stages 3 and 4
(none on RegDB). Seven tokens t_p and a table E of positions, both trained: a_p = sigmoid(t_p . (F + E)) at each
position of the last map F; x joins the means over positions of a_1 F ... a_7 F (F without E) and of F. A
BatchNorm1d of each modality, without trained biases, gives z. A linear layer W without bias; one of each
modality, H_v and H_r; slow copies of those, S_v and S_r.

Losses, over rows with visible rows V and infrared rows R:
    identity     CE(W z, y)
    modality     CE(H_v z_V, y_V) + CE(H_r z_R, y_R)
    consistency  mean over rows of the cross-entropy of the own H with the soft targets sg[softmax(S of the other
                 modality)]; before each step S <- (1 - r) S + r H, r = 0.02 min(1, 100 / (epochs done + 2))
    centre       mean (|x - c_y| - 0.01)+ plus mean over pairs of identities of (0.7 - |c_i - c_j|)+, c the
                 centres of x
    diversity    -0.25 mean over images and pairs of parts of the root mean square of a_p - a_q

Batch: 10 identities x (4 visible + 4 infrared), in pairs of an epoch's shuffled images. Adam, rate 3.5e-4, a
warm-up of ten epochs, x 0.1 at epochs 80 and 120, 160 epochs. Test: z, L2-normalised, by the norm of the image's
modality. The published figures use affinity inference (AIM), a re-ranking by other test images.

Quirks. The published program multiplies the diversity's weight of 0.5 twice, hence 0.25 (`diversity_weight`). Its
table fits images of 288x144 alone; `grid` gives the table's rows and columns, from which it is interpolated for
other images. `published_quirks` changes nothing; `saai-published` trains in fp16 and chooses its epoch after
affinity inference (k1 = 30, k2 = 6; RegDB 8 and 2). Not repeated: exchanging channels of infrared images, which
changes no grey pixel. Erasing's noise is cut to what eight bits hold (least -2.1, deviation 0.97).

Verified here: all five losses against their definitions by loops; embeddings of imported checkpoints, of
SYSU-MM01's and RegDB's network, against a network written from the published names; two processes against one;
resuming with the slow copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ivreid.distributed.gather import gather_rows
from ivreid.errors import UsageError
from ivreid.losses import centre_cluster_loss, diversity_loss, identity_loss, soft_identity_loss
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import NORM, Importer
from ivreid.methods.mpanet import BACKBONE_NAMES, CLASSIFIERS, alleviated, decaying, masked_means
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe
from ivreid.models import AlleviatedBackbone, DualNorm, ModalityHeads, global_average, resize_table
from ivreid.tensors import without_autocast

PUBLISHED_GRID = (18, 9)
"""Rows and columns of the published table: the last map of an image of 288x144."""


class SAAISettings(MethodSettings):
    """Options of SAAI; the defaults are the published ones."""

    backbone: str = Field("resnet50", description="timm name of a CNN that comes apart into stem and stages")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    alleviation: tuple[int, ...] = Field(
        (3, 4), description="stages, from 1, behind which style is taken out; none on RegDB"
    )
    parts: int = Field(7, ge=2, description="how many tokens")
    grid: tuple[int, int] | None = Field(
        None,
        description="rows and columns of the position table, interpolated to other maps; null: those of the map of "
        "data.size, other images are refused",
    )
    inner_margin: float = Field(0.01, ge=0, description="distance to its centre that a row may have")
    centre_margin: float = Field(0.7, ge=0, description="distance that centres of identities shall have")
    centre_weight: float = Field(1.0, ge=0, description="weight of the centre loss")
    diversity_weight: float = Field(0.25, ge=0, description="weight of parts that look at different places")
    update_rate: float = Field(
        0.02,
        ge=0,
        le=1,
        description="how far slow classifiers move in a step, at first; less from epoch 99 on",
    )
    published_quirks: bool = Field(
        False, description="nothing in the network or its losses; the recipe saai-published has the rest"
    )


@register_method
class SAAI(Method):
    """Semantic alignment; see the top of this file."""

    name = "saai"
    citation = (
        "Fang et al., Visible-Infrared Person Re-Identification via Semantic Alignment and Affinity Inference, "
        "ICCV 2023"
    )
    Settings = SAAISettings
    training_only = ("classifier.", "heads.")
    small: ClassVar = {"backbone": "test_resnet", "pretrained": None}
    small_size: ClassVar = (128, 64)
    publication = Publication(
        title="Visible-Infrared Person Re-Identification via Semantic Alignment and Affinity Inference",
        authors="Xingye Fang and Yang Yang and Ying Fu",
        venue="ICCV",
        year=2023,
        code="xiaoye-hhh/SAAI",
        figures=(
            PublishedFigures(
                "sysu-mm01",
                "all-search, single-shot",
                75.90,
                77.03,
                kind="transductive",
                draw="official",
                rerank="aim:k1=4,k2=1",
            ),
            PublishedFigures(
                "regdb",
                "visible-to-infrared",
                91.07,
                91.45,
                kind="transductive",
                rerank="aim:k1=8,k2=2",
                split=4,
            ),
        ),
        remarks=(
            "The kept epoch was the best on the test identities after affinity inference, whose parameters were "
            "chosen there, too; no plain figures were published.",
        ),
    )
    recipe = Recipe(
        {
            "epochs": 160,
            "data": {"size": [288, 144]},
            "batch": {"sampler": "paired", "identities": 10, "instances": 4},
            "augment": {
                "flip": 0.5,
                "padding": 10,
                "padding_fill": "symmetric",
                "channel_exchange": 3 / 11,  # of an infrared image's equal channels it would change nothing
                "erasing": 0.5,
                "erasing_law": "log",
                "erasing_area": [0.02, 0.33],
                "erasing_fill": "noise",
            },
            "optimizer": {"name": "adam", "lr": 3.5e-4, "weight_decay": 5e-4},
            "schedule": {
                "name": "step",
                "per": "epoch",
                "warmup": 9,
                "warmup_from": 0.1,
                "milestones": [80, 120],
                "gamma": 0.1,
            },
        },
        {"sysu-mm01": {}, "regdb": {"batch": {"identities": 4}, "method": {"alleviation": []}}},
        source="xiaoye-hhh/SAAI",
        published={"precision": "fp16"},
        published_on={  # the epoch is chosen after affinity inference
            "sysu-mm01": {"validation": {"setting": {"rerank": "aim:k1=30,k2=6"}}},
            "regdb": {"validation": {"setting": {"rerank": "aim:k1=8,k2=2"}}},
        },
    )

    settings: SAAISettings

    def __init__(self, settings: SAAISettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        self.backbone = AlleviatedBackbone(settings.backbone, settings.pretrained, settings.alleviation)
        dim = self.backbone.num_features
        self.grid = settings.grid or self.backbone.grid(size)
        self.tokens = nn.Parameter(torch.empty(settings.parts, dim))
        self.positions = nn.Parameter(torch.empty(self.grid[0] * self.grid[1], dim))
        for table in (self.tokens, self.positions):
            nn.init.kaiming_normal_(table)
        dim = self.embedding_dim = dim * (settings.parts + 1)
        self.norm = DualNorm("bn", dim)
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        self.heads = ModalityHeads(dim, num_classes)
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Slow classifiers move less, the later it is."""
        self.rate = decaying(self.settings.update_rate, epoch)

    def begin_step(self) -> None:
        """Slow classifiers follow, before the classifiers learn."""
        self.heads.update(self.rate)

    def pooled(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The feature x and the attention a: (B, 3, H, W) -> (B, D (P + 1)) and (B, P, h w).

        Raises:
            UsageError: Images of another size than the table of positions is for.
        """
        maps = self.backbone(images)
        found = (int(maps.shape[2]), int(maps.shape[3]))
        if found != self.grid and self.settings.grid is None:
            height, width = images.shape[-2:]
            raise UsageError(
                f"images of {height}x{width} have a map of {found[0]}x{found[1]} places, the position table is for "
                f"{self.grid[0]}x{self.grid[1]} (images of {self.size[0]}x{self.size[1]}); resize the images, or set "
                f"method.grid to {list(self.grid)} to interpolate it"
            )
        parts, attention = attended(maps, self.tokens, resize_table(self.positions, self.grid, found))
        return torch.cat([parts, global_average(maps)], 1), attention

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z: (B, 3, H, W) -> (B, D (P + 1)), by the norm of each row's modality."""
        z: Tensor = self.norm(self.pooled(images)[0], infrared)
        return z

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The five losses, weighted; the batch needs images of both modalities."""
        settings = self.settings
        x, attention = self.pooled(images)
        v, r = self.both_modalities(infrared, x.device)
        z = self.norm(x, infrared)
        own_v, own_r, other = self.heads(z[v], z[r])
        centre = centre_cluster_loss(
            gather_rows(x),
            gather_rows(labels),
            centre_margin=settings.centre_margin,
            inner_margin=settings.inner_margin,
        )
        return {
            "identity": identity_loss(self.classifier(z), labels),
            "modality": identity_loss(own_v, labels[v]) + identity_loss(own_r, labels[r]),
            "consistency": soft_identity_loss(torch.cat([own_v, own_r]), other),
            "centre": settings.centre_weight * centre,
            "diversity": settings.diversity_weight * diversity_loss(attention),
        }


@without_autocast
def attended(maps: Tensor, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Means over positions of a map times each token's attention, joined, and the attention.

    Shape:
        (B, D, h, w), (P, D), (h w, D) -> (B, P D) and (B, P, h w).
    """
    attention = (tokens @ maps.flatten(2) + tokens @ positions.T).sigmoid()
    return masked_means(maps, attention), attention


def _settings(tensors: Mapping[str, Tensor], dataset: str) -> dict[str, Any]:
    """The published table is for images of 288x144; interpolated where others were asked for."""
    rows, columns = PUBLISHED_GRID
    fits = len(tensors["attn_pool.pos_embeding"]) == rows * columns
    grid = PUBLISHED_GRID if fits else None
    parts = len(tensors["attn_pool.part_tokens"])
    return {"alleviation": alleviated(tensors), "parts": parts, "grid": grid}


SAAI.importer = Importer(
    names={
        **BACKBONE_NAMES,
        r"attn_pool\.part_tokens": r"tokens",
        r"attn_pool\.pos_embeding": r"positions",
        rf"bn_neck\.bn_neck_v\.{NORM}": r"norm.visible.\1",
        rf"bn_neck\.bn_neck_i\.{NORM}": r"norm.infrared.\1",
    },
    dropped=(*CLASSIFIERS, r"bn_neck\.bn_neck_[vi]\.bias"),
    recognised_by=("backbone.conv1.weight", "attn_pool.part_tokens", "attn_pool.pos_embeding"),
    settings=_settings,
    zero=("bn_neck.bn_neck_v.bias", "bn_neck.bn_neck_i.bias"),
)
