"""The trunk: shirts, jackets, coats, dresses and skirts, with their openings, straps and belts."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.person.body import Body, void
from ivreid.synthetic.person.canvas import Profile
from ivreid.synthetic.person.trim import trim_trunk
from ivreid.synthetic.surface import Fabric
from ivreid.synthetic.wardrobe import SKIRTS

OUTLINE = (
    # (share of the way from neck to crotch, half-width to the side, half-depth), average adult
    (0.00, 0.034, 0.036),
    (0.05, 0.066, 0.045),
    (0.10, 0.102, 0.052),
    (0.18, 0.114, 0.060),
    (0.40, 0.100, 0.068),
    (0.65, 0.084, 0.062),
    (0.85, 0.092, 0.068),
    (1.00, 0.094, 0.070),
)
REACH = 0.36
"""Length of the trunk from neck to crotch, in body heights."""


def add_trunk(body: Body) -> None:
    """Collect the upper garment, the neck, and what covers the hips."""
    identity, joints = body.identity, body.joints
    height = identity.build.height
    lower = identity.lower
    if identity.upper.kind == "dress" or lower.kind not in SKIRTS:
        body.add(-0.015, lambda: _hips(body))
    else:
        waist = float(joints["pelvis"][1]) + 0.07 * height
        body.add(-0.012, lambda: _skirt(body, waist, lower.hem * height, lower.fabric, lower.ease))
    body.add(0.0, lambda: _torso(body))
    neck, chin = joints["neck"], joints["chin"]
    body.limb(-0.012, neck - (chin - neck) * 0.9, chin, (0.034 * height, 0.030 * height), identity.skin)
    if identity.scarf is not None:
        top, bottom = neck + np.array([0, 0.016, 0.004]), neck - np.array([0, 0.006, -0.006])
        body.limb(0.03, top, bottom, (0.047, 0.052), identity.scarf)


def _profile(body: Body, ease: float, start: float, end: float) -> Profile:
    """Visible half-widths from `start` to `end` (shares of the trunk), `ease` off the body."""
    build = body.identity.build
    shares, sides, depths = np.array(OUTLINE).T
    places = np.linspace(start, end, 14)
    side, deep = np.interp(places, shares, sides), np.interp(places, shares, depths)
    below = np.clip((places - 0.35) / 0.4, 0, 1)
    side = side * (build.shoulders * (1 - below) + build.hips * below) * (0.8 + 0.2 * build.girth)
    belly = 1.4 * max(0.0, build.girth - 1.05) * np.exp(-(((places - 0.65) / 0.25) ** 2))
    deep = deep * (0.4 + 0.6 * build.girth) * (1 + belly)
    loose = ease * np.clip((places - 0.02) / 0.15, 0.2, 1)
    return tuple(
        (float((place - start) / (end - start)), body.view.width(s + e, d + e) * build.height)
        for place, s, d, e in zip(places, side, deep, loose, strict=True)
    )


def _hips(body: Body) -> None:
    """Trousers' seat."""
    identity = body.identity
    lower = identity.lower
    neck, pelvis = body.joints["neck"], body.joints["pelvis"]
    down = (pelvis - neck) / 0.315
    start, end = neck + down * REACH * 0.66, neck + down * REACH * 1.0
    profile = _profile(body, lower.ease * 0.5 - 0.004, 0.66, 1.0)
    body.tube(body.view.flat(start), body.view.flat(end), profile, lower.fabric, cap=(0, 0.03), body=True)


def _skirt(body: Body, top: float, hem: float, fabric: Fabric, ease: float, *, shift: float = 0.0) -> None:
    """A skirt, or the lower part of a dress or a coat: wide enough for the legs that walk in it."""
    identity, joints, view = body.identity, body.joints, body.view
    height = identity.build.height
    pelvis = joints["pelvis"]
    centre = view.flat(np.array([pelvis[0], 0.0, pelvis[2]]))[0]
    waist = view.width(0.082 * identity.build.hips, 0.066 * identity.build.girth) * height
    loose = ease * 0.4
    hips = view.width(0.098 * identity.build.hips + loose, 0.076 * identity.build.girth + loose) * height
    knees = [view.flat(joints[name])[0] - centre for name in ("l_knee", "r_knee")]
    legs = (max(knees) - min(knees)) / 2 + 0.045 * height
    share = float(np.clip((0.5 * height - hem) / (0.25 * height), 0, 1.3))
    bottom = max(hips * 0.92, legs * min(1.0, share + 0.15)) + ease
    middle = (max(knees) + min(knees)) / 2 * min(share, 1.0)
    at_hips = float(np.clip((top - pelvis[1]) / max(top - hem, 0.05), 0.1, 0.9))
    start = (centre, view.flat(np.array([0, top, pelvis[2]]))[1])
    end = (centre + middle, view.flat(np.array([0, hem, pelvis[2]]))[1])
    body.tube(
        start, end, ((0.0, waist), (at_hips, hips), (1.0, bottom)), fabric, sag=0.02, body=True, shift=shift
    )


def _torso(body: Body) -> None:
    identity, joints = body.identity, body.joints
    upper = identity.upper
    height = identity.build.height
    neck, pelvis = joints["neck"], joints["pelvis"]
    down = (pelvis - neck) / (0.315 * height)
    hem_height = upper.hem * height
    long = hem_height < pelvis[1] - 0.06 * height
    if long:
        waist = pelvis[1] + 0.075 * height
        flare = 0.02 if upper.kind == "dress" else 0.006
        _skirt(body, waist, hem_height, upper.fabric, upper.ease + flare, shift=neck[1] - waist)
        reach = 0.96
    else:
        reach = float((neck[1] - hem_height) / (REACH * height))
    start, end = body.view.flat(neck), body.view.flat(neck + down * REACH * height * reach)
    profile, sag = _profile(body, upper.ease, 0.0, reach), 0.0 if long else 0.012
    patch = body.tube(
        start, end, profile, upper.fabric, cap=(0.006, 0.0), sag=sag, body=True, contact=not long
    )
    if patch is not None:
        trim_trunk(body, patch, reach * REACH * height)


def add_hood(body: Body) -> None:
    """A hood lying on the shoulders."""
    identity = body.identity
    if identity.upper.kind not in ("hoodie", "puffer"):
        return
    height = identity.build.height
    behind = body.joints["neck"] + np.array([0.0, 0.0, -0.045]) * height
    first = body.view.flat(behind + np.array([0, 0.022, 0]))
    last = body.view.flat(behind - np.array([0, 0.035, 0]))
    half = body.view.width(0.062, 0.035) * height
    profile = ((0.0, half), (1.0, half * 0.8))
    fabric = identity.upper.fabric
    depth = body.view.depth(behind) * 1.2
    body.add(depth, lambda: void(body.tube(first, last, profile, fabric, cap=(0.02, 0.03))))
