"""A whole person on a canvas."""

from __future__ import annotations

from ivreid.synthetic.appearance import Identity
from ivreid.synthetic.person.arms import add_arms
from ivreid.synthetic.person.bags import add_bag
from ivreid.synthetic.person.body import Body
from ivreid.synthetic.person.canvas import Canvas
from ivreid.synthetic.person.head import add_head
from ivreid.synthetic.person.legs import add_legs
from ivreid.synthetic.person.pose import Pose, skeleton
from ivreid.synthetic.person.trunk import add_hood, add_trunk
from ivreid.synthetic.person.view import View
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
    body = Body(identity, pose, skeleton(identity, pose), view, band, gap, canvas)
    for add in (add_legs, add_trunk, add_hood, add_head, add_arms, add_bag):
        add(body)
    body.draw()
