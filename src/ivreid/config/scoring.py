"""The sections of a configuration that say how a model is scored: while it trains, and after it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ivreid.errors import UsageError
from ivreid.retrieval import parse_reranker
from ivreid.section import Section

Positive = Annotated[int, Field(ge=1)]


class EvaluationSetting(Section):
    """One protocol setting that `ivreid evaluate` and the demo report; null means the protocol's default."""

    mode: str | None = Field(default=None, description="SYSU-MM01: the gallery cameras, all or indoor.")
    shots: int | None = Field(
        default=None, description="SYSU-MM01: gallery images per identity and camera, 1 or 10."
    )
    draw: str | None = Field(
        default=None, description="SYSU-MM01: how galleries are drawn, official, agw or iv-reid."
    )
    direction: str | None = Field(
        default=None,
        description="Other datasets, query first: infrared-to-visible or visible-to-infrared; LLCM also "
        "visible-to-infrared-swapped.",
    )
    rerank: str | None = Field(
        default=None,
        description="Re-rank, e.g. aim:k1=4,k2=1; the result is marked and compares with no plain one.",
    )

    @field_validator("rerank")
    @classmethod
    def _a_reranking(cls, words: str | None) -> str | None:
        if words is not None:
            try:
                parse_reranker(words)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return words


class ValidationSection(Section):
    """When the model is scored, on whom, and which epoch's weights are kept."""

    every: Positive = Field(default=2, description="Epochs between validations.")
    first: Positive = Field(
        default=1, description="No validation before the end of this epoch, but the last."
    )
    select: Literal["validation", "published-test", "last"] = Field(
        default="validation",
        description="validation: score identities that are not trained on; published-test: score the TEST "
        "identities, as the published code did, so that the figures it selects by are no longer a fair test; "
        "last: keep the last epoch and score nobody.",
    )
    metric: Literal["rank1", "mAP", "mINP"] = Field(
        default="rank1", description="The figure that picks the best epoch."
    )
    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1,
        description="Share of training identities held out where the dataset defines no validation split.",
    )
    setting: EvaluationSetting = Field(
        default=EvaluationSetting(),
        description="With published-test, what is scored; null: all-search, single-shot, drawn as IV-ReID does, or "
        "infrared-to-visible.",
    )
    trials: Positive | None = Field(
        default=None,
        description="With published-test, score only so many of the protocol's trials; null: all.",
    )

    @field_validator("setting")
    @classmethod
    def _one_embedding_an_image(cls, setting: EvaluationSetting) -> EvaluationSetting:
        if setting.rerank is not None and parse_reranker(setting.rerank).spectra:
            raise ValueError(
                f"rerank {setting.rerank} needs several embeddings of each image, a validation has one"
            )
        return setting

    def is_due(self, epochs: int) -> bool:
        """Whether a validation follows after so many epochs; after the last there is one in any case."""
        return epochs >= self.first and epochs % self.every == 0
