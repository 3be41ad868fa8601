"""Ours: the field's good parts without their defects, in one plain network.

Network: one backbone for both modalities, a ResNet-50 with stride 1 in its last stage, or a vision transformer
(`vit_*`). Generalised mean pooling (p = 3), or the transformer's CLS token, gives x; BatchNorm1d without a trained
bias gives z; a linear layer W without bias gives logits.
With `parts` the map is also cut into as many horizontal stripes, each pooled by itself: x and z join the whole and
the stripes, and each has a linear layer of its own.

Losses, each with weight 1, over all rows of both modalities and all views:
    identity    CE(W z, y), label smoothing 0.1; with parts the mean over the whole and the stripes, each of which
                has to tell people apart by itself (as in PCB, Sun et al., ECCV 2018)
    triplet     weighted regularised triplet on x: every positive and negative counts, by a softmax of its
                distance; an anchor is no positive of its own, and no weight underflows
    consistency (off) CE(softmax(W z') || softmax(W z)): the plain view of a visible image learns what its second
                view says
    teacher     (off) KL(softmax(T(plain view)) || softmax(W z')): the second view learns what a slow copy T of the
                whole network says of the plain one (mean teacher, Tarvainen & Valpola, NeurIPS 2017)

Batch: 8 identities x (4 visible images in two views + 4 infrared) = 96 rows. The first view has its colours
jittered; the second is one of the image's channels or a random mixture of them, before normalisation, so that it
looks as a grey picture does in the test. All rows are flipped, cropped and erased.
Adam, rate 3.5e-4; a warm-up of 5 epochs, then a cosine to a hundredth, 60 epochs. Transformers: images of 256x128,
AdamW, rate 3e-4, half of it for patches and blocks, gradients cut at norm 1. The weights used are an average over
steps (`ema`). Test: z, L2-normalised.

Why so. A squared gap (CAJ) has no gradient where all images are mapped to one point; the published softmax (AGW)
forgets negatives once distances grow. Each part is an option or a key of the configuration, so that it can be
switched off: `python benchmarks/methods.py --ablation` measures what each is worth.

Verified here: the losses against loops over rows; the gradient of the triplet loss where the published softmax
has none; the slow copy's answers and its way; two processes against one; resuming with the slow copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ivreid.distributed.gather import first_row, gather_rows
from ivreid.errors import UsageError
from ivreid.losses import (
    identity_loss,
    mutual_loss,
    soft_identity_loss,
    triplet_loss,
    weighted_triplet_loss,
)
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.recipe import Recipe
from ivreid.models import (
    SlowCopy,
    TwoStems,
    create_backbone,
    create_vit,
    gem,
    global_average,
    make_norm,
)

CLAMP = 1e-6
"""Where generalised mean pooling cuts, so that an empty channel is no division by zero."""

SLOW = 0.5
"""Rate of a transformer's patches and blocks against that of norm and classifier."""


class BaselineSettings(MethodSettings):
    """Options of the baseline; every part can be switched off."""

    backbone: str = Field("resnet50", description="timm name of a CNN, or of a plain vision transformer")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    stems: Literal["one", "two"] = Field(
        "one", description="first layers for both modalities, or one each (CNNs)"
    )
    pooling: Literal["gem", "avg"] = Field("gem", description="generalised mean (p = 3), or average (CNNs)")
    parts: int = Field(
        0,
        ge=0,
        description="horizontal stripes that tell people apart by themselves, beside the whole (CNNs)",
    )
    patch_stride: int | None = Field(
        None, ge=1, description="distance of a transformer's patches; null: the patch's side"
    )
    drop_path: float = Field(0.1, ge=0, lt=1, description="stochastic depth of a transformer's last block")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing of the identity loss")
    triplet: Literal["weighted", "published", "hard"] = Field(
        "weighted", description="weighted regularised; with AGW's published softmax; or batch-hard"
    )
    triplet_weight: float = Field(1.0, ge=0, description="weight of the triplet loss; 0 leaves it out")
    relative: bool = Field(
        False, description="divide distances in the triplet's softmaxes by the batch's mean"
    )
    margin: float = Field(0.3, ge=0, description="of the batch-hard triplet")
    consistency_weight: float = Field(
        0.0, ge=0, description="weight of what the plain view learns from the second; 0 leaves it out"
    )
    ema_teacher: float = Field(
        0.0,
        ge=0,
        description="weight of what a slow copy of the network teaches the second view; 0 leaves it out",
    )
    ema_decay: float = Field(0.999, ge=0, lt=1, description="what stays of the slow copy in each step")

    @model_validator(mode="after")
    def _fits_the_backbone(self) -> BaselineSettings:
        if self.is_transformer and self.stems == "two":
            raise ValueError("`stems: two` takes a CNN apart; a vision transformer has one stem")
        if self.is_transformer and self.parts:
            raise ValueError("`parts` cuts a CNN's map; leave it at 0 with a vision transformer")
        return self

    @property
    def is_transformer(self) -> bool:
        """Whether the backbone is a vision transformer."""
        return self.backbone.startswith("vit_")


