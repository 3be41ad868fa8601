"""What can be set about images, batches and augmentation."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from ivreid.catalogue import AUGMENTATIONS
from ivreid.data.pixels import Filter
from ivreid.io import REFUSE, ValueRange
from ivreid.section import Section

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Probability = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=8, le=4096)]
Triple = tuple[float, float, float]


def _a_rule(value: Any) -> Any:
    """One sentence for whatever is no value range; pydantic would give one for each part of the union."""
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


ValueRangeRule = Annotated[ValueRange, BeforeValidator(_a_rule)]
"""How grey of more than eight bits becomes 256 greys, see `ivreid.io.to_grey`."""
ValueRangeSetting = Annotated[ValueRange | Literal["dataset"], BeforeValidator(_a_rule)]
"""The same, or "dataset": the range of the training images, measured before training."""


class Preprocessing(Section):
    """How an image becomes the network's input; it travels with the weights."""

    size: tuple[Side, Side] = Field(default=(384, 128), description="Height and width in pixels.")
    mean: Triple = Field(default=IMAGENET_MEAN, description="Subtracted per channel; white is 1.")
    std: Triple = Field(default=IMAGENET_STD, description="Divided by per channel.")
    value_range: ValueRangeRule = Field(
        default=REFUSE,
        description="How grey of more than eight bits becomes 256 greys: refuse it, stretch each image, or "
        "[low, high].",
    )
    resize: Filter = Field(default="bilinear", description="The filter that images are resized by.")

    @model_validator(mode="after")
    def _positive_std(self) -> Self:
        if min(self.std) <= 0:
            raise ValueError(f"`std` must be positive in every channel, it is {list(self.std)}")
        return self


class Views(Section):
    """How often an image stands in its batch, changed in another way each time."""

    visible: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Views of a visible image.")
    infrared: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Views of an infrared image.")


class BatchSettings(Section):
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
    def per_identity_key(self) -> str:
        """The key that says how many images of an identity a batch holds, for messages."""
        return "batch.instances" if self.images is None else "batch.images"

    @property
    def size(self) -> int:
        """Rows per batch over all processes; every view of an image is one."""
        if self.sampler in ("identity", "random"):
            return self.identities * self.images_per_identity
        return self.identities * self.instances * (self.views.visible + self.views.infrared)


ColourOp = Literal[
    "jitter", "grey", "channel_exchange", "weighted_grey", "channel_cutmix", "spectrum_jitter", "blur"
]
COLOUR_KEYS = (
    "jitter",
    "grey",
    "channel_exchange",
    "weighted_grey",
    "channel_cutmix",
    "spectrum_jitter",
    "blur",
    "colour_choice",
)
"""What infrared images do not inherit: whether colours change."""


