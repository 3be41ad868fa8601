"""AGW: a stem per modality, attention between positions, generalised mean pooling, a weighted triplet loss.

Network: the first convolution, norm, ReLU and pooling of a ResNet-50 once per modality; the four stages, with
stride 1 in the last, shared. A non-local block follows each of the last two blocks of stage 2 and the last
three of stage 3. Generalised mean pooling (p = 3) gives x; BatchNorm1d without a trained bias gives z;
a linear layer W without bias gives logits.

Losses, both with weight 1, over all rows of both modalities:
    identity    CE(W z, y)
    triplet     weighted regularised triplet on x: every positive and negative counts, by a softmax of its
                distance; `triplet: hard` takes the batch-hard one with a margin instead

Batch: 8 identities x (4 visible + 4 infrared), identities drawn anew for each. SGD with Nesterov momentum, rate
0.1 for the norm and W, a tenth of it for the rest; a warm-up of ten epochs, x 0.1 at epochs 20 and 50, 81 epochs.
Test: z, L2-normalised. The stem follows the image's modality.

Quirk (`published_quirks`): in the published softmax all weights of negatives vanish once distances pass about
14, so that nothing pushes negatives away any more; the default is the softmax that the paper writes.

Verified here: the losses against loops over rows; the published softmax against its definition; embeddings of
imported checkpoints, with either width of the non-local blocks and without them, against a network written from
the published names; two processes against one; the recipe against the published settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ivreid.distributed.gather import first_row, gather_rows
from ivreid.errors import CheckpointError
from ivreid.losses import identity_loss, triplet_loss, weighted_triplet_loss
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import NORM, Importer
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe
from ivreid.models import (
    NonLocal,
    TwoStems,
    after_last_blocks,
    create_backbone,
    gem,
    global_average,
    make_norm,
)

NON_LOCAL = {"layer2": 2, "layer3": 3}
"""Blocks at a stage's end that a non-local block follows."""


class AGWSettings(MethodSettings):
    """Options of AGW; the defaults are the published ones."""

    backbone: str = Field("resnet50", description="timm name of a CNN that comes apart into stem and stages")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    non_local: bool = Field(True, description="non-local blocks in stages 2 and 3 (ResNets)")
    non_local_width: Literal[1, "half"] = Field(
        1, description="channels inside them: 1 as in all published weights, or half of the map's"
    )
    pooling: Literal["gem", "avg"] = Field("gem", description="generalised mean (p = 3), or average")
    triplet: Literal["wrt", "hard"] = Field("wrt", description="weighted regularised, or batch-hard")
    margin: float = Field(0.3, ge=0, description="of the batch-hard triplet")
    head_rate_factor: float = Field(10.0, gt=0, description="how much faster norm and W learn than the rest")
    published_quirks: bool = Field(False, description="the published softmax, whose weights underflow")


