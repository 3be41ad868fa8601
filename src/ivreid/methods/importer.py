"""How a method's published checkpoints are called: what its importer needs to know."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ivreid.errors import CheckpointError

Tensors = Mapping[str, Tensor]


NORM = "(weight|running_mean|running_var|num_batches_tracked)"
"""What a batch norm without a trained bias holds, as the end of a pattern of names."""


def _nothing(tensors: Tensors, dataset: str) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Importer:
    r"""How the tensors of a published checkpoint are called here.

    Attributes:
        names: Pattern of published names (`re.fullmatch`) -> the name here, with `\1` for its groups; or a
            function that says it for given tensors.
        dropped: Patterns of what embedding does not need: unused copies, classifiers.
        recognised_by: Names that together only this method's checkpoints hold.
        classes: Name of a classifier's weight, whose rows are the training identities.
        settings: Options that the tensors or the dataset tell; it is given both, the tensors by their
            published names.
        zero: Published names of tensors that must be 0, such as a frozen bias.
        flip: How the published test used the mirror image: "unit", "average" or None. Advice for the card.
    """

    names: Mapping[str, str] | Callable[[Tensors], Mapping[str, str]]
    dropped: tuple[str, ...] = ()
    recognised_by: tuple[str, ...] = ()
    classes: str = "classifier.weight"
    settings: Callable[[Tensors, str], dict[str, Any]] = field(default=_nothing)
    zero: tuple[str, ...] = ()
    flip: str | None = None

    def rename(self, tensors: Tensors, path: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """The tensors by the names here, and the published names that were left out.

        Raises:
            CheckpointError: A name that is neither known nor to be dropped.
        """
        renamed: dict[str, Tensor] = {}
        names = self.names(tensors) if callable(self.names) else self.names
        ignored = []
        for name, value in tensors.items():
            for pattern, ours in names.items():
                if match := re.fullmatch(pattern, name):
                    renamed[match.expand(ours)] = value
                    break
            else:
                if not any(re.fullmatch(pattern, name) for pattern in self.dropped):
                    raise CheckpointError(f"{path}: unknown tensor {name!r} of shape {tuple(value.shape)}")
                ignored.append(name)
        return renamed, tuple(ignored)

    def check(self, tensors: Tensors, path: str) -> None:
        """Refuse values that the published network cannot have."""
        for name in self.zero:
            if name in tensors and tensors[name].abs().max() > 0:
                raise CheckpointError(f"{path}: {name!r} must be 0, for it is frozen there in training")


def looks_like(tensors: Tensors, importers: Mapping[str, Importer]) -> tuple[str, ...]:
    """Names of the methods whose `recognised_by` the tensors hold, the most telling first."""
    found = {
        name: len(one.recognised_by)
        for name, one in importers.items()
        if one.recognised_by and all(entry in tensors for entry in one.recognised_by)
    }
    return tuple(sorted(found, key=lambda name: -found[name]))
