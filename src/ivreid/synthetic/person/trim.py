"""What shows on an upper garment: an open front, a zip, quilting, a neckline, a belt, straps."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.person.body import Body
from ivreid.synthetic.person.canvas import Array, Patch
from ivreid.synthetic.surface import Fabric

ZIPPED = ("jacket", "hoodie", "puffer", "coat", "gilet")
QUILTED = ("puffer", "gilet")
NECKLINES = {"t-shirt": 0.022, "tank": 0.05, "dress": 0.04, "shirt": 0.035, "blazer": 0.06}
"""How deep each cut shows what is under it, in body heights."""


def trim_trunk(body: Body, patch: Patch, length: float) -> None:
    """Paint the trimmings on the painted upper garment `patch`, which is `length` body heights long."""
    identity = body.identity
    upper = identity.upper
    along, from_front = patch.along, np.abs(body.turn(patch))
    if identity.opening:
        _lay(body, patch, identity.inner, from_front < _opening(body, along / length))
    elif upper.kind in ZIPPED:
        _crease(body, patch, from_front < 0.07)
    if upper.kind in QUILTED:
        _crease(body, patch, (along / 0.042) % 1 < 0.22)
    if upper.kind in NECKLINES:
        below = identity.inner if upper.kind == "blazer" else identity.skin
        depth = NECKLINES[upper.kind] * (1 - from_front / 0.75)
        _lay(body, patch, below, (from_front < 0.75) & (along < depth))
    if identity.belt and upper.kind in ("coat", "dress"):
        _lay(body, patch, identity.bag_fabric, np.abs(along - 0.235 * identity.build.height) < 0.012)
    if identity.bag == "backpack":
        straps = (np.abs(from_front - 0.62) < 0.13) & (along > 0.01) & (along < 0.19)
        _lay(body, patch, identity.bag_fabric, straps)
    if identity.bag == "messenger":
        _lay(body, patch, identity.bag_fabric, _sash(body, patch))


def _lay(body: Body, patch: Patch, fabric: Fabric, mask: Array) -> None:
    """Cover the masked part with another fabric."""
    body.canvas.paint(patch, body.cloth(fabric, patch, body.view.heading), mask.astype(np.float32))


def _crease(body: Body, patch: Patch, mask: Array) -> None:
    """Darken the masked part, as light does in a seam; heat shows none."""
    strength = np.float32(body.canvas.light.contact) * mask
    body.canvas.dim(patch, 1 - patch.alpha * strength)


def _opening(body: Body, share: Array) -> Array:
    """Half-angle of an open front at this share of its length: a V on blazers, straight on the rest."""
    identity = body.identity
    taper = 0.8 if identity.upper.kind == "blazer" else 0.0
    return identity.opening * (1 + 0.4 * share) * np.clip(1 - taper * share, 0.0, 1.4)


def _sash(body: Body, patch: Patch) -> Array:
    """A strap from one shoulder to the other hip, over the chest and over the back."""
    side, turn = body.identity.side, body.turn(patch)
    behind = np.where(turn > 0, np.pi - turn, -np.pi - turn)
    across = 0.5 + side * np.where(np.abs(turn) < np.pi / 2, -turn, behind)
    return np.asarray(np.abs(patch.along - (0.048 + 0.12 * across)) < 0.016)
