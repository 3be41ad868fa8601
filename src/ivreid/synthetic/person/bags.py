"""Carried things."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.person.body import Body, void
from ivreid.synthetic.person.pose import Point


def add_bag(body: Body) -> None:
    """Collect what the person carries, where they carry it."""
    identity = body.identity
    painter = {
        "backpack": _backpack,
        "messenger": _messenger,
        "handbag": _handbag,
        "tote": _tote,
        "carrier": _carrier,
    }
    if identity.bag in painter:
        painter[identity.bag](body)


def _box(
    body: Body, depth: float, top: Point, size: tuple[float, float, float], round_off: float = 0.02
) -> None:
    """A bag hanging from `top`: (half-width to the side, half-depth, length) in body heights."""
    side, deep, length = (value * body.identity.bag_size for value in size)
    half = body.view.width(side, deep)
    start, end = body.view.flat(top), body.view.flat(top - (0, length, 0))
    profile = ((0.0, half * 0.86), (0.25, half), (0.9, half), (1.0, half * 0.92))
    fabric = body.identity.bag_fabric
    body.add(depth, lambda: void(body.tube(start, end, profile, fabric, cap=(round_off, round_off * 0.7))))


def _backpack(body: Body) -> None:
    height = body.identity.build.height
    behind = 0.105 + 0.03 * (body.identity.bag_size - 1) + body.identity.upper.ease
    neck = body.joints["neck"]
    top = neck + np.array([0.0, -0.065, -behind]) * height
    depth = body.view.depth(top)
    _box(body, depth if depth < 0.03 else depth + 0.2, top, (0.085, 0.05, 0.19))


def _messenger(body: Body) -> None:
    identity = body.identity
    height = identity.build.height
    hip = body.joints["pelvis"]
    top = hip + np.array([-identity.side * 0.115 * identity.build.hips, 0.03, -0.03]) * height
    depth = body.view.depth(top)
    _box(body, depth + (0.06 if depth > -0.06 else -0.02), top, (0.035, 0.09, 0.10))


def _hand(body: Body) -> tuple[Point, float]:
    name = "l_" if body.identity.side > 0 else "r_"
    hand = body.joints[name + "hand"]
    return hand, body.view.depth(hand) * 1.3 + 0.03


def _straps(body: Body, depth: float, top: Point, end: Point) -> None:
    body.limb(depth, top, end, (0.007, 0.007), body.identity.bag_fabric)


def _handbag(body: Body) -> None:
    hand, depth = _hand(body)
    _straps(body, depth, hand, hand - (0, 0.05, 0))
    _box(body, depth + 0.001, hand - (0, 0.05, 0), (0.035, 0.075, 0.085))


def _carrier(body: Body) -> None:
    hand, depth = _hand(body)
    _straps(body, depth, hand, hand - (0, 0.05, 0))
    _box(body, depth + 0.001, hand - (0, 0.04, 0), (0.05, 0.075, 0.145), 0.008)


def _tote(body: Body) -> None:
    identity = body.identity
    name = "l_" if identity.side > 0 else "r_"
    shoulder = body.joints[name + "shoulder"]
    out = np.array([identity.side * 0.045, 0.0, -0.01])
    top = shoulder + out + (0, 0.02, 0)
    bag = shoulder + out - (0, 0.17, 0)
    depth = body.view.depth(bag) * 1.4 + 0.035
    _straps(body, depth, top, bag)
    _box(body, depth + 0.001, bag, (0.032, 0.085, 0.14), 0.012)
