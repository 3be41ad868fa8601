"""LLCM (Zhang and Wang, CVPR 2023): all images of one modality query a drawn gallery of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics import CmcRule
from ivreid.protocols.base import (
    DIRECTIONS,
    HasIds,
    Protocol,
    Trial,
    both_sides,
    camera_notes,
    check_cameras,
    images_by_group,
    in_order_of,
    known_queries,
    same_person_same_camera,
)
from ivreid.protocols.draws import TRIALS, draw_agw
from ivreid.protocols.registry import register_protocol
from ivreid.types import ImageTable

SWAPPED = "visible-to-infrared-swapped"


@register_protocol
@dataclass(frozen=True)
class LLCM(Protocol):
    """Ten drawn galleries; images of the query's own identity and camera are excluded.

    Attributes:
        direction: "infrared-to-visible", "visible-to-infrared", or the role-swapped variant of the latter
            that circulates in public code, where the drawn infrared images query every visible image. Its
            figures cannot be compared with the protocol's: Rank-1 comes out higher, mAP lower.
    """

    name: ClassVar[str] = "llcm"
    choices: ClassVar = {"direction": (*DIRECTIONS, SWAPPED)}
    default_cmc: ClassVar[CmcRule] = "identity"

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
        """Ten trials, each with another draw; nothing is drawn of unknown people, who all enter the gallery.

        Only images that are drawn need a camera.

        Raises:
            ProtocolError: Cameras that the dataset does not have, or an unknown one or missing frames on the drawn
                side; one modality only, or no image of a known person to query with.
        """
        whole, drawn = both_sides(self.name, images, self.direction == "infrared-to-visible")
        known = images.known[drawn]
        needed = np.isin(np.arange(len(images)), drawn[known])
        check_cameras(self.name, images, range(1, 10), needed)
        groups, distractors = images_by_group(images, drawn[known]), drawn[~known].tolist()
        draws = [draw_agw(groups, trial) for trial in range(TRIALS)]
        if self.direction == SWAPPED:
            known_queries(self.name, images, drawn)
            return tuple(Trial(in_order_of(drawn, draw), whole) for draw in draws)
        query = known_queries(self.name, images, whole)
        return tuple(Trial(query, in_order_of(drawn, [*draw, *distractors])) for draw in draws)

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """Gallery images of the query's own identity and (known) camera."""
        return same_person_same_camera(query, gallery)

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """A warning under the swapped variant, and where cameras are unknown."""
        swapped = (
            "roles swapped: sampled infrared images query all visible ones; "
            "do not compare with visible-to-infrared"
        )
        return ((swapped,) if self.direction == SWAPPED else ()) + camera_notes(images)