@register_method
class Baseline(Method):
    """One plain network, correct losses, two views; see the top of this file."""

    name = "baseline"
    citation = "ivreid: its own baseline"
    Settings = BaselineSettings
    training_only = ("classifier",)
    search: ClassVar = {
        "triplet_weight": {"low": 0.1, "high": 3.0, "log": True},
        "smoothing": {"low": 0.0, "high": 0.3},
    }
    small: ClassVar = {"backbone": "test_resnet", "pretrained": None}
    recipe = Recipe(
        {
            "epochs": 60,
            "data": {"size": [288, 144]},
            "batch": {"sampler": "balanced", "identities": 8, "instances": 4, "views": {"visible": 2}},
            "augment": {
                "flip": 0.5,
                "padding": 10,
                "erasing": 0.5,
                "visible": {"jitter": 0.5},
                "second": {
                    "channel_exchange": 1.0,
                    "weighted_grey": 1.0,
                    "colour_choice": ["channel_exchange", "weighted_grey"],
                },
                "infrared": {"jitter": 0.5},
            },
            "optimizer": {"name": "adam", "lr": 3.5e-4, "weight_decay": 5e-4},
            "schedule": {"name": "cosine", "warmup": 5, "warmup_from": 0.01, "floor": 0.01},
            "ema": 0.999,
        },
        {"sysu-mm01": {}, "regdb": {}, "llcm": {}},
        transformer={
            "data": {"size": [256, 128]},
            "optimizer": {"name": "adamw", "lr": 3e-4, "weight_decay": 1e-4},
            "clip": 1.0,
        },
        compact={  # in minutes from random weights more steps are worth more than harder images
            "batch": {"views": {"visible": 1}},
            "augment": {
                "erasing": 0.0,
                "tone": 0.5,
                "visible": {"jitter": 0.0, "channel_exchange": 0.5},
                "infrared": {"jitter": 0.0},
            },
            "method": {"parts": 3, "triplet_weight": 0.1},
            "precision": "native",
        },
    )

    settings: BaselineSettings

    def __init__(self, settings: BaselineSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        self.backbone = _backbone(settings, size)
        dim = int(self.backbone.num_features)  # type: ignore[arg-type]
        self.embedding_dim = dim * (1 + settings.parts)
        self.norm = make_norm("bn", self.embedding_dim, shift=False)
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        self.classifiers_of_parts = nn.ModuleList(
            nn.Linear(dim, num_classes, bias=False) for _ in range(settings.parts)
        )
        for layer in (self.classifier, *self.classifiers_of_parts):
            nn.init.normal_(layer.weight, std=0.001)
        if settings.parts:
            self._check_that_stripes_have_rows(size)
        self.classifier_teacher = SlowCopy(self, settings.ema_decay) if settings.ema_teacher else None
        self.between = self.views_with(settings.model_dump()) == 2

    @classmethod
    def views_with(cls, settings: Mapping[str, Any]) -> int:
        """Two where views learn from each other."""
        return 2 if settings.get("consistency_weight") or settings.get("ema_teacher") else cls.views

    def begin_step(self) -> None:
        """The slow copy follows, before the network learns."""
        if self.classifier_teacher is not None:
            self.classifier_teacher.follow(self)

    def _check_that_stripes_have_rows(self, size: tuple[int, int]) -> None:
        self.backbone.eval()
        with torch.no_grad():
            height = self.maps(torch.zeros(1, 3, *size), torch.tensor([True])).shape[2]
        self.backbone.train()
        if height < self.settings.parts:
            raise UsageError(
                f"method.parts = {self.settings.parts}: the map of images of {size[0]}x{size[1]} has {height} rows "
                f"only; ask for at most as many parts, or raise data.size"
            )

    def maps(self, images: Tensor, infrared: Tensor) -> Tensor:
        """A CNN's map: (B, 3, H, W) -> (B, C, h, w)."""
        maps: Tensor = (
            self.backbone(images, infrared) if self.settings.stems == "two" else self.backbone(images)
        )
        return maps

    def pooled(self, images: Tensor, infrared: Tensor) -> Tensor:
        """x, before the norm: (B, 3, H, W) -> (B, D), the whole first, then the stripes from the top."""
        if self.settings.is_transformer:
            token: Tensor = self.backbone(images)
            return token
        maps, parts = self.maps(images, infrared), self.settings.parts
        regions = (maps, *maps.tensor_split(parts, 2)) if parts else (maps,)
        pool = partial(gem, clamp=CLAMP) if self.settings.pooling == "gem" else global_average
        return torch.cat([pool(one) for one in regions], 1)

    def logits(self, z: Tensor) -> list[Tensor]:
        """Of the whole, then of each stripe: (B, D) -> 1 + parts times (B, num_classes)."""
        layers = (self.classifier, *self.classifiers_of_parts)
        return [layer(region) for layer, region in zip(layers, z.chunk(len(layers), 1), strict=True)]

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z: (B, 3, H, W) -> (B, D). With one stem the modality makes no difference."""
        z: Tensor = self.norm(self.pooled(images, infrared))
        return z

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The losses over all rows; those that are switched off are left out."""
        x = self.pooled(images, infrared)
        logits = self.logits(self.norm(x))
        identity = [identity_loss(one, labels, smoothing=self.settings.smoothing) for one in logits]
        losses = {"identity": torch.stack(identity).mean()}
        if self.settings.triplet_weight:
            losses["triplet"] = self.settings.triplet_weight * self.triplet(x, labels)
        if self.between:
            losses |= self.between_views(images, infrared, view, logits[0])
        return losses

    def between_views(
        self, images: Tensor, infrared: Tensor, view: Tensor | None, logits: Tensor
    ) -> dict[str, Tensor]:
        """What one view of a visible image learns from the other."""
        plain, second = self.two_views(infrared, view, logits.device)
        losses = {}
        if self.settings.consistency_weight:
            consistency = soft_identity_loss(logits[plain], logits[second])
            losses["consistency"] = self.settings.consistency_weight * consistency
        if self.classifier_teacher is not None:
            visible = torch.zeros(len(plain), dtype=torch.bool)  # on the CPU, as `infrared` is
            said = self.classifier_teacher.network.answers(images[plain], visible)
            losses["teacher"] = self.settings.ema_teacher * mutual_loss(logits[second], said)
        return losses

    @torch.no_grad()
    def answers(self, images: Tensor, infrared: Tensor) -> Tensor:
        """What the whole, without its stripes, is taken for: (B, 3, H, W) -> (B, num_classes)."""
        return self.logits(self.norm(self.pooled(images, infrared)))[0]

    def triplet(self, x: Tensor, labels: Tensor) -> Tensor:
        """The triplet loss that the settings name, against the rows of all processes."""
        rows, row_labels = gather_rows(x), gather_rows(labels)
        if self.settings.triplet == "hard":
            return triplet_loss(
                x, labels, margin=self.settings.margin, candidates=rows, candidate_labels=row_labels
            )
        published = self.settings.triplet == "published"
        return weighted_triplet_loss(
            x,
            labels,
            candidates=rows,
            candidate_labels=row_labels,
            first=first_row(len(x)),
            with_self=published,
            relative=self.settings.relative,
            published=published,
        )

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """All at the base rate, but a transformer's patches and blocks at half of it."""
        heads = nn.ModuleList([self.norm, self.classifier, self.classifiers_of_parts])
        rate = SLOW * lr if self.settings.is_transformer else lr
        return [
            {"name": "backbone", "params": list(self.backbone.parameters()), "lr": rate},
            {"name": "heads", "params": list(heads.parameters()), "lr": lr},
        ]


def _backbone(settings: BaselineSettings, size: tuple[int, int]) -> nn.Module:
    """Images to a map, or to a CLS token."""
    if settings.is_transformer:
        return create_vit(
            settings.backbone,
            size,
            stride=settings.patch_stride,
            drop_path=settings.drop_path,
            pretrained=settings.pretrained,
        )
    plain = create_backbone(settings.backbone, pretrained=settings.pretrained)
    return TwoStems(plain, settings.backbone) if settings.stems == "two" else plain
