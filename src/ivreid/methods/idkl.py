"""IDKL: what is peculiar to a modality, cleaned of its style, teaches what both share. Experimental.

Network: stem, stage 1 and stage 2 of one ResNet-50 give t. The shared branch, stages 3 and 4 (stride 1), gives G.
In training only: a specific branch, stages 3 and 4 once more, gives F; I is its instance norm with trained
weights; m_I and m_F are masks of both, a gate at each position. Generalised mean pooling (p = 3) of G gives x_s,
that of m_I m_F (F + I) gives x_p; BatchNorm1d without trained biases gives z_s and z_p. Linear layers W_s, W_p and
U without bias; discriminators A and B, perceptrons of two hidden layers.

Losses, over rows with visible rows V and infrared rows R; J is the symmetric divergence of softmaxes:
    identity        CE(W_s z_s, y) + CE(W_p z_p, y)
    triplet         batch-hard with margin 1.3 on x_s, and on x_p
    modality        CE(A z_p, modality) + CE(B z_s, half of the modalities wrong), so that z_p tells the modality
                    and z_s does not
    graph           J of rows of distances among x: V, R and half of each, and 0.6 times x_s and x_p (none on RegDB)
    class           J of logits: V and R, and 0.8 times W_s z_s and W_p z_p (RegDB: 0.3); and the same where the
                    logits of a row of every identity share a softmax
    purification    0.1 {mean exp((H(U gem(m_F F)) - H(U gem(F)))+) - 1 + mean over identities of (gap of m_I I less
                    gap of I)+}, H the entropy, gap the distance of an identity's means of both modalities

Batch: 12 identities x (5 visible + 5 infrared), in pairs of an epoch's shuffled images; each identity needs as
many of both modalities. Adam, rate 3.5e-4, weight decay 5e-3, x 0.1 at epochs 55 and 95, 160 epochs. Test: z_s,
L2-normalised. The modality makes no difference. On SYSU-MM01 the published figures use a re-ranking by other
test images.

Experimental: the committed program does not start, and its author writes that it is not the paper's; without
re-ranking its users report a Rank-1 of about 71 on SYSU-MM01.

Quirk (`published_quirks`): the half of each modality, in the graph, is the first half of the rows, which are not the
identities that the other graphs have there. Not repeated: a test on z_s as it is, by Euclidean distance (RegDB
and LLCM); running statistics of the instance norm, which nothing reads.

Verified here: all six losses against their definitions by loops, the published mixed graph among them;
embeddings of an imported checkpoint against a network written from the published names; two processes against
one.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ivreid.distributed.gather import first_row, gather_rows
from ivreid.errors import TrainingError
from ivreid.losses import (
    class_alignment_loss,
    graph_alignment_loss,
    identity_loss,
    purification_loss,
    triplet_loss,
)
from ivreid.methods import Method, MethodSettings, register_method
from ivreid.methods.importer import NORM, Importer
from ivreid.methods.mpanet import MPANet
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe, merged
from ivreid.models import ChannelGate, create_backbone, gem, make_norm, split_backbone
from ivreid.tensors import modality_rows

BRANCH_STAGES = 2
"""Stages at the end of the network that each branch has of its own."""

SMALLEST_VALUE = 1e-6
"""Smaller values of a map count as this in the pooling."""

HIDDEN = 100
"""Width of the discriminators' hidden layers."""


class IDKLSettings(MethodSettings):
    """Options of IDKL; the defaults are the published ones."""

    backbone: str = Field("resnet50", description="timm name of a CNN that comes apart into stem and stages")
    pretrained: str | None = Field(
        "imagenet", description="imagenet, a local weights file, or null for random weights"
    )
    margin: float = Field(1.3, ge=0, description="of the batch-hard triplets")
    graph_weight: float = Field(1.0, ge=0, description="weight of the graph alignment; none on RegDB")
    graph_specific_weight: float = Field(0.6, ge=0, description="in it, of shared against specific features")
    class_specific_weight: float = Field(
        0.8, ge=0, description="in the class alignment, of shared against specific features; 0.3 on RegDB"
    )
    purification_weight: float = Field(0.1, ge=0, description="weight of what the masks must do")
    dropout: float = Field(0.5, ge=0, lt=1, description="in the discriminators")
    published_quirks: bool = Field(
        False, description="the published mixed graph, whose rows are of other identities"
    )


