"""What a synthetic dataset shall be, checked before anything is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ivreid.errors import UsageError, did_you_mean
from ivreid.synthetic.layouts import LAYOUTS

GENERATOR = 1
"""Version of the generator: pictures of different versions differ."""
DEFAULT_GAP = 0.7


@dataclass(frozen=True)
class DatasetRequest:
    """What to write; equal requests give equal bytes on one kind of processor (docs/synthetic.md).

    Attributes:
        layout: "sysu-mm01", "regdb" or "llcm".
        identities: Number of people.
        images: Pictures per person and camera.
        size: (height, width) in pixels.
        seed: Which world.
        gap: 0: infrared is grey visible; 1: only shape survives.

    Raises:
        UsageError: A value out of its range; the message says what would fit.
    """

    layout: str
    identities: int
    images: int
    size: tuple[int, int]
    seed: int
    gap: float

    def __post_init__(self) -> None:
        self._check_people()
        height, width = self.size
        if not 1 <= self.images <= 999:
            raise UsageError(f"images per identity and camera must be 1 to 999, not {self.images}")
        if not (32 <= height <= 1024 and 16 <= width <= 1024 and 0.8 <= height / width <= 5):
            raise UsageError(
                f"size {height}x{width} is not a picture of a person: take a height of 32 to 1024 and a "
                "width of a fifth of the height to 1.25 times it, at least 16, such as 128x64 or 384x128"
            )
        if not 0 <= self.gap <= 1:
            raise UsageError(
                f"gap must be 0 (infrared is grey visible) to 1 (only shape survives), not {self.gap}"
            )
        if self.seed < 0:
            raise UsageError(f"seed must be zero or greater, not {self.seed}")

    def _check_people(self) -> None:
        name, people = self.layout, self.identities
        if name not in LAYOUTS:
            raise UsageError(f"unknown layout {name!r}; {did_you_mean(name, LAYOUTS)}")
        layout = LAYOUTS[name]
        if not layout.fewest <= people <= 9999:
            raise UsageError(
                f"{name} needs {layout.fewest} to 9999 identities, a few for every split; not {people}"
            )
        if layout.even and people % 2:
            raise UsageError(f"{name} splits its identities in halves: {people} is odd, take {people + 1}")

    def to_json(self) -> dict[str, Any]:
        """The request as plain JSON values, with the generator's version."""
        return {**asdict(self), "size": list(self.size), "generator": GENERATOR}
