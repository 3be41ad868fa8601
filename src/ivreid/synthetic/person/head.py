"""The head: face, hair and hat, painted on a ball as functions of the direction its surface faces."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.person.body import Body, void
from ivreid.synthetic.person.canvas import Array, Patch, unit
from ivreid.synthetic.surface import Band, Fabric, Surface

LIPS = Surface((0.62, 0.32, 0.30), 0.62, 0.9)
EYE = Surface((0.10, 0.08, 0.08), 0.22, 0.88)
PUPIL_GLOW = Surface((0.10, 0.08, 0.08), 1.0, 0.88)
LENS = Surface((0.12, 0.12, 0.13), 0.3, 0.45)


def add_head(body: Body) -> None:
    """Collect the head, and the hair that falls behind or in front of it."""
    identity, joints, view = body.identity, body.joints, body.view
    height = identity.build.height
    chin, crown = joints["chin"], joints["crown"]
    centre = (chin + crown) / 2
    body.add(0.05, lambda: _ball(body))
    style = identity.hair_style
    if style in ("long", "bob"):
        reach = 0.17 if style == "long" else 0.085
        start = view.flat(centre - np.array([0, 0, 0.016]) * height)
        end = view.flat(centre - np.array([0, reach, 0.04]) * height)
        half = view.width(0.062, 0.05) * height
        profile = ((0.0, half), (0.6, half * 1.02), (1.0, half * 0.8))
        ahead = bool(np.cos(view.heading) > 0.25)  # then it falls behind the head and the shoulders
        cap = (0.03, 0.02)
        body.add(
            -0.02 if ahead else 0.045,
            lambda: void(body.tube(start, end, profile, identity.hair, cap=cap, contact=ahead)),
        )
    back = centre - np.array([0, 0, 0.05]) * height
    depth = 0.051 if view.depth(back) > view.depth(centre) - 0.02 else -0.02
    if style == "ponytail":
        top, tip = back + np.array([0, 0.02, -0.015]) * height, back + np.array([0, -0.11, -0.03]) * height
        body.limb(depth, top, tip, (0.02, 0.014), identity.hair)
    if style == "bun":
        knot = back + np.array([0, 0.045, -0.005]) * height
        body.limb(depth, knot, knot - np.array([0, 0.012, 0]), (0.03, 0.03), identity.hair)


def _ball(body: Body) -> None:
    identity, view = body.identity, body.view
    height = identity.build.height
    chin, crown = view.flat(body.joints["chin"]), view.flat(body.joints["crown"])
    look = view.heading + body.pose.look
    tall = float(np.hypot(crown[0] - chin[0], crown[1] - chin[1])) / 2 + 0.004
    wide = (
        float(np.hypot(0.046 * np.cos(look), 0.055 * np.sin(look)))
        * height
        * (0.5 + 0.5 * identity.build.head)
        * view.grow(0.9)
    )
    centre = ((chin[0] + crown[0]) / 2, (chin[1] + crown[1]) / 2)
    tilt = float(np.arctan2(crown[0] - chin[0], crown[1] - chin[1]))
    found = body.canvas.ball(centre, (wide, tall), tilt)
    if found is None:
        return
    patch, nx, ny, nz = found
    # the normal in the head's own frame: y down, forward out of the face, side to the person's left
    nod = body.pose.nod + view.pitch
    forward_flat = nx * np.float32(np.sin(look)) + nz * np.float32(np.cos(look))
    side = nx * np.float32(np.cos(look)) - nz * np.float32(np.sin(look))
    forward = forward_flat * np.float32(np.cos(nod)) + ny * np.float32(np.sin(nod))
    down = ny * np.float32(np.cos(nod)) - forward_flat * np.float32(np.sin(nod))
    body.canvas.cast(patch)
    body.canvas.paint(patch, body.seen(identity.skin.base))
    _face(body, patch, side, down, forward)
    _hair(body, patch, side, down, forward)


def _spot(
    side: Array, down: Array, forward: Array, at: tuple[float, float], size: tuple[float, float]
) -> Array:
    """A soft spot on the face, 1 inside."""
    distance = ((np.abs(side) - at[0]) / size[0]) ** 2 + ((down - at[1]) / size[1]) ** 2
    return unit(1.6 - distance) * (forward > 0)


def _face(body: Body, patch: Patch, side: Array, down: Array, forward: Array) -> None:
    identity, canvas = body.identity, body.canvas
    lay = canvas.paint
    lay(
        patch,
        body.seen(identity.skin.base) * np.float32(0.78),
        0.7 * _spot(side, down, forward, (0.36, 0.0), (0.24, 0.15)),
    )
    lay(
        patch,
        body.seen(identity.skin.base) * np.float32(0.84),
        0.6 * _spot(side, down, forward, (0.0, 0.32), (0.13, 0.12)),
    )
    eye = PUPIL_GLOW if body.band is Band.NIR and body.gap > 0.3 else EYE
    lay(patch, body.seen(eye), 0.9 * _spot(side, down, forward, (0.36, 0.04), (0.13, 0.08)))
    lay(patch, body.seen(LIPS), 0.6 * _spot(side, down, forward, (0.0, 0.56), (0.24, 0.07)))
    if identity.beard:
        around = (down > 0.34) & (forward > -0.05) & ~((np.abs(side) < 0.2) & (np.abs(down - 0.54) < 0.06))
        lay(patch, body.seen(identity.hair.base), 0.8 * around.astype(np.float32))
    if identity.glasses:
        lay(patch, body.seen(LENS), 0.75 * _spot(side, down, forward, (0.38, 0.05), (0.27, 0.16)))


def _hair(body: Body, patch: Patch, side: Array, down: Array, forward: Array) -> None:
    identity = body.identity
    style = identity.hair_style
    if style in ("cap", "beanie"):
        _colour(body, patch, identity.hair, (down < 0.3) & (forward < 0.1))
        line = -0.22 if style == "cap" else -0.12
        _colour(
            body,
            patch,
            identity.hat,
            (down < line) | ((style == "beanie") & (down < 0.15) & (forward < -0.2)),
        )
        if style == "cap":
            _colour(body, patch, identity.hat, (forward > 0.45) & (down < -0.06) & (down > -0.3), 0.75)
        return
    if style == "bald":
        return
    nape = {"short": 0.45, "crop": 0.3}.get(style, 0.9)
    temple = {"short": 0.28, "crop": 0.05}.get(style, 0.42)
    fringe = -0.42 if style in ("short", "ponytail", "bun") else (-0.55 if style == "crop" else -0.34)
    behind = (forward < -0.12) & (down < nape)
    sides = (forward < temple) & (down < (0.2 if style in ("short", "crop") else 0.75)) & (np.abs(side) > 0.3)
    top = down < fringe + 0.15 * np.abs(side)
    _colour(body, patch, identity.hair, behind | sides | top)


def _colour(body: Body, patch: Patch, fabric: Fabric, mask: Array, strength: float = 1.0) -> None:
    body.canvas.paint(patch, body.cloth(fabric, patch), np.float32(strength) * mask)
