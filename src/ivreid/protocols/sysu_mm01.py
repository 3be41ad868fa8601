"""SYSU-MM01 (Wu et al., ICCV 2017): infrared cameras 3 and 6 query visible cameras 1, 2, 4, 5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.datasets.sysu_mm01 import INFRARED_CAMERAS
from ivreid.errors import ProtocolError, UsageError
from ivreid.metrics import CmcRule
from ivreid.protocols.base import (
    HasIds,
    Protocol,
    Trial,
    both_sides,
    check_cameras,
    images_by_group,
    in_order_of,
    known_queries,
)
from ivreid.protocols.draws import (
    DRAWS,
    TRIALS,
    ImageGroups,
    Permutations,
    draw_agw,
    draw_iv_reid,
    draw_seeded,
)
from ivreid.protocols.registry import register_protocol
from ivreid.types import ImageTable

GALLERY_CAMERAS = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SHOTS = {1: "single-shot", 10: "multi-shot (10)"}
_DRAWN = {
    "official": "official permutations",
    "agw": "gallery drawn as AGW does",
    "iv-reid": "gallery drawn as the IV-ReID code does",
    "seeded": "seeded draw of our own (not the official one)",
}


@register_protocol
@dataclass(frozen=True)
class SysuMM01(Protocol):
    """Every infrared test image queries ten drawn galleries.

    Attributes:
        mode: "all" (gallery cameras 1, 2, 4, 5) or "indoor" (1, 2).
        shots: Gallery images per identity and camera, 1 or 10.
        draw: "official", "agw", "iv-reid" or "seeded"; agw and iv-reid draw one shot only.
        permutations: The authors' permutations, for the official draw.
    """

    name: ClassVar[str] = "sysu-mm01"
    choices: ClassVar = {"mode": tuple(GALLERY_CAMERAS), "shots": tuple(SHOTS), "draw": DRAWS}
    default_cmc: ClassVar[CmcRule] = "identity"
    indoor_cameras: ClassVar[frozenset[int]] = frozenset({1, 2, 3})
    selection: ClassVar = {"mode": "all", "shots": 1, "draw": "iv-reid"}

    mode: str = "all"
    shots: int = 1
    draw: str = "agw"
    permutations: Permutations | None = None

    def __post_init__(self) -> None:
        if self.shots not in SHOTS:
            raise UsageError(
                f"shots {self.shots}: sysu-mm01 is evaluated with {' or '.join(map(str, SHOTS))} shots"
            )
        if self.shots > 1 and self.draw not in ("official", "seeded"):
            raise UsageError(
                f"the {self.draw} draw takes one image per identity and camera; {self.shots} shots need the "
                "official draw (--draw official --permutations rand_perm_cam.mat), or --draw seeded, which compares with no "
                "published figure"
            )
        if self.draw == "official" and self.permutations is None:
            raise UsageError(
                "the official draw needs the dataset authors' permutations (--permutations rand_perm_cam.mat "
                "or exp/rand_perm_cam.mat in the dataset); without them, --draw agw is what most code does"
            )

    @property
    def title(self) -> str:
        """Mode, shots, draw and CMC rule in words."""
        return f"SYSU-MM01, {self.mode}-search, {SHOTS[self.shots]}, {_DRAWN[self.draw]}, {self.cmc} CMC"

    @property
    def options(self) -> Mapping[str, Any]:
        """Mode, shots, draw, CMC rule."""
        return {"mode": self.mode, "shots": self.shots, "draw": self.draw, "cmc": self.cmc}

    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """Ten trials: the same queries, another gallery each; nothing is drawn of unknown people, who all enter.

        Raises:
            ProtocolError: Unknown cameras, a camera of the wrong modality, no query, no gallery, or
                permutations that do not fit.
        """
        check_cameras(self.name, images, range(1, 7))
        wrong = images.infrared != np.isin(images.camids, INFRARED_CAMERAS)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            word = "infrared" if images.infrared[row] else "visible"
            raise ProtocolError(
                f"camera {images.camids[row]} holds an image called {word} (identity {images.pids[row]}); "
                "in sysu-mm01 cameras 3 and 6 are infrared, the others visible"
            )
        query, visible = both_sides(self.name, images, query_infrared=True)
        cameras = GALLERY_CAMERAS[self.mode]
        query = known_queries(self.name, images, query)
        visible = visible[np.isin(images.camids[visible], cameras)]
        if not len(visible):
            raise ProtocolError(f"the {self.mode}-search gallery is empty: no image from cameras {cameras}")
        known = images.known[visible]
        groups, distractors = images_by_group(images, visible[known]), visible[~known].tolist()
        galleries = ([*self._draw(groups, trial), *distractors] for trial in range(TRIALS))
        return tuple(Trial(query, in_order_of(visible, gallery)) for gallery in galleries)

    def _draw(self, groups: ImageGroups, trial: int) -> list[int]:
        if self.permutations is not None and self.draw == "official":
            return self.permutations.draw(groups, trial, self.shots)
        if self.draw == "seeded":
            return draw_seeded(groups, trial, self.shots)
        return (draw_agw if self.draw == "agw" else draw_iv_reid)(groups, trial)

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """That a seeded draw is ours alone."""
        if self.draw != "seeded":
            return ()
        return (
            "draw seeded: galleries drawn by ivreid's own seeds, not by the dataset authors' permutations; the figures "
            "compare with others of this draw alone, with no published one",
        )

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """Cameras 2 and 3 share a room: a camera-3 query drops every camera-2 image, of any identity."""
        third, second = query.camids == 3, gallery.camids == 2
        return third[:, None] & second if third.any() and second.any() else None
