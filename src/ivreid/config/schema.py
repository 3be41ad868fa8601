"""The configuration of one training run: every key, its meaning and its default.

The defaults are the published IV-ReID settings, except that weights are selected on validation identities.
Relative paths are relative to the working directory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ivreid.catalogue import DATASETS
from ivreid.config.scoring import EvaluationSetting, Positive, ValidationSection
from ivreid.data.pixels import Filter
from ivreid.data.settings import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AugmentSettings,
    BatchSettings,
    Preprocessing,
    Side,
    Triple,
    ValueRangeSetting,
)
from ivreid.errors import UsageError
from ivreid.inference.test_time import Flip
from ivreid.paths import user_path
from ivreid.protocols import get_protocol
from ivreid.section import Section

DEFAULT_METHOD = "iv-reid"


def _is_text(path: Any) -> Any:
    if isinstance(path, int | float):
        raise ValueError(f"a path is text and {path} a number; quote it: '{path}'")
    return path


def _user_path(path: Path) -> Path:
    try:
        str(path).encode()
        return user_path(path)
    except UnicodeEncodeError:
        raise ValueError(
            "the path holds bytes that are no UTF-8, which this file cannot; rename the folder"
        ) from None
    except UsageError as error:
        raise ValueError(str(error)) from error


UserPath = Annotated[Path, BeforeValidator(_is_text), AfterValidator(_user_path)]
"""A path as people write it: `~` is the home folder."""


class SyntheticSection(Section):
    """A synthetic dataset to draw at `data.root` where there is none yet; see docs/synthetic.md."""

    identities: Positive = Field(description="How many people.")
    images: Positive = Field(default=10, description="Pictures per person and camera.")
    size: tuple[Side, Side] = Field(default=(128, 64), description="Height and width drawn.")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="Another seed is another world.")
    gap: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="0: infrared is grey visible; 1: only shape survives; null: the usual gap."
    )


class DataSection(Section):
    """Which images, and how they are read."""

    dataset: str = Field(default="sysu-mm01", description="Registry name of the dataset's layout.")
    root: UserPath | None = Field(default=None, description="The dataset's folder; `--data ROOT` sets it.")
    trial: Positive | None = Field(
        default=None, description="RegDB's train/test split, 1 to 10; 1 where not given."
    )
    size: tuple[Side, Side] = Field(default=(384, 128), description="Height and width in pixels.")
    mean: Triple = Field(default=IMAGENET_MEAN, description="Subtracted per channel; white is 1.")
    std: Triple = Field(default=IMAGENET_STD, description="Divided by per channel.")
    value_range: ValueRangeSetting = Field(
        default="refuse",
        description="How grey of more than eight bits becomes 256 greys: refuse it, stretch each `image`, "
        "`dataset` (the range of the training images), or [low, high].",
    )
    resize: Filter = Field(default="bilinear", description="The filter that images are resized by.")
    train_on: Literal["train", "train+val"] = Field(
        default="train", description="Which identities are trained on."
    )
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.3,
        description="Share of people to test on, where a folder or table of your own names no split.",
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="Which people these are; another number is another division."
    )
    workers: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Threads that prepare images; null chooses."
    )
    cache: bool = Field(
        default=True, description="Decode once into a memory-mapped file instead of at every visit."
    )
    on_bad_image: Literal["stop", "skip"] = Field(
        default="stop", description="What an unreadable training image does."
    )
    synthetic: SyntheticSection | None = Field(default=None, description="Draw these people at `root` first.")

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DATASETS:
            raise ValueError(DATASETS.unknown(name))
        return name

    @field_validator("std")
    @classmethod
    def _positive(cls, std: Triple) -> Triple:
        if min(std) <= 0:
            raise ValueError(f"must be positive in every channel, it is {list(std)}")
        return std

    @property
    def preprocessing(self) -> Preprocessing:
        """Size, mean, std, value range and filter as the data path and the weights' card take them.

        `value_range: dataset` must have become numbers, see `ivreid.training.setup.settle_range`.
        """
        return Preprocessing.model_validate(
            {
                "size": self.size,
                "mean": self.mean,
                "std": self.std,
                "value_range": self.value_range,
                "resize": self.resize,
            }
        )


class OptimizerSection(Section):
    """How a gradient moves the weights. The method decides which parameters learn at a multiple of `lr`."""

    name: Literal["adam", "adamw", "sgd"] = Field(default="adam", description="The optimiser.")
    lr: Annotated[float, Field(gt=0)] = Field(default=1e-4, description="The base learning rate.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=5e-4, description="Pull of every weight towards zero."
    )
    betas: tuple[float, float] = Field(
        default=(0.9, 0.999), description="Adam and AdamW: decay of the gradient's two running means."
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.9, description="SGD: the share of a step that goes on in the next."
    )
    nesterov: bool = Field(default=False, description="SGD only: look ahead along the momentum.")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not (self.name == "sgd" and self.momentum > 0):
            raise ValueError("`nesterov` goes with name: sgd and a momentum above 0")
        return self


class ScheduleSection(Section):
    """The learning rate over time, as a multiple of `optimizer.lr`; times are in epochs."""

    name: Literal["constant", "step", "cosine", "triangle"] = Field(
        default="constant", description="How the rate goes on after the warm-up."
    )
    per: Literal["step", "epoch"] = Field(
        default="step",
        description="`epoch`: the rate changes only between epochs, as most published schedules do.",
    )
    first_epoch: Literal[0, 1] = Field(
        default=0, description="`per: epoch`: what the first epoch is called; published programs differ."
    )
    warmup: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Epochs of linear rise from `warmup_from`."
    )
    warmup_from: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="The multiple the rise starts at."
    )
    milestones: tuple[Positive, ...] = Field(
        default=(), description="`step`: the epochs at which the rate is cut."
    )
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.1, description="`step`: the factor of each cut."
    )
    floor: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="`cosine` and `triangle`: the multiple it ends at."
    )
    floor_rate: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="A rate, the same for all parameters, that multiples count from instead of 0.",
    )
    cosine_from: Literal["warmup", "start"] = Field(
        default="warmup", description="`cosine`: its fall is counted from the end of warm-up, or from 0."
    )

    @model_validator(mode="after")
    def _milestones_fit(self) -> Self:
        if self.name == "triangle" and not self.warmup:
            raise ValueError("a `triangle` schedule rises during `warmup` epochs: give how many, e.g. 16")
        if self.name == "step" and not self.milestones:
            raise ValueError("a `step` schedule needs `milestones`, e.g. [40, 70]")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must ascend, they are {list(self.milestones)}")
        return self


class CheckpointSection(Section):
    """When the training state is saved, besides the end of every epoch and a stop by signal."""

    every_steps: Positive | None = Field(default=None, description="Also after so many steps.")
    every_minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=10.0, description="Also after so many minutes."
    )
    keep_every: Positive | None = Field(
        default=None, description="Keep the state of every n-th epoch for good."
    )
    any_world_size: bool = Field(
        default=False,
        description="Resume with another number of processes, too; the result then differs a little.",
    )


class HealthSection(Section):
    """When training is hopeless."""

    diverged: Annotated[float, Field(gt=1)] | None = Field(
        default=10.0,
        description="Stop when the smoothed loss is this many times that of the first steps; null never.",
    )


class EmbeddingSection(Section):
    """How validation and the run's evaluations embed images; whoever loads the weights asks for it anew."""

    flip: Flip = Field(
        default="none",
        description="The mirror image beside each image: none; average, the mean of both embeddings; unit, the mean of "
        "both at length 1. Results then say so.",
    )


