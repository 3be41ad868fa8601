"""PMT: a vision transformer that learns from grey visible images first, and then what both modalities share.

Network: one ViT-B/16 for both modalities, patches of 16x16 at every 12th pixel, so that they overlap; the
position table is resized to the image's rows and columns. The class token behind the last layer norm gives x;
BatchNorm1d without a trained bias gives z; a linear layer W without bias gives logits.

Losses, over rows with visible rows V and infrared rows R; T is batch-hard with margin 0.1, on x:
    identity       CE(W z_V, y_V) + CE(W z_R, y_R)
    triplet        in the first six epochs, in which visible images are grey: T(x_V) + T(x_R); then T(x)
    centre         then, 0.5 times: distance of rows to their identity's centre over that of near others to it
    enhancement    then, 0.5 times: mean squares of the distance to the own identity's rows of the other
                   modality less that to those of the own one

Batch: 8 identities x (4 visible + 4 infrared), no image twice. AdamW, rate 3e-4, half of it for the patches and
blocks, which are trained already; a warm-up of three epochs and half a cosine down to 3e-6, 24 epochs (RegDB: 36).
Test: z, L2-normalised. The modality makes no difference.

Quirks. Layer norms add 1e-5 to the variance, the published program's, though the ImageNet weights were trained
with 1e-6 (`norm_eps`). `published_quirks` changes nothing; `pmt-published` trains in fp16. Not repeated: RegDB's
training images resized twice. The loader and the method must change phase together: `augment.grey_epochs` and
`grey_epochs` are one number, and a run in which they differ is refused.

Verified here: all losses of both phases against their definitions by loops; the rate of every epoch against the
published formula; embeddings of an imported checkpoint against a transformer written from the published names;
two processes against one; resuming in the middle of an epoch of the second phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from ivreid.distributed.gather import gather_rows
from ivreid.errors import CheckpointError
from ivreid.losses import (
    discriminative_centre_loss,
    identity_loss,
    shared_enhancement_loss,
    triplet_loss,
)
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import NORM, Importer
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe
from ivreid.models import create_vit, make_norm


class PMTSettings(MethodSettings):
    """Options of PMT; the defaults are the published ones."""

    backbone: str = Field(
        "vit_base_patch16_224", description="timm name of a plain vision transformer with a class token"
    )
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    stride: int = Field(12, ge=1, description="pixels from patch to patch; less than 16 lets them overlap")
    drop: float = Field(0.03, ge=0, lt=1, description="dropout of tokens, attention's output and perceptrons")
    drop_path: float = Field(0.1, ge=0, lt=1, description="stochastic depth of the last block")
    norm_eps: float = Field(1e-5, gt=0, description="what layer norms add to the variance")
    grey_epochs: int = Field(
        6, ge=0, description="epochs of the first phase; must be augment.grey_epochs, too"
    )
    margin: float = Field(0.1, ge=0, description="of the batch-hard triplets")
    centre_weight: float = Field(0.5, ge=0, description="weight of the discriminative centre loss")
    enhancement_weight: float = Field(0.5, ge=0, description="weight of the modality-shared enhancement loss")
    pretrained_rate_factor: float = Field(
        0.5, gt=0, description="how fast patches and blocks learn, against the rest"
    )
    published_quirks: bool = Field(
        False, description="nothing in the network or its losses; the recipe pmt-published has the rest"
    )


@register_method
class PMT(Method):
    """Progressive modality-shared transformer; see the top of this file."""

    name = "pmt"
    citation = (
        "Lu et al., Learning Progressive Modality-Shared Transformers for Effective Visible-Infrared Person "
        "Re-Identification, AAAI 2023"
    )
    Settings = PMTSettings
    training_only = ("classifier.",)
    small: ClassVar = {
        "backbone": "test_vit",
        "pretrained": None,
        "drop": 0.0,
        "drop_path": 0.0,
        "grey_epochs": 1,
    }
    publication = Publication(
        title=(
            "Learning Progressive Modality-Shared Transformers for Effective Visible-Infrared Person "
            "Re-Identification"
        ),
        authors="Hu Lu and Xuezhang Zou and Pingping Zhang",
        venue="AAAI",
        year=2023,
        code="hulu88/PMT",
        figures=(
            PublishedFigures(
                "sysu-mm01", "all-search, single-shot", 67.53, 64.98, 51.86, source="code", draw="agw"
            ),
            PublishedFigures("sysu-mm01", "indoor-search, single-shot", 71.66, 76.52, draw="agw"),
            PublishedFigures("regdb", "visible-to-infrared", 84.8, 76.6),
        ),
        remarks=("The kept epoch was the best on the test identities.",),
    )
    importer = Importer(
        names={
            r"base\.((cls_token|pos_embed)|(patch_embed\.proj|blocks|norm)\..+)": r"backbone.\1",
            rf"bottleneck\.{NORM}": r"norm.\1",
        },
        dropped=(r"bottleneck\.bias", r"classifier\.weight"),
        recognised_by=("base.cls_token", "base.pos_embed", "bottleneck.weight"),
        zero=("bottleneck.bias",),
    )
    recipe = Recipe(
        {
            "seed": 0,
            "epochs": 24,
            "data": {"size": [256, 128], "resize": "lanczos"},
            "batch": {"sampler": "uniform", "identities": 8, "instances": 4, "replacement": False},
            "augment": {
                "flip": 0.5,
                "padding": 0,
                "erasing": 0.5,
                "erasing_law": "uniform",
                "erasing_area": [0.02, 0.4],
                "erasing_fill": [0.485, 0.456, 0.406],
                "grey_epochs": 6,
                "infrared": {
                    "colour_choice": ["jitter", "blur"],
                    "jitter": 1.0,
                    "brightness": 0.3,
                    "contrast": 0.3,
                    "saturation": 0.0,
                    "blur": [21, 0.1, 3.0],
                },
            },
            "optimizer": {"name": "adamw", "lr": 3e-4, "weight_decay": 1e-4},
            "schedule": {
                "name": "cosine",
                "per": "epoch",
                "first_epoch": 1,
                "warmup": 3,
                "warmup_from": 0.0,
                "cosine_from": "start",
                "floor_rate": 3e-6,
            },
        },
        {"sysu-mm01": {}, "regdb": {"epochs": 36}},
        source="hulu88/PMT",
        published={"precision": "fp16", "validation": {"every": 2, "metric": "mAP"}},
        compact={"method": {"pretrained_rate_factor": 1.0}},  # all start from random weights
    )

    settings: PMTSettings

    def __init__(self, settings: PMTSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        self.backbone = create_vit(
            settings.backbone,
            size,
            stride=settings.stride,
            drop=settings.drop,
            drop_path=settings.drop_path,
            norm_eps=settings.norm_eps,
            pretrained=settings.pretrained,
        )
        dim = self.embedding_dim = self.backbone.num_features
        self.norm = make_norm("bn", dim, shift=False)
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Visible images are grey at first, and each modality is learned for itself."""
        self.apart = epoch < self.settings.grey_epochs

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z: (B, 3, H, W) -> (B, D). The modality makes no difference."""
        z: Tensor = self.norm(self.backbone(images))
        return z

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The losses of the epoch's phase, weighted; the batch needs images of both modalities."""
        settings = self.settings
        x = self.backbone(images)
        logits = self.classifier(self.norm(x))
        v, r = self.both_modalities(infrared, x.device)
        identity = identity_loss(logits[v], labels[v]) + identity_loss(logits[r], labels[r])
        if self.apart:
            apart = self.triplet(x[v], labels[v]) + self.triplet(x[r], labels[r])
            return {"identity": identity, "triplet": apart}
        rows, row_labels = gather_rows(x), gather_rows(labels)
        row_modality = gather_rows(infrared.to(x.device, non_blocking=True))
        centre = discriminative_centre_loss(rows, row_labels)
        enhancement = shared_enhancement_loss(rows, row_labels, row_modality)
        return {
            "identity": identity,
            "triplet": self.triplet(x, labels),
            "centre": settings.centre_weight * centre,
            "enhancement": settings.enhancement_weight * enhancement,
        }

    def triplet(self, x: Tensor, labels: Tensor) -> Tensor:
        """The batch-hard triplet among these rows, of all processes."""
        return triplet_loss(
            x,
            labels,
            margin=self.settings.margin,
            candidates=gather_rows(x),
            candidate_labels=gather_rows(labels),
        )

    def check_tensors(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """As of every method; of a position table for other images the message says so."""
        held, wanted = tensors.get("backbone.pos_embed"), self.backbone.pos_embed
        if (
            held is not None
            and held.ndim == 3
            and held.shape != wanted.shape
            and held.shape[2] == wanted.shape[2]
        ):
            (height, width), (rows, columns) = self.size, self.backbone.grid
            raise CheckpointError(
                f"{source} has a position table of {held.shape[1] - 1} places; images of {height}x{width} have "
                f"{rows}x{columns} patches of stride {self.settings.stride}: give the size and stride of its training"
            )
        super().check_tensors(tensors, source)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Patches and blocks, which are trained already, slower than the rest."""
        trained = nn.ModuleList([self.backbone.patch_embed, self.backbone.blocks])
        slow = {id(parameter) for parameter in trained.parameters()}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in slow]
        return [
            {"name": "rest", "params": rest, "lr": lr},
            {
                "name": "trained",
                "params": list(trained.parameters()),
                "lr": lr * self.settings.pretrained_rate_factor,
            },
        ]