@register_method
class AGW(Method):
    """Two-stream attention generalised mean weighted triplet; see the top of this file."""

    name = "agw"
    citation = "Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, TPAMI 2021"
    Settings: ClassVar[type[AGWSettings]] = AGWSettings
    training_only = ("classifier.",)
    small: ClassVar = {"backbone": "test_resnet", "pretrained": None}
    publication = Publication(
        title="Deep Learning for Person Re-identification: A Survey and Outlook",
        authors="Mang Ye and Jianbing Shen and Gaojie Lin and Tao Xiang and Ling Shao and Steven C. H. Hoi",
        venue="TPAMI",
        year=2021,
        code="mangye16/Cross-Modal-Re-ID-baseline",
        licence="MIT",
        figures=(
            PublishedFigures(
                "sysu-mm01", "all-search, single-shot", 47.50, 47.65, 35.30, source="code", draw="agw"
            ),
            PublishedFigures("regdb", "visible-to-infrared", 70.05, 66.37, 50.19, source="code"),
            PublishedFigures("llcm", "infrared-to-visible", 43.6, 51.8),
            PublishedFigures(
                "llcm", "infrared-to-visible", 49.1, 55.8, source="rerun by the benchmark's authors"
            ),
        ),
        remarks=("The kept epoch was the best on the test identities.",),
    )
    recipe = Recipe(
        {
            "seed": 0,
            "epochs": 81,
            "data": {"size": [288, 144], "resize": "lanczos"},
            "batch": {"sampler": "uniform", "identities": 8, "instances": 4},
            "augment": {"flip": 0.5, "padding": 10},
            "optimizer": {
                "name": "sgd",
                "lr": 0.1,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 5e-4,
            },
            "schedule": {
                "name": "step",
                "per": "epoch",
                "warmup": 9,
                "warmup_from": 0.1,
                "milestones": [20, 50],
                "gamma": 0.1,
            },
            "precision": "fp32",
        },
        {"sysu-mm01": {}, "regdb": {}, "llcm": {"augment": {"erasing": 0.5}}},
        source="mangye16/Cross-Modal-Re-ID-baseline; LLCM: ZYK100/LLCM",
        compact={"method": {"head_rate_factor": 1.0}},  # all start from random weights
    )

    settings: Any

    def __init__(self, settings: AGWSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        plain = create_backbone(settings.backbone, pretrained=settings.pretrained)
        self.backbone = TwoStems(plain, settings.backbone)
        if settings.non_local:
            for stage, blocks in NON_LOCAL.items():
                channels = self.backbone.widths[int(stage[-1])]
                width = 1 if settings.non_local_width == 1 else channels // 2
                after_last_blocks(self.backbone.shared[stage], blocks, partial(NonLocal, channels, width))
        dim = self.embedding_dim = self.backbone.num_features
        self.norm = make_norm("bn", dim, shift=False)
        nn.init.normal_(self.norm.weight, 1.0, 0.01)  # type: ignore[arg-type]
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def pooled(self, images: Tensor, infrared: Tensor) -> Tensor:
        """x, before the norm: (B, 3, H, W) -> (B, D)."""
        maps = self.backbone(images, infrared)
        return gem(maps) if self.settings.pooling == "gem" else global_average(maps)

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z: (B, 3, H, W) -> (B, D)."""
        z: Tensor = self.norm(self.pooled(images, infrared))
        return z

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The two losses over all rows."""
        x = self.pooled(images, infrared)
        return {
            "identity": identity_loss(self.classifier(self.norm(x)), labels),
            "triplet": self.triplet(x, labels),
        }

    def triplet(self, x: Tensor, labels: Tensor) -> Tensor:
        """The triplet loss that the settings name, against the rows of all processes."""
        rows, row_labels = gather_rows(x), gather_rows(labels)
        if self.settings.triplet == "hard":
            return triplet_loss(
                x, labels, margin=self.settings.margin, candidates=rows, candidate_labels=row_labels
            )
        return weighted_triplet_loss(
            x,
            labels,
            candidates=rows,
            candidate_labels=row_labels,
            first=first_row(len(x)),
            published=self.settings.published_quirks,
        )

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Norm and classifier at the base rate, stems, stages and non-local blocks at a tenth of it."""
        heads = nn.ModuleList([self.norm, self.classifier])
        slow = lr / self.settings.head_rate_factor
        return [
            {"name": "base", "params": list(self.backbone.parameters()), "lr": slow},
            {"name": "heads", "params": list(heads.parameters()), "lr": lr},
        ]


def _settings(tensors: Mapping[str, Tensor], dataset: str) -> dict[str, Any]:
    """Non-local blocks and their width, from the tensors."""
    found: dict[str, Any] = {"non_local": "NL_2.0.g.0.weight" in tensors, "non_local_width": 1}
    if found["non_local"]:
        width, channels = tensors["NL_2.0.g.0.weight"].shape[:2]
        if width not in (1, channels // 2):
            raise CheckpointError(
                f"non-local blocks of {width} channels in a map of {channels}; expected 1 or half"
            )
        found["non_local_width"] = 1 if width == 1 else "half"
    return found


def published_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The family's names here: blocks that a non-local one follows stand as `N.block` beside `N.after`."""
    attention = {"g.0": "g", "theta": "theta", "phi": "phi", "W.0": "expand", "W.1": "norm"}
    names = {
        r"visible_module\.visible\.(conv1|bn1)\.(.+)": r"backbone.visible.stem.\1.\2",
        r"thermal_module\.thermal\.(conv1|bn1)\.(.+)": r"backbone.infrared.stem.\1.\2",
        rf"bottleneck\.{NORM}": r"norm.\1",
    }
    if "NL_2.0.g.0.weight" in tensors:
        for stage, blocks, count in (("2", 2, 4), ("3", 3, 6)):
            for number in range(blocks):
                index = count - blocks + number
                ours = f"backbone.shared.layer{stage}.{index}"
                names[rf"base_resnet\.base\.layer{stage}\.{index}\.(.+)"] = rf"{ours}.block.\1"
                for theirs, inner in attention.items():
                    names[rf"NL_{stage}\.{number}\.{re.escape(theirs)}\.(.+)"] = rf"{ours}.after.{inner}.\1"
    return {**names, r"base_resnet\.base\.(layer[1-4]\..+)": r"backbone.shared.\1"}


COPIES = (
    r"(visible_module\.visible|thermal_module\.thermal)\.(layer[1-4]|fc)\..+",
    r"base_resnet\.base\.(conv1|bn1|fc)\..+",
)
"""The two stems' unused stages, and the shared network's unused stem."""

CHECKPOINTS = Importer(
    names=published_names,
    dropped=(*COPIES, r"bottleneck\.bias", r"classifier\.weight"),
    recognised_by=("visible_module.visible.conv1.weight", "base_resnet.base.layer4.2.conv3.weight"),
    settings=_settings,
    zero=("bottleneck.bias",),
)
"""How the published checkpoints of this family are called."""

AGW.importer = CHECKPOINTS