@register_method
class IDKL(Method):
    """Implicit discriminative knowledge learning; see the top of this file."""

    name = "idkl"
    citation = (
        "Ren and Zhang, Implicit Discriminative Knowledge Learning for Visible-Infrared Person "
        "Re-Identification, CVPR 2024"
    )
    Settings = IDKLSettings
    training_only = ("classifier.", "specific.", "specific_", "certainty_", "modality_", "pseudo_")
    small: ClassVar = {"backbone": "test_resnet", "pretrained": None, "dropout": 0.0}
    small_size: ClassVar = (128, 64)
    pairs = True
    experimental = True
    publication = Publication(
        title="Implicit Discriminative Knowledge Learning for Visible-Infrared Person Re-Identification",
        authors="Kaijie Ren and Lei Zhang",
        venue="CVPR",
        year=2024,
        code="1KK077/IDKL",
        figures=(
            PublishedFigures(
                "sysu-mm01",
                "all-search, single-shot",
                81.42,
                79.85,
                kind="transductive",
                draw="official",
                rerank="query-reciprocal",
            ),
            PublishedFigures("regdb", "visible-to-infrared", 94.72, 90.19),
        ),
        remarks=(
            "The committed program does not start, and its author writes that it is not the paper's. Without "
            "re-ranking users report a Rank-1 of about 71 on SYSU-MM01.",
            "The figures on SYSU-MM01 are of a re-ranking by other queries; those on LLCM are of a protocol of "
            "its own.",
            "On RegDB it is not known whether the last epoch was kept or the best one on the test identities; "
            "idkl-published keeps the last on every dataset.",
        ),
    )
    recipe = Recipe(
        merged(
            MPANet.recipe.values,
            {
                "epochs": 160,
                "data": {"size": [384, 144]},
                "batch": {"identities": 12, "instances": 5},
                "optimizer": {"weight_decay": 5e-3},
                "schedule": {"milestones": [55, 95]},
            },
        ),
        {
            "sysu-mm01": {},
            "regdb": {
                "data": {"size": [256, 128]},
                "batch": {"identities": 6},
                "method": {"graph_weight": 0.0, "class_specific_weight": 0.3},
            },
        },
        source="1KK077/IDKL",
        published={"precision": "fp16", "validation": {"select": "last"}},
    )

    settings: IDKLSettings

    def __init__(self, settings: IDKLSettings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        plain = create_backbone(settings.backbone, pretrained=settings.pretrained)
        stem, stages, widths = split_backbone(plain, settings.backbone)
        named = OrderedDict({f"layer{number}": stage for number, stage in enumerate(stages, start=1)})
        own = OrderedDict((name, named.pop(name)) for name in list(named)[-BRANCH_STAGES:])
        self.backbone = nn.Sequential(OrderedDict(stem=stem, **named))
        self.shared = nn.Sequential(own)
        dim = self.embedding_dim = widths[-1]
        self.norm = make_norm("bn", dim, shift=False)
        self.specific = SpecificBranch(copy.deepcopy(self.shared), dim)
        self.specific_norm = make_norm("bn", dim, shift=False)
        self.classifier, self.specific_classifier, self.certainty_classifier = (
            nn.Linear(dim, num_classes, bias=False) for _ in range(3)
        )
        self.modality_discriminator, self.pseudo_discriminator = (
            discriminator(dim, settings.dropout) for _ in range(2)
        )

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """z_s: (B, 3, H, W) -> (B, D). The modality makes no difference."""
        z: Tensor = self.norm(pooled(self.shared(self.backbone(images))))
        return z

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The losses, weighted; the batch needs as many visible as infrared images of each identity."""
        settings = self.settings
        v, r = self.both_modalities(infrared, images.device)
        if len(v) != len(r):
            raise TrainingError(
                f"{self.name} needs as many visible as infrared images of each identity, got {len(v)} visible and "
                f"{len(r)} infrared; set batch.sampler=balanced and equally many views of both"
            )
        t = self.backbone(images)
        x, specific = pooled(self.shared(t)), self.specific(t)
        z, z_own = self.norm(x), self.specific_norm(specific.x)
        logits, own_logits = self.classifier(z), self.specific_classifier(z_own)
        rows = Rows.of(labels, infrared, as_drawn=settings.published_quirks)
        terms = {
            "identity": identity_loss(logits, labels) + identity_loss(own_logits, labels),
            "triplet": self.triplet(x, labels) + self.triplet(specific.x, labels),
            "modality": self.modality(z, z_own, v, r),
            "class": self.class_alignment(logits, own_logits, rows),
            "purification": self.purification(specific, rows),
        }
        if settings.graph_weight:
            graph = graph_alignment_loss(
                *rows.paired(x, specific.x),
                specific_weight=settings.graph_specific_weight,
                published=settings.published_quirks,
            )
            terms["graph"] = settings.graph_weight * graph
        return terms

    def triplet(self, x: Tensor, labels: Tensor) -> Tensor:
        """The batch-hard triplet against the rows of all processes."""
        return triplet_loss(
            x,
            labels,
            margin=self.settings.margin,
            candidates=gather_rows(x),
            candidate_labels=gather_rows(labels),
        )

    def modality(self, z: Tensor, z_own: Tensor, v: Tensor, r: Tensor) -> Tensor:
        """Specific features tell the modality, shared ones every second modality wrong."""
        truth = torch.zeros(len(z), dtype=torch.int64, device=z.device).index_fill(0, r, 1)
        wrong = (first_row(len(v)) + torch.arange(len(v), device=z.device)) % 2
        pseudo = truth.index_add(0, v, wrong).index_add(0, r, -wrong)
        told = identity_loss(self.modality_discriminator(z_own), truth)
        return told + identity_loss(self.pseudo_discriminator(z), pseudo)

    def class_alignment(self, logits: Tensor, own_logits: Tensor, rows: Rows) -> Tensor:
        """Both modalities and both kinds of features say the same, row by row and over all identities at once."""
        four, weight = rows.paired(logits, own_logits), self.settings.class_specific_weight
        one_by_one = class_alignment_loss(*four, specific_weight=weight)
        return one_by_one + class_alignment_loss(*four, labels=rows.labels[rows.v], specific_weight=weight)

    def purification(self, specific: Specific, rows: Rows) -> Tensor:
        """The masks make identities clearer and modalities nearer; the certainty's classifier learns here alone."""
        masked, plain = (gather_rows(self.certainty_classifier(f)) for f in (specific.masked, specific.plain))
        loss = purification_loss(
            masked,
            plain,
            gather_rows(specific.masked_normed),
            gather_rows(specific.normed),
            rows.labels,
            rows.infrared,
        )
        return self.settings.purification_weight * loss


class Rows(NamedTuple):
    """All processes' rows, and how those of both modalities pair up: identity by identity.

    Attributes:
        labels: (B,).
        infrared: (B,) bool.
        v: (N,) numbers of the visible rows.
        r: (N,) numbers of the infrared rows; row i of both shows one identity.
    """

    labels: Tensor
    infrared: Tensor
    v: Tensor
    r: Tensor

    @classmethod
    def of(cls, labels: Tensor, infrared: Tensor, *, as_drawn: bool) -> Rows:
        """From the own rows, half of which are of each modality.

        Identities come in the order of their labels, or in that in which the batch drew them, so that its first half is
        no one's for good.
        """
        labels, infrared = gather_rows(labels), gather_rows(infrared)
        key = (labels[:, None] == labels).int().argmax(1) if as_drawn else labels
        v, r = (
            rows[torch.argsort(key[rows], stable=True)] for rows in modality_rows(infrared, labels.device)
        )
        return cls(labels, infrared, v, r)

    def paired(self, shared: Tensor, specific: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Visible and infrared rows of shared, and of specific features: own (B, D) -> four of (N, D)."""
        shared, specific = gather_rows(shared), gather_rows(specific)
        return shared[self.v], shared[self.r], specific[self.v], specific[self.r]


class Specific(NamedTuple):
    """What the specific branch gives, each (B, D).

    Attributes:
        x: Pooled from m_I m_F (F + I).
        plain: From F.
        masked: From m_F F.
        normed: From I.
        masked_normed: From m_I I.
    """

    x: Tensor
    plain: Tensor
    masked: Tensor
    normed: Tensor
    masked_normed: Tensor


class SpecificBranch(nn.Module):
    """Stages of its own, an instance norm of their map, and a mask of each; see the top of the file.

    Args:
        stages: Taken over.
        channels: Of their map.
    """

    def __init__(self, stages: nn.Module, channels: int) -> None:
        super().__init__()
        self.stages = stages
        self.instance_norm = nn.InstanceNorm2d(channels, affine=True)
        self.normed_mask, self.mask = ChannelGate(channels), ChannelGate(channels)

    def forward(self, t: Tensor) -> Specific:
        """(B, C, h, w) -> five features; a map needs two positions or more."""
        f = self.stages(t)
        normed = self.instance_norm(f)
        normed_mask, mask = self.normed_mask(normed), self.mask(f)
        maps = (normed_mask * mask * (f + normed), f, mask * f, normed, normed_mask * normed)
        return Specific(*map(pooled, maps))


def pooled(maps: Tensor) -> Tensor:
    """Generalised mean pooling of what is above 0: (B, D, h, w) -> (B, D)."""
    return gem(maps, clamp=SMALLEST_VALUE)


def discriminator(features: int, dropout: float) -> nn.Sequential:
    """From a feature to two logits: (B, D) -> (B, 2)."""
    layers: list[nn.Module] = []
    for width in (features, HIDDEN):
        layers += [nn.Linear(width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, 2))


FRONT, BACK = r"backbone\.shared_module_fr\.model_sh_fr", r"backbone\.shared_module_bh\.model_sh_bh"

IDKL.importer = Importer(
    names={
        rf"{FRONT}\.(conv1|bn1)\.(.+)": r"backbone.stem.\1.\2",
        rf"{FRONT}\.(layer[12]\..+)": r"backbone.\1",
        rf"{BACK}\.(layer[34]\..+)": r"shared.\1",
        rf"bn_neck\.{NORM}": r"norm.\1",
    },
    dropped=(
        rf"{FRONT}\.(layer[34]|fc)\..+",
        rf"{BACK}\.(conv1|bn1|layer[12]|fc)\..+",
        r"backbone\.(special|special_att|IN|mask[12])\..+",
        r"bn_neck\.bias",
        r"bn_neck_sp\..+",
        r"(classifier|classifier_sp|C_sp_f)\.weight",
        r"(D_special|D_shared_pseu)\..+",
    ),
    recognised_by=(
        "backbone.shared_module_fr.model_sh_fr.conv1.weight",
        "backbone.shared_module_bh.model_sh_bh.layer4.2.conv3.weight",
        "bn_neck.weight",
    ),
    zero=("bn_neck.bias",),
)
