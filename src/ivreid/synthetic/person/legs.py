"""Legs, trousers, skirts and shoes."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.appearance import Identity
from ivreid.synthetic.person.body import Body, void
from ivreid.synthetic.person.pose import Point
from ivreid.synthetic.surface import Fabric, plain
from ivreid.synthetic.wardrobe import SKIRTS

THIGH, KNEE, CALF, ANKLE = 0.052, 0.037, 0.036, 0.023
"""Half-widths of an average bare leg, in body heights."""


def add_legs(body: Body) -> None:
    """Collect both legs with what covers them, and both shoes."""
    for name in ("l_", "r_"):
        _leg(body, name)
        _shoe(body, name)


def _between(high: Point, low: Point, height: float) -> Point:
    """The point of the bone at this height."""
    share = np.clip((high[1] - height) / max(high[1] - low[1], 1e-6), 0, 1)
    return np.asarray(high + (low - high) * share)


def _widths(identity: Identity) -> tuple[float, float, float, float]:
    size = identity.build.height * (0.55 + 0.45 * identity.build.girth)
    hips = size * (0.5 + 0.5 * identity.build.hips)
    return THIGH * hips, KNEE * size, CALF * size, ANKLE * size


def _leg(body: Body, name: str) -> None:
    identity, joints = body.identity, body.joints
    lower, skin = identity.lower, identity.skin
    hip, knee, ankle = (joints[name + key] for key in ("hip", "knee", "ankle"))
    thigh, at_knee, calf, at_ankle = _widths(identity)
    # legs never cover the trunk, but the nearer one covers the other
    depth = body.view.depth(knee) * 0.3 - 0.06
    dressed = identity.upper.kind == "dress" or lower.kind in SKIRTS
    hem = lower.hem * identity.build.height
    shin = knee + (ankle - knee) * 0.35
    bare_shin = dressed or hem > 0.1
    if bare_shin:
        body.limb(depth, knee, shin, (at_knee * 0.95, calf), skin)
        body.limb(depth, shin, ankle, (calf, at_ankle), identity.socks if identity.boots else skin)
        body.limb(depth + 0.001, hip, knee, (thigh, at_knee), skin)
    if dressed:
        return
    ease = lower.ease
    wide = lower.kind == "wide"
    if hem > at_height(knee) + 0.01:  # shorts end above the knee
        end = _between(hip, knee, hem)
        body.limb(
            depth + 0.002, hip, end, (thigh + ease * 0.6, at_knee + ease * 1.5), lower.fabric, open_end=True
        )
        return
    end = ankle if hem < 0.1 else _between(knee, ankle, hem)
    cuff = at_ankle + ease * (2.2 if wide else 1.1) + 0.004
    body.limb(depth + 0.002, knee, end, (at_knee + ease, cuff), lower.fabric, open_end=True)
    body.limb(depth + 0.003, hip, knee, (thigh + ease * 0.6, at_knee + ease), lower.fabric)


def at_height(point: Point) -> float:
    """Height over the ground."""
    return float(point[1])


def _shoe(body: Body, name: str) -> None:
    identity, joints = body.identity, body.joints
    heel, toe, ankle = joints[name + "heel"], joints[name + "toe"], joints[name + "ankle"]
    depth = body.view.depth(joints[name + "knee"]) * 0.3 - 0.0605
    sole = plain(identity.sole)
    below = np.array([0.0, -0.008, 0.0])
    if identity.boots:
        body.limb(
            depth, ankle + (joints[name + "knee"] - ankle) * 0.45, ankle, (0.034, 0.028), identity.shoes
        )
    _foot(body, depth, (heel + below, toe + below), 0.021, sole)
    _foot(body, depth + 0.0002, (heel, toe), 0.023, identity.shoes)


def _foot(body: Body, depth: float, ends: tuple[Point, Point], radius: float, fabric: Fabric) -> None:
    start, end = body.view.flat(ends[0]), body.view.flat(ends[1])
    profile = ((0.0, radius * 1.05), (0.45, radius), (1.0, radius * 0.85))
    body.add(depth, lambda: void(body.tube(start, end, profile, fabric, cap=(radius, radius * 0.9))))
