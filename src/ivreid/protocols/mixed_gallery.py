"""The mixed gallery: images of both modalities stand in it, as they do before real cameras."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.protocols.base import HasIds, Protocol, Trial, in_order_of, same_person_same_camera
from ivreid.protocols.base import canonical_order as ordered
from ivreid.types import ImageTable, IntArray


@dataclass(frozen=True)
class MixedGallery(Protocol):
    """A protocol's galleries with images of the querying modality added, one an identity and camera.

    The setting is that of Alehdaghi et al., "From Cross-Modal to Mixed-Modal Visible-Infrared Re-Identification",
    arXiv:2501.13307; which images are added is drawn here: of each identity and camera the one of the smallest
    SHA-256 of "SEED TRIAL PID CAMID FRAME". An image that is added does not query in that trial, and images of a
    query's own person and camera are excluded.

    Attributes:
        rule: The protocol whose queries, other gallery images and camera rule hold.
        seed: Of the draw.
    """

    name: ClassVar[str] = "mixed-gallery"
    version: ClassVar[int] = 1

    rule: Protocol
    seed: int = 0

    @classmethod
    def of(cls, rule: Protocol, *, seed: int = 0) -> MixedGallery:
        """The mixed gallery of a protocol, under its CMC rule."""
        return cls(rule.cmc, rule, seed)

    @property
    def title(self) -> str:
        """The protocol's title, and that the gallery is mixed."""
        return f"Mixed gallery (draw {self.seed}), {self.rule.title}"

    @property
    def options(self) -> Mapping[str, Any]:
        """The protocol with its options, the draw."""
        return {**self.rule.options, "rule": self.rule.name, "seed": self.seed}

    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """As many trials as the protocol has.

        Raises:
            ProtocolError: As the protocol's.
        """
        order = ordered(images)
        return tuple(
            self._mixed(images, order, trial, number) for number, trial in enumerate(self.rule.trials(images))
        )

    def _mixed(self, images: ImageTable, order: IntArray, trial: Trial, number: int) -> Trial:
        own = np.isin(images.infrared, np.unique(images.infrared[trial.query])) & images.known
        drawn: dict[tuple[int, int], tuple[bytes, int]] = {}
        for row in np.flatnonzero(own).tolist():
            pid, camid, frame = (int(column[row]) for column in (images.pids, images.camids, images.frames))
            key = hashlib.sha256(f"{self.seed} {number} {pid} {camid} {frame}".encode()).digest()
            drawn[pid, camid] = min(drawn.get((pid, camid), (key, row)), (key, row))
        added = [row for _, row in drawn.values()]
        query = trial.query[~np.isin(trial.query, added)]
        return Trial(query, in_order_of(order, [*trial.gallery.tolist(), *added]))

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """What the protocol excludes, and the query's own person before its own camera."""
        parts = [self.rule.excluded(query, gallery), same_person_same_camera(query, gallery)]
        found = [part for part in parts if part is not None]
        return None if not found else np.logical_or.reduce(found)

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """What the protocol notes."""
        return self.rule.notes(images)
