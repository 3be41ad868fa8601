"""The plain cross-modality protocol, for a folder or a table of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.protocols.base import (
    DIRECTIONS,
    HasIds,
    Protocol,
    Trial,
    both_sides,
    camera_notes,
    known_queries,
    same_person_same_camera,
)
from ivreid.protocols.registry import register_protocol
from ivreid.types import ImageTable


@register_protocol
@dataclass(frozen=True)
class CrossModality(Protocol):
    """Every image of one modality queries every image of the other, as person re-identification usually does.

    Where cameras are known, images of the query's own identity and camera are excluded (Market-1501's rule,
    Zheng et al., ICCV 2015).

    Attributes:
        direction: Query-first, "infrared-to-visible" or "visible-to-infrared".
    """

    name: ClassVar[str] = "cross-modality"
    choices: ClassVar = {"direction": DIRECTIONS}

    direction: str = "infrared-to-visible"

    @property
    def title(self) -> str:
        """Direction and CMC rule in words."""
        return f"Cross-modality, {self.direction}, {self.cmc} CMC"

    @property
    def options(self) -> Mapping[str, Any]:
        """Direction, CMC rule."""
        return {"direction": self.direction, "cmc": self.cmc}

    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """One trial.

        Raises:
            ProtocolError: One modality only, or no image of a known person to query with.
        """
        query, gallery = both_sides(self.name, images, self.direction == "infrared-to-visible")
        return (Trial(known_queries(self.name, images, query), gallery),)

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """Gallery images of the query's own identity and (known) camera."""
        return same_person_same_camera(query, gallery)

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """Whether the camera rule applied."""
        return camera_notes(images)
