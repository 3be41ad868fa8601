"""From body coordinates to the picture's plane: heading, a camera that looks down, and what lies in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivreid.synthetic.person.pose import Point

Flat = tuple[float, float]


@dataclass(frozen=True, slots=True)
class View:
    """How the camera sees a body.

    Attributes:
        heading: The body's heading, radians (see `Pose`).
        pitch: How steeply the camera looks down, radians.
        taper: How much larger the head appears than the feet, because it is nearer to the lens.
    """

    heading: float
    pitch: float
    taper: float

    def flat(self, point: Point) -> Flat:
        """The point in the picture's plane, body heights, y up."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        x = point[0] * cos + point[2] * sin
        z = point[2] * cos - point[0] * sin
        grow = 1 + self.taper * (point[1] - 0.5)
        return float(x * grow), float(point[1] * np.cos(self.pitch) - z * np.sin(self.pitch))

    def depth(self, point: Point) -> float:
        """How far the point stands towards the camera."""
        return float(point[2] * np.cos(self.heading) - point[0] * np.sin(self.heading))

    def grow(self, height: float) -> float:
        """The factor on widths at this height."""
        return 1 + self.taper * (height - 0.5)

    def width(self, lateral: float, sagittal: float) -> float:
        """The visible half-width of an ellipse with these half-axes (to the side, to the front)."""
        return float(np.hypot(lateral * np.cos(self.heading), sagittal * np.sin(self.heading)))