class Config(Section):
    """One training run, fully described."""

    recipe: str | None = Field(
        default=None, description="A method's published settings, which lie below what stands here."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=2019, description="Of weights, batches and augmentation; another seed is another run."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    out: UserPath | None = Field(default=None, description="The run folder; `--out RUN_DIR` sets it.")
    epochs: Positive = Field(default=100, description="Passes over the training identities.")
    steps: Positive | None = Field(
        default=None,
        description="Optimiser steps of the whole run, however many passes they make; the schedule, written for "
        "`epochs`, is stretched to them. null: `epochs` decide. `--minutes` sets it.",
    )
    data: DataSection = DataSection()
    augment: AugmentSettings = AugmentSettings()
    batch: BatchSettings = BatchSettings()
    method: dict[str, Any] = Field(
        default={"name": DEFAULT_METHOD}, description="`name`, and that method's own settings."
    )
    init_from: str | None = Field(
        default=None,
        description="Weights to start from: a weights file of ours, hf://ORG/NAME, or a file of ImageNet weights.",
    )
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    precision: Literal["auto", "native", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="auto: bf16 on CUDA, else fp32; native: bf16 on processors with AVX512-BF16 or AMX, too.",
    )
    channels_last: bool = Field(
        default=True, description="Lay images and filters out with channels innermost."
    )
    compile: bool = Field(default=False, description="torch.compile the network.")
    sync_batchnorm: bool = Field(
        default=False,
        description="Several processes: batch norms see all their rows, not each process's own.",
    )
    accumulate: Positive = Field(default=1, description="Batches per optimiser step.")
    clip: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Largest gradient norm.")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Decay of averaged weights; null: none."
    )
    embedding: EmbeddingSection = EmbeddingSection()
    validation: ValidationSection = ValidationSection()
    checkpoint: CheckpointSection = CheckpointSection()
    health: HealthSection = HealthSection()
    evaluation: tuple[EvaluationSetting, ...] = Field(
        default=(EvaluationSetting(),),
        description="Protocol settings that `--configured` and the demo report.",
    )

    def protocol_settings(self) -> list[dict[str, Any]]:
        """For every entry of `evaluation` the options of `ivreid.make_protocol`, and `rerank`."""
        return [setting.model_dump() for setting in self.evaluation]

    @field_validator("device")
    @classmethod
    def _a_device(cls, name: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
            raise ValueError(f"{name!r} is no device; use auto, cpu, cuda, cuda:N or mps")
        return name

    @model_validator(mode="after")
    def _settings_exist(self) -> Self:
        choices = get_protocol(self.data.dataset).choices
        named = {f"evaluation.{number}": setting for number, setting in enumerate(self.evaluation)}
        for name, setting in {**named, "validation.setting": self.validation.setting}.items():
            for key, value in setting.model_dump(exclude_none=True).items():
                if key in choices and value not in choices[key]:
                    raise ValueError(
                        f"{name}.{key}: {value!r} does not fit {self.data.dataset}; it takes "
                        f"{', '.join(map(str, choices[key]))}"
                    )
        return self

    @model_validator(mode="after")
    def _selection_is_honest(self) -> Self:
        if self.data.train_on == "train+val" and self.validation.select == "validation":
            raise ValueError(
                "data.train_on = train+val leaves no identity to select on; set validation.select to "
                "`last` (keep the last epoch) or `published-test` (select on the test identities, as the "
                "published run did), or data.train_on to `train`"
            )
        return self
