"""Who a person is: build, hair, garments, carried things, gait; the same in every picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivreid.synthetic.streams import generator, pick
from ivreid.synthetic.surface import DENIMS, Colour, Fabric, Surface, draw_fabric, jitter, plain
from ivreid.synthetic.wardrobe import (
    BAG_PATTERNS,
    INNER_PATTERNS,
    LOWER_PATTERNS,
    LOWERS,
    OPEN_FRONTS,
    UPPER_PATTERNS,
    UPPERS,
    Garment,
    draw_garment,
)

SKINS: tuple[Colour, ...] = (
    (0.93, 0.78, 0.69),
    (0.87, 0.69, 0.57),
    (0.77, 0.58, 0.45),
    (0.58, 0.40, 0.29),
    (0.38, 0.25, 0.19),
)
HAIRS: tuple[Colour, ...] = (
    (0.06, 0.05, 0.05),
    (0.16, 0.11, 0.08),
    (0.30, 0.20, 0.13),
    (0.72, 0.58, 0.36),
    (0.62, 0.61, 0.60),
)
HAIR_STYLES = ("bald", "short", "crop", "bob", "long", "ponytail", "bun", "cap", "beanie")
BAGS = ("none", "backpack", "messenger", "handbag", "tote", "carrier")


@dataclass(frozen=True, slots=True)
class Build:
    """Body proportions, as factors of the average adult."""

    height: float
    shoulders: float
    girth: float
    hips: float
    legs: float
    head: float


@dataclass(frozen=True, slots=True)
class Gait:
    """How a person walks: stride and arm swing in radians, forward lean in radians, elbow bend in radians."""

    stride: float
    swing: float
    lean: float
    elbow: float


@dataclass(frozen=True, slots=True)
class Identity:
    """One person, complete.

    Attributes:
        female: Decides which cuts are likely, and RegDB's file names.
        opening: Half-angle of an open front in radians; 0: closed.
        side: +1 or -1, the side things are carried on.
    """

    pid: int
    female: bool
    build: Build
    gait: Gait
    skin: Fabric
    hair: Fabric
    hair_style: str
    hat: Fabric
    beard: bool
    glasses: bool
    upper: Garment
    sleeves: Fabric
    inner: Fabric
    opening: float
    lower: Garment
    socks: Fabric
    shoes: Fabric
    boots: bool
    sole: Surface
    belt: bool
    scarf: Fabric | None
    bag: str
    bag_fabric: Fabric
    bag_size: float
    side: int


def _build(rng: np.random.Generator, female: bool) -> Build:
    height = rng.normal(0.955 if female else 1.03, 0.045)
    girth = float(np.clip(rng.normal(1.0, 0.13), 0.76, 1.4))
    return Build(
        height=float(height),
        shoulders=float(
            np.clip(rng.normal(0.93 if female else 1.05, 0.055) * (0.8 + 0.2 * girth), 0.8, 1.22)
        ),
        girth=girth,
        hips=float(np.clip(rng.normal(1.08 if female else 0.96, 0.06) * (0.7 + 0.3 * girth), 0.82, 1.35)),
        legs=float(np.clip(rng.normal(1.0, 0.03), 0.93, 1.07)),
        head=float(np.clip(rng.normal(1.0, 0.04) / height, 0.88, 1.16)),
    )


def _skin(rng: np.random.Generator) -> Fabric:
    tone = jitter(rng, pick(rng, SKINS, (3, 4, 3, 2, 1.5)), 0.025)
    return plain(Surface(tone, float(rng.uniform(0.68, 0.80)), float(rng.uniform(0.88, 0.96))))


def _hair(rng: np.random.Generator, female: bool) -> tuple[Fabric, str]:
    tone = jitter(rng, pick(rng, HAIRS, (5, 4, 2.5, 1.5, 1.2)), 0.02)
    weights = (
        (0.0, 0.5, 0.4, 2, 3.5, 2.5, 1.2, 0.5, 0.5) if female else (0.7, 4, 2.5, 0.5, 0.3, 0.2, 0.1, 1.3, 0.7)
    )
    surface = Surface(tone, float(rng.uniform(0.22, 0.62)), float(rng.uniform(0.56, 0.68)))
    return plain(surface, folds=0.5), pick(rng, HAIR_STYLES, weights)


def draw_identity(seed: int, pid: int) -> Identity:
    """The identity `pid` of the dataset with this seed."""
    rng = generator(seed, "identity", pid)
    female = bool(rng.random() < 0.5)
    upper = draw_garment(rng, UPPERS, female, UPPER_PATTERNS)
    denim = jitter(rng, pick(rng, DENIMS)) if rng.random() < 0.4 else None
    lower = draw_garment(rng, LOWERS, female, LOWER_PATTERNS, denim)
    fabric = upper.fabric
    other = draw_fabric(rng, warmth=fabric.base.heat + 0.05)
    contrast = upper.kind == "gilet" or (fabric.pattern in ("plain", "yoke", "print") and rng.random() < 0.15)
    opening = float(rng.uniform(0.14, 0.42)) if rng.random() < OPEN_FRONTS.get(upper.kind, 0.0) else 0.0
    hair, style = _hair(rng, female)
    return Identity(
        pid=pid,
        female=female,
        build=_build(rng, female),
        gait=Gait(
            stride=float(rng.uniform(0.28, 0.5)),
            swing=float(rng.uniform(0.15, 0.55)),
            lean=float(rng.normal(0.04, 0.035)),
            elbow=float(rng.uniform(0.12, 0.6)),
        ),
        skin=_skin(rng),
        hair=hair,
        hair_style=style,
        hat=draw_fabric(rng, warmth=0.42),
        beard=bool(not female and rng.random() < 0.2),
        glasses=bool(rng.random() < 0.2),
        upper=upper,
        sleeves=other if contrast else fabric,
        inner=draw_fabric(rng, warmth=0.66, patterns=INNER_PATTERNS),
        opening=opening,
        lower=lower,
        socks=draw_fabric(rng, warmth=0.6),
        shoes=draw_fabric(rng, warmth=0.34),
        boots=bool(rng.random() < (0.3 if female else 0.1)),
        sole=Surface(
            jitter(rng, (0.85, 0.85, 0.83)) if rng.random() < 0.5 else (0.09, 0.08, 0.08),
            float(rng.uniform(0.2, 0.8)),
            0.3,
        ),
        belt=bool(rng.random() < 0.3),
        scarf=draw_fabric(rng, warmth=0.4) if rng.random() < 0.1 else None,
        bag=pick(rng, BAGS, (2.6, 2.4, 1.4, 1.8 if female else 0.5, 1.0, 0.9)),
        bag_fabric=draw_fabric(rng, warmth=0.22, patterns=BAG_PATTERNS),
        bag_size=float(rng.uniform(0.8, 1.25)),
        side=1 if rng.random() < 0.5 else -1,
    )