class ViewSettings(Section):
    """Random changes to one kind of image; each stands alone and 0 switches it off."""

    flip: Probability = Field(default=0.5, description="Probability of a horizontal flip.")
    padding: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=10, description="Pixels added on every side before a random crop back to size."
    )
    padding_fill: Annotated[int, Field(ge=0, le=255)] | Literal["symmetric"] = Field(
        default=0, description='Grey level of those pixels; "symmetric" mirrors the image at its edge.'
    )
    jitter: Probability = Field(default=0.0, description="Probability of colour jitter.")
    brightness: Probability = Field(default=0.3, description="Jitter multiplies brightness by 1 +- this.")
    contrast: Probability = Field(
        default=0.3, description="Jitter multiplies the distance from the mean luminance by 1 +- this."
    )
    saturation: Probability = Field(
        default=0.3, description="Jitter multiplies the distance from each pixel's luminance by 1 +- this."
    )
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.0, description="Jitter turns the hue by +- this share of the circle."
    )
    grey: Probability = Field(default=0.0, description="Probability of replacing an image by its luminance.")
    channel_exchange: Probability = Field(
        default=0.0,
        description="Probability of replacing an image by one of its three channels, chosen at random (Ye et "
        "al., ICCV 2021, whose code amounts to 0.75).",
    )
    exclusive: bool = Field(
        default=False, description="One draw decides between the two before, so that their probabilities add."
    )
    channel_stage: Literal["raw", "normalized"] = Field(
        default="raw",
        description='"raw" applies these two to pixels; "normalized" to the network\'s input, after erasing, '
        "as the published code does, where equal channels mean another colour than a grey image "
        "has.",
    )
    weighted_grey: Probability = Field(
        default=0.0, description="Probability of replacing an image by a random mixture of its channels."
    )
    channel_cutmix: Probability = Field(
        default=0.0, description="Probability of replacing an image by a channel with a rectangle of another."
    )
    spectrum_jitter: Probability = Field(
        default=0.0,
        description="Probability of blending an image with one of its channels, in a random proportion.",
    )
    tone: Probability = Field(
        default=0.0,
        description="Probability of a random tone curve, the same for all channels: gamma, contrast about middle "
        "grey, brightness. Infrared images have it too.",
    )
    tone_gamma: Annotated[float, Field(ge=0, le=3)] = Field(
        default=0.7, description="Largest logarithm of the curve's exponent, above or below 0."
    )
    tone_contrast: Probability = Field(
        default=0.4, description="The curve multiplies the distance from middle grey by 1 +- this."
    )
    tone_brightness: Probability = Field(default=0.12, description="The curve adds +- this share of white.")
    blur: tuple[Annotated[int, Field(ge=3, le=255)], float, float] | None = Field(
        default=None,
        description="Side of a Gaussian filter, smallest and largest sigma; applied whenever it is set.",
    )
    colour_choice: tuple[ColourOp, ...] = Field(
        default=(), description="Of these changes exactly one is drawn, and then has its own probability."
    )
    own: tuple[str, ...] = Field(
        default=(),
        description="Registered changes of your own (`register_augmentation`), applied in this order before erasing.",
    )
    erasing: Probability = Field(
        default=0.0, description="Probability of random erasing (Zhong et al., AAAI 2020)."
    )
    erasing_law: Literal["uniform", "log"] = Field(
        default="uniform",
        description='How a rectangle is drawn: "uniform" in area and height/width ratio as published, or '
        '"log", with log-uniform ratios of 0.3 to 3.3 and 10 tries as in torchvision.',
    )
    erasing_fill: Literal["mean", "noise"] | Triple = Field(
        default="mean",
        description='"mean" is the mean colour of ImageNet, which normalisation maps to 0; three numbers are '
        'a colour after normalisation; "noise" is normal noise there, as far as a pixel can hold '
        "it.",
    )
    channel_erasing: Probability = Field(
        default=0.0,
        description="Probability of a second, channel-level erasing (Ye et al., ICCV 2021) by the law "
        '"uniform", whose fill differs from zero in each normalised channel.',
    )
    erasing_area: tuple[Probability, Probability] = Field(
        default=(0.02, 0.4), description="Smallest and largest share of the image that an erasing covers."
    )
    channel_erasing_area: tuple[Probability, Probability] | None = Field(
        default=None, description="The same of `channel_erasing`; null is `erasing_area`."
    )
    erasing_aspect: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.3,
        description='Smallest height/width ratio of the law "uniform"; the largest is its inverse.',
    )

    @field_validator("own")
    @classmethod
    def _registered(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in AUGMENTATIONS:
                raise ValueError(AUGMENTATIONS.unknown(name))
        return names

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("erasing_area", "channel_erasing_area"):
            area = getattr(self, name)
            if area is not None and area[0] > area[1]:
                raise ValueError(f"`{name}` must be (smallest, largest), it is {list(area)}")
        if self.blur is not None and not (self.blur[0] % 2 and 0 < self.blur[1] <= self.blur[2]):
            raise ValueError(
                f"`blur` must be (odd side, smallest sigma, largest sigma), it is {list(self.blur)}"
            )
        if "blur" in self.colour_choice and self.blur is None:
            raise ValueError(
                "`colour_choice` names blur; set `blur` to [side, smallest sigma, largest sigma]"
            )
        if self.exclusive and {"grey", "channel_exchange"} & set(self.colour_choice):
            raise ValueError(
                "`exclusive` and a `colour_choice` of grey or channel_exchange exclude each other"
            )
        if self.exclusive and self.channel_exchange + self.grey > 1:
            raise ValueError(
                f"`exclusive` adds channel_exchange and grey, which are {self.channel_exchange} and "
                f"{self.grey} and may come to 1 at most"
            )
        return self


class AugmentSettings(ViewSettings):
    """Random changes to training images: for all, and where one kind of image differs.

    The defaults are those of the published IV-ReID configuration: flip, pad and crop, nothing else.
    `visible`, `second` and `infrared` hold any of the other keys and win over them. Changes of colour concern
    visible images only: infrared ones have those alone that `infrared` names.
    """

    visible: dict[str, Any] = Field(default={}, description="For visible images, view 0.")
    second: dict[str, Any] = Field(
        default={},
        description="For further views of visible images; inherits from the keys for all, not from `visible`.",
    )
    infrared: dict[str, Any] = Field(default={}, description="For infrared images.")
    grey_epochs: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Visible images are grey during so many first epochs."
    )

    @model_validator(mode="after")
    def _each_kind(self) -> Self:
        for kind in ("visible", "second", "infrared"):
            try:
                self.kind(kind)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, (kind, *first["loc"])))
                raise ValueError(f"`{key}`: {first['msg']}") from error
        return self

    @property
    def own_names(self) -> tuple[str, ...]:
        """Every registered change that some kind of image gets."""
        kinds = [self.kind(kind) for kind in ("visible", "second", "infrared")]
        return tuple(dict.fromkeys(name for one in kinds for name in one.own))

    def kind(self, name: Literal["visible", "second", "infrared"]) -> ViewSettings:
        """What happens to one kind of image."""
        common = {key: getattr(self, key) for key in ViewSettings.model_fields}
        if name == "infrared":
            common = {key: value for key, value in common.items() if key not in COLOUR_KEYS}
        return ViewSettings.model_validate({**common, **getattr(self, name)})
