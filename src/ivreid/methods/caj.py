"""CAJ: every visible image a second time with exchanged channels, and a squared weighted triplet loss.

Network: AGW's, unchanged. Batch: 8 identities x (4 visible, the same 4 again with channels exchanged, 4
infrared) = 96 rows; 64 of them pass the visible stem.

Losses, both with weight 1, over all rows:
    identity    CE(W z, y)
    triplet     log(1 + exp(sign(D) gamma D^2)) with D = a - b, AGW's weighted distances to positives and negatives

Augmentation: flip, pad and crop, erasing with another fill per channel; of the second view always one channel,
drawn at random, stands for all three; of an infrared image one with 3/4, its luma with 1/8.
SGD as AGW, 100 epochs. Test: z of the image and of its mirror image, each of length 1, averaged.

Quirks (`published_quirks`): AGW's softmax, and gamma D^2 is cut at 88, beyond which there is no gradient. The
published program exchanges channels after normalisation and after erasing, as `caj-published` does; `caj` does it
to the picture, where an erased rectangle keeps the colour of its fill.

At D = 0 the loss is ln 2 and its gradient 0: a network that maps all images to one point stays there, and a
triplet term that hovers at 0.69 in the log is a sign of it. The log shows the gap, the mean of -D by the
paper's softmax, beside it.

Verified here: the losses against loops over rows, the published ones among them; embeddings of an imported
checkpoint against a network written from the published names; two processes against one; the recipe against the
published settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from ivreid.distributed.gather import gather_rows
from ivreid.losses import adaptive_triplet_loss
from ivreid.losses.adaptive_triplet import triplet_gap
from ivreid.methods import register_method
from ivreid.methods.agw import AGW, CHECKPOINTS, AGWSettings
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe, merged

AFTER_NORMALISATION = {kind: {"channel_stage": "normalized"} for kind in ("second", "infrared")}
"""Plain visible images are no part of it: CAJ+ makes some of them grey before."""


class CAJSettings(AGWSettings):
    """Options of CAJ: those of AGW, and the squared triplet's."""

    triplet: Literal["adp", "wrt", "hard"] = Field(  # type: ignore[assignment]
        "adp", description="squared weighted, weighted regularised (AGW), or batch-hard"
    )
    alpha: float = Field(1.0, gt=0, description="factor of distances inside the softmaxes")
    gamma: float = Field(1.0, gt=0, description="factor of the squared gap")
    square: bool = Field(True, description="the gap squared; false: as it is")


@register_method
class CAJ(AGW):
    """Channel augmented joint learning; see the top of this file."""

    name = "caj"
    citation = "Ye et al., Channel Augmented Joint Learning for Visible-Infrared Recognition, ICCV 2021"
    Settings: ClassVar[type[AGWSettings]] = CAJSettings
    publication = Publication(
        title="Channel Augmented Joint Learning for Visible-Infrared Recognition",
        authors="Mang Ye and Weijian Ruan and Bo Du and Mike Zheng Shou",
        venue="ICCV",
        year=2021,
        code="mangye16/Cross-Modal-Re-ID-baseline",
        licence="MIT",
        figures=(
            PublishedFigures(
                "sysu-mm01", "all-search, single-shot", 69.88, 66.89, 53.61, source="code", draw="agw"
            ),
            PublishedFigures("regdb", "visible-to-infrared", 85.03, 79.14, 65.33, source="code"),
            PublishedFigures("llcm", "infrared-to-visible", 48.8, 56.6),
            PublishedFigures(
                "llcm", "infrared-to-visible", 49.9, 56.4, source="rerun by the benchmark's authors"
            ),
        ),
        remarks=("The kept epoch was the best on the test identities; tested with mirror images.",),
    )
    importer = replace(CHECKPOINTS, flip="unit")
    recipe = Recipe(
        merged(
            AGW.recipe.values,
            {
                "epochs": 100,
                "batch": {"views": {"visible": 2}},
                "embedding": {"flip": "unit"},
                "augment": {
                    "channel_erasing": 0.5,
                    "second": {"channel_exchange": 1.0},
                    "infrared": {"channel_exchange": 0.75, "grey": 0.125, "exclusive": True},
                },
            },
        ),
        {"sysu-mm01": {}, "regdb": {}, "llcm": {}},
        source="mangye16/Cross-Modal-Re-ID-baseline, ICCV21_CAJ",
        published={"augment": AFTER_NORMALISATION},
        compact=AGW.recipe.compact,
    )

    def triplet(self, x: Tensor, labels: Tensor) -> Tensor:
        """The triplet loss that the settings name, against the rows of all processes."""
        settings = self.settings
        if settings.triplet != "adp":
            return super().triplet(x, labels)
        rows, row_labels = gather_rows(x), gather_rows(labels)
        self.measures["gap"] = triplet_gap(
            x, labels, candidates=rows, candidate_labels=row_labels, alpha=settings.alpha
        )
        return adaptive_triplet_loss(
            x,
            labels,
            candidates=rows,
            candidate_labels=row_labels,
            gamma=settings.gamma,
            alpha=settings.alpha,
            square=settings.square,
            published=settings.published_quirks,
        )
