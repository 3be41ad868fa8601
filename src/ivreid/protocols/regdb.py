"""RegDB (Nguyen et al., Sensors 2017): every image of one modality queries every image of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ivreid.errors import UsageError
from ivreid.protocols.base import DIRECTIONS, Protocol, Trial, both_sides, check_cameras, known_queries
from ivreid.protocols.registry import register_protocol
from ivreid.types import ImageTable

SPLITS = range(1, 11)


@register_protocol
@dataclass(frozen=True)
class RegDB(Protocol):
    """One split's test images, no draw, no camera rule.

    Attributes:
        direction: Query-first, "infrared-to-visible" or "visible-to-infrared"; RegDB's files call infrared
            "thermal".
        trial: Which of the ten train/test splits the images belong to, None where unknown. A model belongs to
            the split it was trained on, so ten models make the published mean.
    """

    name: ClassVar[str] = "regdb"
    choices: ClassVar = {"direction": DIRECTIONS, "trial": tuple(SPLITS)}
    selection: ClassVar = {"direction": "infrared-to-visible"}

    direction: str = "infrared-to-visible"
    trial: int | None = None

    def __post_init__(self) -> None:
        if self.trial is not None and self.trial not in SPLITS:
            raise UsageError(f"trial {self.trial}: RegDB has splits {SPLITS[0]} to {SPLITS[-1]}")

    @property
    def title(self) -> str:
        """Direction, split and CMC rule in words."""
        split = "split unknown" if self.trial is None else f"split {self.trial}"
        return f"RegDB, {self.direction}, {split}, {self.cmc} CMC"

    @property
    def options(self) -> Mapping[str, Any]:
        """Direction, split, CMC rule."""
        return {"direction": self.direction, "trial": self.trial, "cmc": self.cmc}

    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """One trial.

        Raises:
            ProtocolError: Unknown cameras, one modality only, or no image of a known person to query with.
        """
        check_cameras(self.name, images, range(1, 3))
        query, gallery = both_sides(self.name, images, self.direction == "infrared-to-visible")
        return (Trial(known_queries(self.name, images, query), gallery),)
