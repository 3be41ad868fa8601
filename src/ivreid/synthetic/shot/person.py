"""A whole person on a canvas."""

from __future__ import annotations

from ivreid.synthetic.identity import Identity
from ivreid.synthetic.shot.arms import add_arms
from ivreid.synthetic.shot.bags import add_bag
from ivreid.synthetic.shot.canvas import Canvas
from ivreid.synthetic.shot.figure import Figure
from ivreid.synthetic.shot.head import add_head
from ivreid.synthetic.shot.legs import add_legs
from ivreid.synthetic.shot.pose import Pose, skeleton
from ivreid.synthetic.shot.trunk import add_hood, add_trunk
from ivreid.synthetic.shot.view import View
from ivreid.synthetic.surface import Band


def paint_person(
    canvas: Canvas, identity: Identity, pose: Pose, *, pitch: float, taper: float, band: Band, gap: float
) -> None:
    """Paint a person standing on the canvas's origin.

    Args:
        canvas: Where; its light and scale apply.
        identity: Who.
        pose: In which moment.
        pitch: How steeply the camera looks down, radians.
        taper: How much larger the head appears than the feet.
        band: What the camera records.
        gap: How little infrared knows of visible colour (see `Surface.seen`).
    """
    view = View(pose.heading, pitch, taper)
    figure = Figure(identity, pose, skeleton(identity, pose), view, band, gap, canvas)
    for add in (add_legs, add_trunk, add_hood, add_head, add_arms, add_bag):
        add(figure)
    figure.draw()
