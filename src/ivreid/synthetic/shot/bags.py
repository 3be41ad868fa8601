"""Carried things."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.shot.figure import Figure, void
from ivreid.synthetic.shot.pose import Point


def add_bag(figure: Figure) -> None:
    """Collect what the person carries, where they carry it."""
    identity = figure.identity
    painter = {
        "backpack": _backpack,
        "messenger": _messenger,
        "handbag": _handbag,
        "tote": _tote,
        "carrier": _carrier,
    }
    if identity.bag in painter:
        painter[identity.bag](figure)


def _box(
    figure: Figure, depth: float, top: Point, size: tuple[float, float, float], round_off: float = 0.02
) -> None:
    """A bag hanging from `top`: (half-width to the side, half-depth, length) in body heights."""
    side, deep, length = (value * figure.identity.bag_size for value in size)
    half = figure.view.width(side, deep)
    start, end = figure.view.flat(top), figure.view.flat(top - (0, length, 0))
    profile = ((0.0, half * 0.86), (0.25, half), (0.9, half), (1.0, half * 0.92))
    fabric = figure.identity.bag_fabric
    figure.add(
        depth, lambda: void(figure.tube(start, end, profile, fabric, cap=(round_off, round_off * 0.7)))
    )


def _backpack(figure: Figure) -> None:
    height = figure.identity.build.height
    behind = 0.105 + 0.03 * (figure.identity.bag_size - 1) + figure.identity.upper.ease
    neck = figure.joints["neck"]
    top = neck + np.array([0.0, -0.065, -behind]) * height
    depth = figure.view.depth(top)
    _box(figure, depth if depth < 0.03 else depth + 0.2, top, (0.085, 0.05, 0.19))


def _messenger(figure: Figure) -> None:
    identity = figure.identity
    height = identity.build.height
    hip = figure.joints["pelvis"]
    top = hip + np.array([-identity.side * 0.115 * identity.build.hips, 0.03, -0.03]) * height
    depth = figure.view.depth(top)
    _box(figure, depth + (0.06 if depth > -0.06 else -0.02), top, (0.035, 0.09, 0.10))


def _hand(figure: Figure) -> tuple[Point, float]:
    name = "l_" if figure.identity.side > 0 else "r_"
    hand = figure.joints[name + "hand"]
    return hand, figure.view.depth(hand) * 1.3 + 0.03


def _straps(figure: Figure, depth: float, top: Point, end: Point) -> None:
    figure.limb(depth, top, end, (0.007, 0.007), figure.identity.bag_fabric)


def _handbag(figure: Figure) -> None:
    hand, depth = _hand(figure)
    _straps(figure, depth, hand, hand - (0, 0.05, 0))
    _box(figure, depth + 0.001, hand - (0, 0.05, 0), (0.035, 0.075, 0.085))


def _carrier(figure: Figure) -> None:
    hand, depth = _hand(figure)
    _straps(figure, depth, hand, hand - (0, 0.05, 0))
    _box(figure, depth + 0.001, hand - (0, 0.04, 0), (0.05, 0.075, 0.145), 0.008)


def _tote(figure: Figure) -> None:
    identity = figure.identity
    name = "l_" if identity.side > 0 else "r_"
    shoulder = figure.joints[name + "shoulder"]
    out = np.array([identity.side * 0.045, 0.0, -0.01])
    top = shoulder + out + (0, 0.02, 0)
    bag = shoulder + out - (0, 0.17, 0)
    depth = figure.view.depth(bag) * 1.4 + 0.035
    _straps(figure, depth, top, bag)
    _box(figure, depth + 0.001, bag, (0.032, 0.085, 0.14), 0.012)
