"""The open set: some of the people who are searched for are not in the gallery."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import ProtocolError
from ivreid.protocols.base import HasIds, Protocol, Trial
from ivreid.types import ImageTable

DRAWS = 10
LEAST_PEOPLE = 4


@dataclass(frozen=True)
class OpenSet(Protocol):
    """A protocol's galleries without half of the people, whose images query all the same.

    The task and its figures, the rate of detection and identification at a rate of false acceptance, are those of
    Liao et al., "Open-set Person Re-identification", arXiv:1408.0872. The people who leave are drawn here, ten
    times: those of the smallest SHA-256 of "SEED TRIAL PID".

    Attributes:
        rule: The protocol whose galleries, queries and camera rule hold.
        absent: Share of the people who leave.
        seed: Of the draw.
    """

    name: ClassVar[str] = "open-set"
    version: ClassVar[int] = 1

    rule: Protocol
    absent: float = 0.5
    seed: int = 0

    @classmethod
    def of(cls, rule: Protocol, *, absent: float = 0.5, seed: int = 0) -> OpenSet:
        """The open set of a protocol, under its CMC rule."""
        return cls(rule.cmc, rule, absent, seed)

    @property
    def title(self) -> str:
        """The protocol's title and who is absent."""
        return f"Open-set, {self.absent:.0%} of the people absent (draw {self.seed}), {self.rule.title}"

    @property
    def options(self) -> Mapping[str, Any]:
        """The protocol with its options, the share, the draw."""
        return {**self.rule.options, "rule": self.rule.name, "absent": self.absent, "seed": self.seed}

    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """Ten trials, over the protocol's own in turn.

        Raises:
            ProtocolError: As the protocol's, or too few people to leave any out.
        """
        own = self.rule.trials(images)
        return tuple(self._without_some(images, own[number % len(own)], number) for number in range(DRAWS))

    def _without_some(self, images: ImageTable, trial: Trial, number: int) -> Trial:
        pids = np.intersect1d(images.pids[trial.query], images.pids[trial.gallery])
        if len(pids) < LEAST_PEOPLE:
            raise ProtocolError(
                f"{len(pids)} people stand in queries and gallery; an open set takes {LEAST_PEOPLE} or more"
            )
        order = sorted(
            pids.tolist(), key=lambda pid: hashlib.sha256(f"{self.seed} {number} {pid}".encode()).digest()
        )
        gone = order[: int(np.clip(round(self.absent * len(pids)), 1, len(pids) - 1))]
        return Trial(trial.query, trial.gallery[~np.isin(images.pids[trial.gallery], gone)])

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """What the protocol excludes."""
        return self.rule.excluded(query, gallery)

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """What the protocol notes."""
        return self.rule.notes(images)
