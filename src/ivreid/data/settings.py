"""What can be set about images, batches and augmentation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Probability = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=8, le=4096)]
Triple = tuple[float, float, float]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(_Settings):
    """How an image becomes the network's input; it travels with the weights.

    Attributes:
        size: Height and width in pixels.
        mean: Per channel, on the scale where white is 1.
        std: Per channel, on the same scale.
    """

    size: tuple[Side, Side] = (384, 128)
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD

    @model_validator(mode="after")
    def _positive_std(self) -> Self:
        if min(self.std) <= 0:
            raise ValueError(f"`std` must be positive in every channel, it is {list(self.std)}")
        return self


class Views(_Settings):
    """How often an image stands in its batch, changed in another way each time.

    Attributes:
        visible: Of a visible image.
        infrared: Of an infrared image.
    """

    visible: Annotated[int, Field(ge=1, le=8)] = 1
    infrared: Annotated[int, Field(ge=1, le=8)] = 1


class BatchSettings(_Settings):
    """What a training batch holds.

    Attributes:
        sampler: "balanced" is the two-modality batch of IV-ReID, "uniform" draws every batch for itself,
            "paired" takes equally many images of both modalities, "identity" takes images of an identity
            whatever their modality, "random" draws images without regard to identity or modality.
        identities: Identities per batch (over all processes).
        instances: Images per identity AND modality.
        images: Images per identity, of "identity" only; null is twice `instances`.
        replacement: Whether "uniform" may draw an image twice in a batch.
        views: How often each image stands in the batch.
    """

    sampler: Literal["balanced", "uniform", "paired", "identity", "random"] = "balanced"
    identities: Annotated[int, Field(ge=1)] = 8
    instances: Annotated[int, Field(ge=1)] = 4
    images: Annotated[int, Field(ge=1)] | None = None
    replacement: bool = True
    views: Views = Views()

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

    Attributes:
        flip: Probability of a horizontal flip.
        padding: Black pixels added on every side before a random crop back to size.
        jitter: Probability of colour jitter (visible images only).
        brightness: Jitter multiplies brightness by 1 +- this.
        contrast: Jitter multiplies the distance from the mean luminance by 1 +- this.
        saturation: Jitter multiplies the distance from each pixel's luminance by 1 +- this.
        grey: Probability of replacing a visible image by its luminance.
        channel_exchange: Probability of replacing a visible image by one of its three channels, chosen at
            random (Ye et al., ICCV 2021, whose code amounts to 0.75).
        erasing: Probability of random erasing (Zhong et al., AAAI 2020) with the mean colour of ImageNet.
        channel_erasing: Probability of channel-level random erasing (Ye et al., ICCV 2021), whose fill
            differs from zero in each normalised channel.
        erasing_area: Smallest and largest share of the image that either erasing covers.
        erasing_aspect: Smallest height/width ratio; the largest is its inverse.
    """

    flip: Probability = 0.5
    padding: Annotated[int, Field(ge=0, le=1024)] = 10
    jitter: Probability = 0.0
    brightness: Probability = 0.3
    contrast: Probability = 0.3
    saturation: Probability = 0.3
    grey: Probability = 0.0
    channel_exchange: Probability = 0.0
    erasing: Probability = 0.0
    channel_erasing: Probability = 0.0
    erasing_area: tuple[Probability, Probability] = (0.02, 0.4)
    erasing_aspect: Annotated[float, Field(gt=0, le=1)] = 0.3

    @model_validator(mode="after")
    def _ordered_area(self) -> Self:
        if self.erasing_area[0] > self.erasing_area[1]:
            raise ValueError(f"`erasing_area` must be (smallest, largest), it is {list(self.erasing_area)}")
        return self
