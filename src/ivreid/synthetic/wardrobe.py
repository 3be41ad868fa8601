"""The wardrobe: cuts of garments, how common they are, and how one is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ivreid.synthetic.streams import pick
from ivreid.synthetic.surface import Colour, Fabric, draw_fabric


@dataclass(frozen=True, slots=True)
class Cut:
    """A family of garments; pairs are ranges to draw from.

    Attributes:
        hem: Height of the lower edge, in body heights from the ground.
        sleeve: Covered part of the arm (upper garments), 0 to 1.
        ease: How far the cloth stands off the body, in body heights.
        warmth: Apparent heat outside, in thermal images.
        weight: How common it is, for men and for women.
    """

    hem: tuple[float, float]
    sleeve: tuple[float, float]
    ease: tuple[float, float]
    warmth: tuple[float, float]
    weight: tuple[float, float]


UPPERS: dict[str, Cut] = {
    "t-shirt": Cut((0.46, 0.52), (0.30, 0.46), (0.004, 0.014), (0.62, 0.72), (3, 2.2)),
    "tank": Cut((0.46, 0.52), (0.0, 0.05), (0.002, 0.008), (0.66, 0.76), (0.5, 1)),
    "shirt": Cut((0.44, 0.52), (0.94, 1.0), (0.006, 0.016), (0.54, 0.64), (2, 1.4)),
    "sweater": Cut((0.45, 0.51), (0.94, 1.0), (0.010, 0.020), (0.42, 0.52), (1.5, 1.5)),
    "hoodie": Cut((0.44, 0.50), (0.96, 1.0), (0.014, 0.026), (0.38, 0.48), (2, 1.2)),
    "jacket": Cut((0.44, 0.53), (0.96, 1.0), (0.012, 0.024), (0.33, 0.43), (2.2, 1.6)),
    "blazer": Cut((0.42, 0.47), (0.96, 1.0), (0.010, 0.018), (0.40, 0.48), (1, 0.7)),
    "puffer": Cut((0.45, 0.51), (0.96, 1.0), (0.028, 0.042), (0.24, 0.32), (1, 1)),
    "gilet": Cut((0.46, 0.51), (0.94, 1.0), (0.018, 0.030), (0.30, 0.38), (0.8, 0.6)),
    "coat": Cut((0.24, 0.40), (0.96, 1.0), (0.014, 0.028), (0.26, 0.36), (1, 2)),
    "dress": Cut((0.20, 0.36), (0.0, 0.5), (0.004, 0.012), (0.56, 0.68), (0, 2.6)),
}
LOWERS: dict[str, Cut] = {
    "skinny": Cut((0.05, 0.08), (0, 0), (0.002, 0.006), (0.60, 0.68), (1.5, 3)),
    "straight": Cut((0.025, 0.05), (0, 0), (0.008, 0.014), (0.50, 0.58), (4, 1.8)),
    "wide": Cut((0.015, 0.05), (0, 0), (0.018, 0.032), (0.40, 0.48), (1, 1.5)),
    "cropped": Cut((0.12, 0.17), (0, 0), (0.006, 0.014), (0.52, 0.60), (0.5, 1.2)),
    "shorts": Cut((0.27, 0.38), (0, 0), (0.010, 0.022), (0.52, 0.60), (1.8, 1)),
    "mini-skirt": Cut((0.33, 0.40), (0, 0), (0.012, 0.03), (0.52, 0.62), (0, 1.2)),
    "skirt": Cut((0.20, 0.29), (0, 0), (0.012, 0.045), (0.46, 0.56), (0, 1.3)),
    "long-skirt": Cut((0.05, 0.12), (0, 0), (0.02, 0.05), (0.40, 0.50), (0, 0.8)),
}
UPPER_PATTERNS = {
    "plain": 4.5,
    "stripes": 1.4,
    "pinstripes": 0.5,
    "checks": 1.2,
    "dots": 0.5,
    "print": 1.8,
    "block": 1.4,
    "panel": 0.5,
    "camo": 0.4,
    "yoke": 0.8,
}
LOWER_PATTERNS = {"plain": 8.0, "panel": 1.0, "checks": 0.7, "camo": 0.4}
INNER_PATTERNS = {"plain": 4.0, "stripes": 1.0, "print": 1.0}
BAG_PATTERNS = {"plain": 4.0, "yoke": 1.0, "block": 1.0}
OPEN_FRONTS = {"jacket": 0.55, "coat": 0.5, "blazer": 0.85, "puffer": 0.25, "gilet": 0.4, "shirt": 0.15}
"""How often each cut is worn open."""
SKIRTS = ("mini-skirt", "skirt", "long-skirt")


@dataclass(frozen=True, slots=True)
class Garment:
    """One garment as worn: its cut's name and the drawn numbers (units as in `Cut`)."""

    kind: str
    fabric: Fabric
    hem: float
    sleeve: float
    ease: float


def draw_garment(
    rng: np.random.Generator,
    cuts: Mapping[str, Cut],
    female: bool,
    patterns: Mapping[str, float],
    colour: Colour | None = None,
) -> Garment:
    """A garment of one of these cuts, in the given colour or any."""
    names = list(cuts)
    kind = pick(rng, names, [cuts[name].weight[int(female)] for name in names])
    cut = cuts[kind]
    warmth = float(rng.uniform(*cut.warmth))
    return Garment(
        kind=kind,
        fabric=draw_fabric(rng, warmth=warmth, colour=colour, patterns=patterns),
        hem=float(rng.uniform(*cut.hem)),
        sleeve=float(rng.uniform(*cut.sleeve)),
        ease=float(rng.uniform(*cut.ease)),
    )
