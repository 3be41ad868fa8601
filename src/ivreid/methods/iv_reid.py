"""IV-ReID: one network for both modalities, and two modality classifiers that teach each other.

Network: one ResNet-50 for both modalities with stride 1 in its last stage; global average pooling;
BatchNorm1d gives the feature f; a shared classifier W, and a classifier of each modality, h_v and h_r.

Losses, all with weight 1, over a batch with visible rows V and infrared rows R:
    identity    CE(W f, y)
    modality    CE(h_v(f_V), y_V) + CE(h_r(f_R), y_R)
    mutual      KL(sg[h_r(f_V)] || h_v(f_V)) + KL(sg[h_v(f_R)] || h_r(f_R)),  sg = no gradient
    triplet     batch-hard, Euclidean on f

Batch: 8 identities x (4 visible + 4 infrared). Adam, 100 epochs, constant rate 1e-4, but 1e-3 for the
modality classifiers; weight decay 5e-4 on all. Test: f, L2-normalised.

The published network has a bias in every convolution and no ReLU after its stem. The biases are left out
here: a BatchNorm follows each, which subtracts the batch's mean and the bias with it, so in training they
change no output and receive no gradient, and in evaluation they fold into the running mean. The missing ReLU
is kept (`stem_relu`).

Verified here: the losses and the feature's gradient against NumPy; a whole step with every gradient against an
independent network; that the biases left out change nothing; embeddings of imported checkpoints, of ResNet-18,
-34 and -50 and of every norm, against a network written from the published names; two processes against one.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ivreid.distributed.gather import gather_rows
from ivreid.errors import TrainingError
from ivreid.losses import Reduction, identity_loss, mutual_loss, triplet_loss
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import Importer
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe
from ivreid.models import RESNETS, NormKind, create_backbone, global_average, make_norm
from ivreid.tensors import modality_rows

MODALITY_WIDTH = 512
"""Width between the two linear layers of a modality classifier."""


class IVReIDSettings(MethodSettings):
    """Options of IV-ReID; the defaults are the published system's on SYSU-MM01."""

    backbone: str = Field(
        "resnet50", description="timm name of a CNN; resnet18/34/50/101/152 are as published"
    )
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    last_stride: Literal[1, 2] | None = Field(
        None, description="stride of the last stage; null: 1 for these ResNets"
    )
    stem_relu: bool | None = Field(
        None, description="ReLU after the stem's norm; null: none for these ResNets"
    )
    norm: NormKind = Field("bn", description="norm layer before the classifiers: bn, gn (2 groups) or none")
    classifier_bias: bool = Field(True, description="whether the shared classifier has a bias")
    margin: float = Field(0.3, ge=0, description="triplet margin: 0.3 on SYSU-MM01, 0.2 on RegDB")
    mutual_reduction: Reduction = Field(
        "batchmean", description="batchmean on SYSU-MM01; mean (weaker) on RegDB"
    )
    classifier_lr: float = Field(1e-3, ge=0, description="learning rate of the modality classifiers")
    identity_weight: float = Field(1.0, ge=0, description="weight of the identity loss")
    modality_weight: float = Field(
        1.0, ge=0, description="weight of the modality classifiers' identity losses"
    )
    mutual_weight: float = Field(1.0, ge=0, description="weight of the mutual loss")
    triplet_weight: float = Field(1.0, ge=0, description="weight of the triplet loss")

    @model_validator(mode="before")
    @classmethod
    def _published_resnet(cls, values: Any) -> Any:
        """Write out what null means for the published ResNets, so that a resolved configuration says it."""
        if isinstance(values, dict) and values.get("backbone", "resnet50") in RESNETS:
            published = {"last_stride": 1, "stem_relu": False}
            return {**values, **{key: one for key, one in published.items() if values.get(key) is None}}
        return values


