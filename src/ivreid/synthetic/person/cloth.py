"""The look of cloth: patterns as functions of where on the body a point lies, and folds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ivreid.synthetic.person.canvas import CLOUDS, Array, Patch
from ivreid.synthetic.surface import Band, Fabric

PatternMask = Callable[[Fabric, Callable[[], Array], Array, Array], Array]
_CLOUDS = CLOUDS.ravel()


def _wave(position: Array, period: float, phase: float, share: float) -> Array:
    """1 on `share` of every period, 0 elsewhere."""
    place: Array = position * np.float32(1 / period) + np.float32(phase)
    return np.asarray(place - np.floor(place) < share, dtype=np.float32)  # as % 1 to the last bit, but fast


def clouds(x: Array, y: Array, size: float, phase: float) -> Array:
    """Cloud texture in [-1, 1] at surface positions in body heights; `size` of one tile in body heights."""
    scale = np.float32(256 / size)
    column = (x * scale + np.float32(phase * 256)).astype(np.intp) & 255
    row = (y * scale + np.float32(phase * 91 * 256)).astype(np.intp) & 255
    return np.asarray(_CLOUDS.take((row << 8) | column))


def _print(fabric: Fabric, turn: Callable[[], Array], across: Array, along: Array) -> Array:
    wide = np.abs(turn()) < 0.42 + 0.2 * fabric.phase
    high = (along > 0.075) & (along < 0.105 + fabric.period)
    return (wide & high).astype(np.float32)


def _dots(fabric: Fabric, turn: Callable[[], Array], across: Array, along: Array) -> Array:
    period = np.float32(1 / (fabric.period * 0.7))
    x, y = (across * period + fabric.phase) % 1 - 0.5, (along * period) % 1 - 0.5
    return (x * x + y * y < 0.085).astype(np.float32)


MASKS: dict[str, PatternMask] = {
    # (fabric, how to get the angle from the body's front, which few need, position across, position along) -> share of the second surface
    "stripes": lambda f, turn, x, y: _wave(y, f.period, f.phase, 0.45),
    "pinstripes": lambda f, turn, x, y: _wave(x, f.period * 0.5, f.phase, 0.32),
    "checks": lambda f, turn, x, y: (
        0.5 * (_wave(y, f.period, f.phase, 0.4) + _wave(x, f.period, f.phase, 0.4))
    ),
    "dots": _dots,
    "print": _print,
    "block": lambda f, turn, x, y: (y > 0.10 + 0.09 * f.phase).astype(np.float32),
    "yoke": lambda f, turn, x, y: (y < 0.05 + 0.03 * f.phase).astype(np.float32),
    "panel": lambda f, turn, x, y: (np.abs(np.sin(turn())) > 0.86).astype(np.float32),
    "camo": lambda f, turn, x, y: (clouds(x, y, 0.5, f.phase) > 0.05).astype(np.float32),
}


def cloth_colour(
    fabric: Fabric, patch: Patch, *, band: Band, gap: float, folds: float, heading: float = 0.0
) -> Array:
    """The (C, h, w) or (C,) colour of a patch clothed in this fabric, before light.

    Args:
        fabric: The cloth.
        patch: Where it lies.
        band: Who looks.
        gap: See `Surface.seen`.
        folds: How much the light shows wrinkles.
        heading: The body's heading, so that patterns turn with the body.
    """
    colour = fabric.base.seen(band, gap)
    mask = MASKS.get(fabric.pattern)
    if mask is not None:
        share = mask(fabric, lambda: _turn(patch, heading), patch.across, patch.along)
        difference = fabric.second.seen(band, gap) - colour
        colour = colour[:, None, None] + share * difference[:, None, None]
    depth = folds * fabric.folds
    if depth > 0.01:
        wrinkles = clouds(patch.across * 1.3 + patch.along * 0.6, patch.along, 0.9, fabric.phase)
        colour = (colour[:, None, None] if mask is None else colour) * (1 + np.float32(depth) * wrinkles)
    return colour


def _turn(patch: Patch, heading: float) -> Array:
    """(h, w) angle from the body's front, radians."""
    turn = (patch.turn - heading + np.pi) % (2 * np.pi) - np.pi if heading else patch.turn
    return turn.astype(np.float32)
