"""LLCM (Zhang and Wang, CVPR 2023): all images of one modality query a drawn gallery of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.protocols.base import (
    HasIds,
    Protocol,
    Trial,
    both_sides,
    check_cameras,
    images_by_group,
    in_order_of,
    same_person_same_camera,
)
from ivreid.protocols.draws import TRIALS, draw_agw
from ivreid.types import ImageTable

SWAPPED = "visible-to-infrared-swapped"


@dataclass(frozen=True)
class LLCM(Protocol):
    """Ten drawn galleries; images of the query's own identity and camera are excluded.

    Attributes:
        direction: "infrared-to-visible", "visible-to-infrared", or the role-swapped variant of the latter
            that circulates in public code, where the drawn infrared images query every visible image. Its
            figures cannot be compared with the protocol's: Rank-1 comes out higher, mAP lower.
    """

    name: ClassVar[str] = "llcm"

    direction: str = "infrared-to-visible"

    @property
    def title(self) -> str:
        """Direction and CMC rule in words."""
        return f"LLCM, {self.direction}, {self.cmc} CMC"

    @property
    def options(self) -> Mapping[str, Any]:
        """Direction, CMC rule."""
        return {"direction": self.direction, "cmc": self.cmc}

    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """Ten trials, each with another draw.

        Raises:
            ProtocolError: Unknown cameras, one modality only, or missing frames on the drawn side.
        """
        check_cameras(self.name, images, range(1, 10))
        whole, drawn = both_sides(self.name, images, self.direction == "infrared-to-visible")
        groups = images_by_group(images, drawn)
        samples = [in_order_of(drawn, draw_agw(groups, trial)) for trial in range(TRIALS)]
        if self.direction == SWAPPED:
            return tuple(Trial(sample, whole) for sample in samples)
        return tuple(Trial(whole, sample) for sample in samples)

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """Gallery images of the query's own identity and camera."""
        return same_person_same_camera(query, gallery)

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """A warning under the swapped variant."""
        swapped = (
            "roles swapped: sampled infrared images query all visible ones; "
            "do not compare with visible-to-infrared"
        )
        return (swapped,) if self.direction == SWAPPED else ()
