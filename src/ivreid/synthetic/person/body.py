"""What all body parts share: who, in which pose, seen by whom; and painting parts back to front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ivreid.synthetic.appearance import Identity
from ivreid.synthetic.person.canvas import Array, Canvas, Patch, Profile
from ivreid.synthetic.person.cloth import cloth_colour
from ivreid.synthetic.person.pose import Point, Pose
from ivreid.synthetic.person.view import Flat, View
from ivreid.synthetic.surface import Band, Fabric, Surface


@dataclass
class Body:
    """One person about to be painted on one canvas.

    Attributes:
        joints: The skeleton (see `pose.skeleton`).
        parts: (depth, painter) pairs; `draw` sorts and runs them.
    """

    identity: Identity
    pose: Pose
    joints: dict[str, Point]
    view: View
    band: Band
    gap: float
    canvas: Canvas
    parts: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def draw(self) -> None:
        """Paint everything collected so far, far parts first."""
        for _, paint in sorted(self.parts, key=lambda part: part[0]):
            paint()

    def add(self, depth: float, painter: Callable[[], None]) -> None:
        """Collect a part; `depth` grows towards the camera."""
        self.parts.append((depth, painter))

    def seen(self, surface: Surface) -> Array:
        """The colour of a surface in this band."""
        return surface.seen(self.band, self.gap)

    def cloth(self, fabric: Fabric, patch: Patch, heading: float = 0.0) -> Array:
        """The unlit colour of a patch made of this fabric; its pattern turns with `heading`."""
        folds = self.canvas.light.folds
        return cloth_colour(fabric, patch, band=self.band, gap=self.gap, folds=folds, heading=heading)

    def tube(
        self,
        start: Flat,
        end: Flat,
        profile: Profile,
        fabric: Fabric,
        *,
        cap: tuple[float, float] = (0.0, 0.0),
        sag: float = 0.0,
        body: bool = False,
        joint: float = 0.0,
        contact: bool = True,
        shift: float = 0.0,
    ) -> Patch | None:
        """Paint a tube of cloth now and return its patch for details.

        Args:
            start: Upper end (this and the next: see `Canvas.tube`).
            end: Lower end.
            profile: Half-widths.
            fabric: What it is made of.
            cap: Rounding of the ends.
            sag: How far the lower end hangs.
            body: Whether the pattern turns with the body's heading.
            joint: See `Canvas.cast`.
            contact: Whether it casts a contact shadow.
            shift: Where in the pattern it starts, in body heights.
        """
        patch = self.canvas.tube(start, end, profile, cap=cap, sag=sag)
        if patch is not None:
            patch = replace(patch, along=patch.along + np.float32(shift)) if shift else patch
            if contact:
                self.canvas.cast(patch, joint)
            heading = self.view.heading if body else 0.0
            self.canvas.paint(patch, self.cloth(fabric, patch, heading))
        return patch

    def limb(
        self,
        depth: float,
        start: Point,
        end: Point,
        radii: tuple[float, float],
        fabric: Fabric,
        *,
        open_end: bool = False,
    ) -> None:
        """Collect a round limb between two joints; `open_end` cuts its lower end straight, as a sleeve."""
        first, last = self.view.flat(start), self.view.flat(end)
        grow = self.view.grow(float(start[1]))
        profile = ((0.0, radii[0] * grow), (1.0, radii[1] * grow))
        cap = (radii[0] * grow, 0.0 if open_end else radii[1] * grow)
        joint = 0.0 if open_end else float(np.hypot(first[0] - last[0], first[1] - last[1]))
        self.add(
            depth,
            lambda: void(self.tube(first, last, profile, fabric, cap=cap, sag=0.3 * radii[1], joint=joint)),
        )

    def turn(self, patch: Patch) -> Array:
        """(h, w) angle around the body from its front, radians in [-pi, pi]."""
        return ((patch.turn - self.view.heading + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)


def void(_: object) -> None:
    """Drop a painter's result."""
