"""CAJ+: CAJ in which the plain view also learns what the channel-exchanged view of the same image says.

Added loss: mean over visible images of the cross-entropy between softmax(W z') of the exchanged view, without
gradient, and softmax(W z) of the plain one. Weight `refine_weight`, 1.

On SYSU-MM01 the visible images are erased with 0.6, the plain view is grey with 0.1, and an infrared image that
keeps its channels is grey with 0.6.

Verified here: CAJ's losses against loops over rows; the added one against its definition, and that the plain
view alone learns from it; embeddings of an imported checkpoint against a network written from the published
names; two processes against one; the recipe against the published settings.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from ivreid.losses import identity_loss, soft_identity_loss
from ivreid.methods import register_method
from ivreid.methods.caj import CAJ, CAJSettings
from ivreid.methods.publication import Publication, PublishedFigures
from ivreid.methods.recipe import Recipe


class CAJPlusSettings(CAJSettings):
    """Options of CAJ+: those of CAJ, and the refinement's weight."""

    refine_weight: float = Field(
        1.0, ge=0, description="weight of what the plain view learns from the exchanged"
    )


@register_method
class CAJPlus(CAJ):
    """Channel augmentation with refinement; see the top of this file."""

    name = "caj-plus"
    citation = "Ye et al., Channel Augmentation for Visible-Infrared Re-Identification, TPAMI 2023"
    Settings: ClassVar[type[CAJSettings]] = CAJPlusSettings
    views = 2
    publication = Publication(
        title="Channel Augmentation for Visible-Infrared Re-Identification",
        authors="Mang Ye and Zesen Wu and Cuiqun Chen and Bo Du",
        venue="TPAMI",
        year=2023,
        code="mangye16/Cross-Modal-Re-ID-baseline",
        licence="MIT",
        figures=(
            PublishedFigures("sysu-mm01", "all-search, single-shot", 71.48, 68.15, draw="agw"),
            PublishedFigures("sysu-mm01", "indoor-search, single-shot", 78.36, 81.98, draw="agw"),
            PublishedFigures("regdb", "visible-to-infrared", 85.69, 79.70),
        ),
        remarks=("The kept epoch was the best on the test identities; tested with mirror images.",),
    )
    recipe = Recipe(
        CAJ.recipe.values,
        {
            "sysu-mm01": {
                "augment": {
                    "visible": {"channel_erasing": 0.6, "grey": 0.1},
                    "second": {"channel_erasing": 0.6},
                    "infrared": {"grey": 0.15},
                }
            },
            "regdb": {},
        },
        source="mangye16/Cross-Modal-Re-ID-baseline, PAMI23_Supervised",
        published=CAJ.recipe.published,
        compact=CAJ.recipe.compact,
    )

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """CAJ's losses and the refinement; every plain visible row needs its second view, in the same order."""
        x = self.pooled(images, infrared)
        logits = self.classifier(self.norm(x))
        plain, exchanged = self.two_views(infrared, view, logits.device)
        refine = soft_identity_loss(logits[plain], logits[exchanged].detach())
        return {
            "identity": identity_loss(logits, labels),
            "triplet": self.triplet(x, labels),
            "refine": self.settings.refine_weight * refine,
        }
