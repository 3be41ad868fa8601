"""What every method is: a network that trains with named losses and embeds images for retrieval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ivreid.catalogue import check_functions, check_name
from ivreid.errors import CheckpointError, TrainingError, UsageError
from ivreid.methods.importer import Importer
from ivreid.methods.publication import Publication
from ivreid.methods.recipe import Recipe
from ivreid.section import Section
from ivreid.tensors import modality_rows


class MethodSettings(Section):
    """A method's options: unknown keys are refused, values never change."""


class Method(nn.Module, ABC):
    """A published method: network and losses.

    Class attributes:
        name: Its name in the registry and in configuration files.
        citation: Authors, title, venue, year.
        Settings: Its options, with the published values as defaults.
        training_only: Prefixes of parameters that `embed` does not use, so that weights may lack them.
        search: Options that `ivreid tune` varies unless told otherwise: `{low, high, log}` or `{choices}` each.
        small: Options that make it quick to build and run: the contract test uses them.
        small_size: Height and width of the contract test's images.
        views: Views of each visible image that `forward` needs in a batch.
        means_by_modality: Whether a loss is a mean over one modality's rows, so that several processes must
            hold equally many of them each to act as one.
        min_identities: Identities that a batch must hold over all processes: with one, nothing sets people apart.
        min_rows: Rows that a batch must hold in each process: of each modality where `means_by_modality`.
        min_of_modality: Rows of each modality that a batch must hold over all processes.
        pairs: Whether each identity must have as many visible as infrared rows in a batch.
        experimental: Whether what it is made from is incomplete, so that nobody can know its figures.
        publication: Paper, code and published figures.
        importer: How published checkpoints are called; None where there are none.
        recipe: The settings of a run that it was published with; None where there are none.

    Attributes:
        settings: The options of this instance.
        num_classes: Training identities.
        size: Height and width of the images.
        embedding_dim: Length of an embedding.
        measures: Scalars without gradient that the log shall show beside the losses, by name; set in every `forward`.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    Settings: ClassVar[type[MethodSettings]]
    training_only: ClassVar[tuple[str, ...]] = ()
    search: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    small: ClassVar[Mapping[str, Any]] = {}
    small_size: ClassVar[tuple[int, int]] = (64, 32)
    views: ClassVar[int] = 1
    means_by_modality: ClassVar[bool] = True
    min_identities: ClassVar[int] = 2
    min_rows: ClassVar[int] = 2
    min_of_modality: ClassVar[int] = 0
    pairs: ClassVar[bool] = False
    experimental: ClassVar[bool] = False
    recipe: ClassVar[Recipe | None] = None
    publication: ClassVar[Publication | None] = None
    importer: ClassVar[Importer | None] = None

    num_classes: int
    size: tuple[int, int]
    embedding_dim: int
    measures: dict[str, Tensor]

    @abstractmethod
    def __init__(self, settings: Any, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.settings: Any = settings
        self.num_classes = num_classes
        self.size = size
        self.measures = {}

    @abstractmethod
    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The training losses by name, already weighted; the total loss is their sum.

        Args:
            images: The batch.
            labels: The identity of each row, 0 to num_classes - 1.
            infrared: Whether a row is an infrared image.
            view: Which view of its image a row shows; None where a batch has one of each. A method that
                trains on one view ignores it.

        Shape:
            images (B, 3, H, W) float, labels (B,) int64, infrared (B,) bool, view (B,) int8, on any device ->
                scalars.
        """

    @abstractmethod
    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """The test embedding, not normalised.

        Shape:
            images (B, 3, H, W) float, infrared (B,) bool -> (B, embedding_dim).
        """

    @classmethod
    def views_with(cls, settings: Mapping[str, Any]) -> int:
        """Views of each visible image that `forward` needs with these options: `views`, or more.

        Args:
            settings: The options, as a configuration holds them.
        """
        return cls.views

    def begin_epoch(self, epoch: int) -> None:
        """Set what changes from epoch to epoch, such as a loss weight.

        It depends on the number alone, so that a resumed run needs nothing else.

        Args:
            epoch: Epochs done, from 0; called before the first step of each, and of a resumed one.
        """

    def begin_step(self) -> None:
        """Update what moves once an optimiser step whatever the batches in it, such as a slow copy of a layer.

        Called in training mode before the first batch of each step; `accumulate` makes a step of several.
        """

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Groups for an optimiser, each with `name`, `params` and `lr`; every parameter is in exactly one.

        Args:
            lr: The base learning rate.
        """
        return [{"name": "all", "params": list(self.parameters()), "lr": lr}]

    def both_modalities(self, infrared: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """The row numbers of the visible and of the infrared images, on `device`.

        Raises:
            TrainingError: A batch of one modality.
        """
        v, r = modality_rows(infrared, device)
        if not (len(v) and len(r)):
            raise TrainingError(
                f"{self.name} needs images of both modalities, got {len(v)} visible and {len(r)} infrared"
            )
        return v, r

    def two_views(self, infrared: Tensor, view: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """The row numbers of the first and of the second view of the visible images, image by image.

        Raises:
            TrainingError: A batch in which a visible image lacks one of them.
        """
        wanted = f"{self.name} needs two views of each visible image (batch.views = {{visible: 2}})"
        if view is None:
            raise TrainingError(wanted)
        first, second = ((~infrared & (view == number)).nonzero().squeeze(1) for number in (0, 1))
        if len(first) != len(second) or not len(first):
            raise TrainingError(f"{wanted}; this batch has {len(first)} first and {len(second)} second ones")
        return first.to(device, non_blocking=True), second.to(device, non_blocking=True)

    def card(self) -> dict[str, Any]:
        """The part of a weights card that says how to build this method again."""
        settings = self.settings.model_dump(mode="json")
        if settings.get("pretrained"):  # weights travel; a folder of this machine does not
            settings["pretrained"] = Path(settings["pretrained"]).name
        return {
            "method": self.name,
            "settings": settings,
            "num_classes": self.num_classes,
            "size": list(self.size),
        }

    def load_tensors(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Load named tensors; only `training_only` ones may be missing.

        Raises:
            CheckpointError: As `check_tensors`.
        """
        self.check_tensors(tensors, source)
        self.load_state_dict(dict(tensors), strict=False)

    def check_tensors(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Whether named tensors are this network's; only `training_only` ones may be missing.

        Raises:
            CheckpointError: A tensor is missing, unknown, or of another shape; the message names it and
                `source`.
        """
        own = self.state_dict()
        missing = [key for key in own if key not in tensors and not key.startswith(self.training_only)]
        unknown = [key for key in tensors if key not in own]
        if missing or unknown:
            first = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is unknown"
            raise CheckpointError(
                f"{source} does not fit {self.name} with these settings: {len(missing)} tensors missing and "
                f"{len(unknown)} unknown; {first}"
            )
        for key, value in tensors.items():
            if value.shape != own[key].shape:
                raise CheckpointError(
                    f"{source} does not fit {self.name} with these settings: {key!r} has shape "
                    f"{tuple(value.shape)}, expected {tuple(own[key].shape)}"
                )


def check_class(cls: Any) -> None:
    """Refuse a method class that lacks something.

    Raises:
        UsageError: The message names it.
    """
    check_name("method", cls, Method)
    lacking = [
        f"`{name}`, {meaning}"
        for name, kind, meaning in (
            ("citation", str, "a text: authors, title, venue, year"),
            ("Settings", type, "a class derived from MethodSettings"),
        )
        if not isinstance(getattr(cls, name, None), kind)
    ]
    if not lacking and not issubclass(cls.Settings, MethodSettings):
        lacking = ["`Settings` derived from MethodSettings"]
    if lacking:
        raise UsageError(f"the method {cls.__qualname__} lacks {lacking[0]}")
    check_functions(
        "method",
        cls,
        __init__="settings, num_classes, size",
        forward="images, labels, infrared, view",
        embed="images, infrared",
        begin_epoch="epoch",
        parameter_groups="lr",
    )


def named_losses(losses: Any, method: str) -> dict[str, Tensor]:
    """What a method's `forward` returned, if it is losses by name.

    Raises:
        TrainingError: It is something else.
    """
    if isinstance(losses, dict) and losses:
        wrong = [name for name, loss in losses.items() if not (isinstance(loss, Tensor) and loss.ndim == 0)]
        if not wrong:
            return losses
        what = f"{wrong[0]!r} as {_describe(losses[wrong[0]])}"
    else:
        what = "an empty dictionary" if isinstance(losses, dict) else _describe(losses)
    raise TrainingError(
        f"the method {method!r} returned {what}; `forward` returns scalar losses by name, e.g. "
        '{"identity": loss}'
    )


def _describe(value: Any) -> str:
    return (
        f"a tensor of shape {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else f"a {type(value).__name__}"
    )
