"""What shows on an upper garment: an open front, a zip, quilting, a neckline, a belt, straps."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.shot.canvas import Array, Patch
from ivreid.synthetic.shot.figure import Figure
from ivreid.synthetic.surface import Fabric

ZIPPED = ("jacket", "hoodie", "puffer", "coat", "gilet")
QUILTED = ("puffer", "gilet")
NECKLINES = {"t-shirt": 0.022, "tank": 0.05, "dress": 0.04, "shirt": 0.035, "blazer": 0.06}
"""How deep each cut shows what is under it, in body heights."""


def trim_trunk(figure: Figure, patch: Patch, length: float) -> None:
    """Paint the trimmings on the painted upper garment `patch`, which is `length` body heights long."""
    identity = figure.identity
    upper = identity.upper
    along, from_front = patch.along, np.abs(figure.turn(patch))
    if identity.opening:
        _lay(figure, patch, identity.inner, from_front < _opening(figure, along / length))
    elif upper.kind in ZIPPED:
        _crease(figure, patch, from_front < 0.07)
    if upper.kind in QUILTED:
        _crease(figure, patch, (along / 0.042) % 1 < 0.22)
    if upper.kind in NECKLINES:
        below = identity.inner if upper.kind == "blazer" else identity.skin
        depth = NECKLINES[upper.kind] * (1 - from_front / 0.75)
        _lay(figure, patch, below, (from_front < 0.75) & (along < depth))
    if identity.belt and upper.kind in ("coat", "dress"):
        _lay(figure, patch, identity.bag_fabric, np.abs(along - 0.235 * identity.build.height) < 0.012)
    if identity.bag == "backpack":
        straps = (np.abs(from_front - 0.62) < 0.13) & (along > 0.01) & (along < 0.19)
        _lay(figure, patch, identity.bag_fabric, straps)
    if identity.bag == "messenger":
        _lay(figure, patch, identity.bag_fabric, _sash(figure, patch))


def _lay(figure: Figure, patch: Patch, fabric: Fabric, mask: Array) -> None:
    """Cover the masked part with another fabric."""
    figure.canvas.paint(patch, figure.cloth(fabric, patch, figure.view.heading), mask.astype(np.float32))


def _crease(figure: Figure, patch: Patch, mask: Array) -> None:
    """Darken the masked part, as light does in a seam; heat shows none."""
    strength = np.float32(figure.canvas.light.contact) * mask
    figure.canvas.pixels[patch.rows, patch.columns] *= (1 - patch.alpha * strength)[..., None]


def _opening(figure: Figure, share: Array) -> Array:
    """Half-angle of an open front at this share of its length: a V on blazers, straight on the rest."""
    identity = figure.identity
    taper = 0.8 if identity.upper.kind == "blazer" else 0.0
    return identity.opening * (1 + 0.4 * share) * np.clip(1 - taper * share, 0.0, 1.4)


def _sash(figure: Figure, patch: Patch) -> Array:
    """A strap from one shoulder to the other hip, over the chest and over the back."""
    side, turn = figure.identity.side, figure.turn(patch)
    behind = np.where(turn > 0, np.pi - turn, -np.pi - turn)
    across = 0.5 + side * np.where(np.abs(turn) < np.pi / 2, -turn, behind)
    return np.asarray(np.abs(patch.along - (0.048 + 0.12 * across)) < 0.016)
