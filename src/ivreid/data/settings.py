"""What can be set about images, batches and augmentation."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ivreid.io import REFUSE, Deep

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Probability = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=8, le=4096)]
Triple = tuple[float, float, float]


def _a_rule(value: Any) -> Any:
    """One sentence for whatever is no rule for deep grey; pydantic would give one for each part of the union."""
    words = ("refuse", "image", "dataset")
    if isinstance(value, str) and value in words:
        return value
    pair = isinstance(value, list | tuple) and len(value) == 2
    if not pair or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        raise ValueError(f"must be {', '.join(words)} or [low, high], it is {value!r}")
    low, high = map(float, value)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"low must be less than high and both finite, it is {list(value)}")
    return low, high


DeepRule = Annotated[Deep, BeforeValidator(_a_rule)]
"""How grey of more than eight bits becomes 256 greys, see `ivreid.io.to_grey`."""
DeepSetting = Annotated[Deep | Literal["dataset"], BeforeValidator(_a_rule)]
"""The same, or "dataset": the range of the training images, measured before training."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(_Settings):
    """How an image becomes the network's input; it travels with the weights."""

    size: tuple[Side, Side] = Field(default=(384, 128), description="Height and width in pixels.")
    mean: Triple = Field(default=IMAGENET_MEAN, description="Subtracted per channel; white is 1.")
    std: Triple = Field(default=IMAGENET_STD, description="Divided by per channel.")
    deep: DeepRule = Field(
        default=REFUSE,
        description="How grey of more than eight bits becomes 256 greys: refuse it, stretch each image, or "
        "[low, high].",
    )

    @model_validator(mode="after")
    def _positive_std(self) -> Self:
        if min(self.std) <= 0:
            raise ValueError(f"`std` must be positive in every channel, it is {list(self.std)}")
        return self


class Views(_Settings):
    """How often an image stands in its batch, changed in another way each time."""

    visible: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Views of a visible image.")
    infrared: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Views of an infrared image.")


class BatchSettings(_Settings):
    """What a training batch holds."""

    sampler: Literal["balanced", "uniform", "paired", "identity", "random"] = Field(
        default="balanced",
        description="balanced: the two-modality batch of IV-ReID; uniform: every batch drawn for itself; paired: "
        "equally many images of both modalities; identity: images of an identity whatever their modality; "
        "random: images without regard to identity or modality.",
    )
    identities: Annotated[int, Field(ge=1)] = Field(
        default=8, description="Identities per batch, over all processes."
    )
    instances: Annotated[int, Field(ge=1)] = Field(default=4, description="Images per identity AND modality.")
    images: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="identity: images per identity; null is twice `instances`."
    )
    replacement: bool = Field(
        default=True, description="uniform: whether an image may be drawn twice in a batch."
    )
    views: Views = Field(default=Views(), description="How often each image stands in the batch.")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.images is not None and self.sampler != "identity":
            raise ValueError(
                f"`images` is for the sampler `identity`; `{self.sampler}` takes `instances` of each modality"
            )
        if self.views != Views() and self.sampler in ("identity", "random"):
            raise ValueError(
                f"`views` do not fit the sampler `{self.sampler}`, whose batches hold any number of images of "
                "a modality; use balanced, uniform or paired"
            )
        return self

    @property
    def images_per_identity(self) -> int:
        """Different images of one identity in a batch."""
        return 2 * self.instances if self.images is None else self.images

    @property
    def size(self) -> int:
        """Rows per batch over all processes; every view of an image is one."""
        if self.sampler in ("identity", "random"):
            return self.identities * self.images_per_identity
        return self.identities * self.instances * (self.views.visible + self.views.infrared)


class AugmentSettings(_Settings):
    """Random changes to training images; each stands alone and 0 switches it off.

    The defaults are those of the published IV-ReID configuration: flip, pad and crop, nothing else.
    """

    flip: Probability = Field(default=0.5, description="Probability of a horizontal flip.")
    padding: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=10, description="Black pixels added on every side before a random crop back to size."
    )
    jitter: Probability = Field(
        default=0.0, description="Probability of colour jitter (visible images only)."
    )
    brightness: Probability = Field(default=0.3, description="Jitter multiplies brightness by 1 +- this.")
    contrast: Probability = Field(
        default=0.3, description="Jitter multiplies the distance from the mean luminance by 1 +- this."
    )
    saturation: Probability = Field(
        default=0.3, description="Jitter multiplies the distance from each pixel's luminance by 1 +- this."
    )
    grey: Probability = Field(
        default=0.0, description="Probability of replacing a visible image by its luminance."
    )
    channel_exchange: Probability = Field(
        default=0.0,
        description="Probability of replacing a visible image by one of its three channels, chosen at "
        "random (Ye et al., ICCV 2021, whose code amounts to 0.75).",
    )
    erasing: Probability = Field(
        default=0.0,
        description="Probability of random erasing (Zhong et al., AAAI 2020) with the mean colour of "
        "ImageNet.",
    )
    channel_erasing: Probability = Field(
        default=0.0,
        description="Probability of channel-level random erasing (Ye et al., ICCV 2021), whose fill "
        "differs from zero in each normalised channel.",
    )
    erasing_area: tuple[Probability, Probability] = Field(
        default=(0.02, 0.4), description="Smallest and largest share of the image that either erasing covers."
    )
    erasing_aspect: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.3, description="Smallest height/width ratio; the largest is its inverse."
    )

    @model_validator(mode="after")
    def _ordered_area(self) -> Self:
        if self.erasing_area[0] > self.erasing_area[1]:
            raise ValueError(f"`erasing_area` must be (smallest, largest), it is {list(self.erasing_area)}")
        return self