@register_method
class IVReID(Method):
    """The published system; see the top of this file."""

    name = "iv-reid"
    citation = "IV-ReID: one-stream network with mutual modality classifiers"
    Settings = IVReIDSettings
    training_only = ("shared_classifier.", "visible_classifier.", "infrared_classifier.")
    search: ClassVar = {
        "classifier_lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "margin": {"low": 0.1, "high": 0.7},
        "mutual_weight": {"low": 0.1, "high": 3.0, "log": True},
        "triplet_weight": {"low": 0.1, "high": 3.0, "log": True},
    }
    small: ClassVar = {"backbone": "resnet18", "pretrained": None}
    publication = Publication(
        title="IV-ReID: one-stream network with mutual modality classifiers",
        code="linyq17/IV-REID",
        licence="MIT",
        figures=(
            PublishedFigures("sysu-mm01", "all-search, single-shot", 46.3, 44.2, draw="iv-reid"),
            PublishedFigures("regdb", "infrared-to-visible", 46.8, 43.7),
        ),
        remarks=("The kept epoch was the best on the test identities.",),
    )
    importer = Importer(names={}, recognised_by=("base.conv1.weight", "share_classifier.weight"))
    recipe = Recipe(
        {
            "seed": 2019,
            "epochs": 100,
            "data": {"size": [384, 128]},
            "batch": {"sampler": "balanced", "identities": 8, "instances": 4},
            "augment": {"flip": 0.5, "padding": 10},
            "optimizer": {"name": "adam", "lr": 1e-4, "weight_decay": 5e-4},
            "schedule": {"name": "constant"},
            "validation": {"every": 2},
        },
        {"sysu-mm01": {}, "regdb": {"method": {"margin": 0.2, "mutual_reduction": "mean"}}},
        compact={
            "augment": {"channel_exchange": 0.5},
            "method": {
                "classifier_bias": False,
                "modality_weight": 0.1,  # at full weight they drown the identity loss at first
                "mutual_weight": 0.1,
                "triplet_weight": 0.1,
            },
        },
    )

    settings: IVReIDSettings

    def __init__(self, settings: IVReIDSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        self.backbone = create_backbone(
            settings.backbone,
            last_stride=settings.last_stride,
            pretrained=settings.pretrained,
            stem_relu=settings.stem_relu,
        )
        dim = self.embedding_dim = int(self.backbone.num_features)  # type: ignore[arg-type]
        self.norm = make_norm(settings.norm, dim)
        self.shared_classifier = _shared_classifier(dim, num_classes, bias=settings.classifier_bias)
        self.visible_classifier = _modality_classifier(dim, num_classes)
        self.infrared_classifier = _modality_classifier(dim, num_classes)

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """f, the feature after the norm layer: (B, 3, H, W) -> (B, D). The modality makes no difference."""
        feature: Tensor = self.norm(global_average(self.backbone(images)))
        return feature

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The four losses, weighted; the batch needs at least two images of each modality."""
        f = self.embed(images, infrared)
        visible_rows, infrared_rows = modality_rows(infrared, f.device)
        f_visible, y_visible = f[visible_rows], labels[visible_rows]
        f_infrared, y_infrared = f[infrared_rows], labels[infrared_rows]
        if min(len(f_visible), len(f_infrared)) < 2:
            raise TrainingError(
                f"iv-reid needs 2 or more images of each modality, got {len(f_visible)} and {len(f_infrared)}"
            )
        visible_logits = self.visible_classifier(f_visible)
        infrared_logits = self.infrared_classifier(f_infrared)

        identity = identity_loss(self.shared_classifier(f), labels)
        modality = identity_loss(visible_logits, y_visible) + identity_loss(infrared_logits, y_infrared)
        reduction = self.settings.mutual_reduction
        mutual = mutual_loss(visible_logits, self.infrared_classifier(f_visible), reduction)
        mutual = mutual + mutual_loss(infrared_logits, self.visible_classifier(f_infrared), reduction)
        triplet = triplet_loss(
            f,
            labels,
            margin=self.settings.margin,
            candidates=gather_rows(f),
            candidate_labels=gather_rows(labels),
        )
        return {
            "identity": self.settings.identity_weight * identity,
            "modality": self.settings.modality_weight * modality,
            "mutual": self.settings.mutual_weight * mutual,
            "triplet": self.settings.triplet_weight * triplet,
        }

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Backbone, norm and shared classifier at the base rate, the modality classifiers at their own."""
        heads = nn.ModuleList([self.visible_classifier, self.infrared_classifier])
        groups = [
            {"name": "backbone", "params": list(self.backbone.parameters()), "lr": lr},
            {"name": "norm", "params": list(self.norm.parameters()), "lr": lr},
            {"name": "shared_classifier", "params": list(self.shared_classifier.parameters()), "lr": lr},
            {
                "name": "modality_classifiers",
                "params": list(heads.parameters()),
                "lr": self.settings.classifier_lr,
            },
        ]
        return [group for group in groups if group["params"]]


def _shared_classifier(features: int, classes: int, *, bias: bool) -> nn.Linear:
    layer = nn.Linear(features, classes, bias=bias)
    if bias:
        _kaiming(layer)
    else:
        nn.init.normal_(layer.weight, std=0.001)
    return layer


def _modality_classifier(features: int, classes: int) -> nn.Sequential:
    first, second = nn.Linear(features, MODALITY_WIDTH), nn.Linear(MODALITY_WIDTH, classes)
    _kaiming(first)
    _kaiming(second)
    return nn.Sequential(nn.BatchNorm1d(features), first, second)


@torch.no_grad()
def _kaiming(layer: nn.Linear) -> None:
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    nn.init.zeros_(layer.bias)
