"""What every method is: a network that trains with named losses and embeds images for retrieval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ivreid.errors import CheckpointError


class MethodSettings(BaseModel):
    """A method's options: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(nn.Module, ABC):
    """A published method: network and losses.

    Class attributes:
        name: Its name in the registry and in configuration files.
        citation: Authors, title, venue, year.
        Settings: Its options, with the published values as defaults.
        training_only: Prefixes of parameters that `embed` does not use, so that weights may lack them.

    Attributes:
        settings: The options of this instance.
        num_classes: Training identities.
        embedding_dim: Length of an embedding.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    Settings: ClassVar[type[MethodSettings]]
    training_only: ClassVar[tuple[str, ...]] = ()

    num_classes: int
    embedding_dim: int

    @abstractmethod
    def __init__(self, settings: Any, num_classes: int) -> None:
        super().__init__()
        self.settings: Any = settings
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor, infrared: Tensor) -> dict[str, Tensor]:
        """The training losses by name, already weighted; the total loss is their sum.

        Shape:
            images (B, 3, H, W) float, labels (B,) int64, infrared (B,) bool, on any device -> scalars.
        """

    @abstractmethod
    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        """The test embedding, not normalised.

        Shape:
            images (B, 3, H, W) float, infrared (B,) bool -> (B, embedding_dim).
        """

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Groups for an optimiser, each with `name`, `params` and `lr`; every parameter is in exactly one.

        Args:
            lr: The base learning rate.
        """
        return [{"name": "all", "params": list(self.parameters()), "lr": lr}]

    def card(self) -> dict[str, Any]:
        """The part of a weights card that says how to build this method again."""
        settings = self.settings.model_dump(mode="json")
        if settings.get("pretrained"):  # weights travel; a folder of this machine does not
            settings["pretrained"] = Path(settings["pretrained"]).name
        return {"method": self.name, "settings": settings, "num_classes": self.num_classes}

    def load_tensors(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Load named tensors; only `training_only` ones may be missing.

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
        self.load_state_dict(dict(tensors), strict=False)
