"""What things are made of, and how each band of the spectrum sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.synthetic.streams import pick

Colour = tuple[float, float, float]
LUMA = (0.299, 0.587, 0.114)


def luminance(red: Any, green: Any, blue: Any) -> Any:
    """The grey of a colour. Not a matrix product, whose last bit depends on the machine's linear algebra."""
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


CLOTH_COLOURS: tuple[tuple[Colour, float], ...] = (
    # (RGB in [0, 1], how common on a street)
    ((0.07, 0.07, 0.08), 5.0),  # black
    ((0.20, 0.21, 0.23), 2.5),  # charcoal
    ((0.45, 0.46, 0.48), 2.5),  # grey
    ((0.70, 0.71, 0.72), 1.5),  # light grey
    ((0.92, 0.92, 0.90), 3.5),  # white
    ((0.10, 0.13, 0.28), 2.5),  # navy
    ((0.16, 0.33, 0.62), 1.8),  # blue
    ((0.52, 0.70, 0.86), 1.4),  # light blue
    ((0.72, 0.12, 0.14), 1.8),  # red
    ((0.42, 0.08, 0.14), 0.9),  # burgundy
    ((0.88, 0.56, 0.63), 1.0),  # pink
    ((0.86, 0.45, 0.14), 0.8),  # orange
    ((0.90, 0.78, 0.24), 0.9),  # yellow
    ((0.16, 0.38, 0.22), 1.0),  # green
    ((0.40, 0.42, 0.24), 1.0),  # olive
    ((0.25, 0.58, 0.56), 0.7),  # teal
    ((0.42, 0.28, 0.55), 0.7),  # purple
    ((0.74, 0.63, 0.47), 1.4),  # beige
    ((0.40, 0.27, 0.18), 1.2),  # brown
)
DENIMS: tuple[Colour, ...] = ((0.13, 0.17, 0.29), (0.24, 0.33, 0.50), (0.42, 0.53, 0.68), (0.16, 0.17, 0.20))


class Band(StrEnum):
    """The part of the spectrum a camera records."""

    VISIBLE = "visible"
    NIR = "nir"
    THERMAL = "thermal"


def effective_gap(band: Band, gap: float) -> float:
    """How far this band is from grey visible; heat, which is no reflected light at all, is farther."""
    return 1 - (1 - gap) ** 2 if band is Band.THERMAL else gap


@dataclass(frozen=True, slots=True)
class Surface:
    """A material: its visible colour, its near-infrared reflectance and its apparent heat, all in [0, 1]."""

    rgb: Colour
    nir: float
    heat: float

    def seen(self, band: Band, gap: float) -> NDArray[np.float32]:
        """The value a camera of this band records: (3,) visible, (1,) infrared.

        Args:
            band: Which band.
            gap: 0: infrared is the grey of the visible colour; 1: infrared knows nothing of it.
        """
        if band is Band.VISIBLE:
            return np.array(self.rgb, dtype=np.float32)
        own = self.nir if band is Band.NIR else self.heat
        grey = luminance(*self.rgb)
        return np.array([(1 - gap) * grey + gap * own], dtype=np.float32)


PLAIN: Mapping[str, float] = MappingProxyType({"plain": 1.0})


@dataclass(frozen=True, slots=True)
class Fabric:
    """A cloth: a base surface and, where it has a pattern, a second one.

    Attributes:
        base: The ground.
        second: The figure of the pattern.
        pattern: "plain", or one of `shot.cloth.MASKS`.
        period: Size of one repeat, in body heights.
        phase: Where the pattern starts, in repeats.
        folds: How strongly it wrinkles, 0 to 1.
    """

    base: Surface
    second: Surface
    pattern: str = "plain"
    period: float = 0.06
    phase: float = 0.0
    folds: float = 0.5


def jitter(rng: np.random.Generator, colour: Colour, amount: float = 0.04) -> Colour:
    """The colour, a little lighter or darker and a little off in hue."""
    shift = rng.normal(0, amount) + rng.normal(0, amount / 2, 3)
    red, green, blue = (float(np.clip(c + s, 0.02, 0.97)) for c, s in zip(colour, shift, strict=True))
    return red, green, blue


def draw_cloth_colour(rng: np.random.Generator) -> Colour:
    """A garment's visible colour."""
    colours, weights = zip(*CLOTH_COLOURS, strict=True)
    return jitter(rng, pick(rng, colours, weights))


def draw_fabric(
    rng: np.random.Generator,
    *,
    warmth: float,
    colour: Colour | None = None,
    patterns: Mapping[str, float] = PLAIN,
) -> Fabric:
    """A fabric whose near-infrared reflectance is drawn without a look at its visible colour.

    Dyes that absorb visible light are often transparent in the near infrared, so a black coat may shine and
    a print may vanish; whether it does is drawn per fabric too.

    Args:
        rng: The identity's generator.
        warmth: Apparent heat of its outside, 0 (a thick, loose coat) to 1 (bare skin).
        colour: Visible colour, drawn where absent.
        patterns: Patterns to choose from, with their weights.
    """
    rgb = colour or draw_cloth_colour(rng)
    other = draw_cloth_colour(rng)
    for _ in range(4):  # a pattern nobody can see in colour is none
        if sum(abs(a - b) for a, b in zip(rgb, other, strict=True)) > 0.5:
            break
        other = draw_cloth_colour(rng)
    nir = float(rng.uniform(0.16, 0.88))
    kept = float(rng.normal(0, 0.08)) if rng.random() < 0.6 else float(rng.normal(0, 0.35))
    heat = float(np.clip(warmth + rng.normal(0, 0.04), 0.05, 0.95))
    return Fabric(
        base=Surface(rgb, nir, heat),
        second=Surface(
            other, float(np.clip(nir + kept, 0.08, 0.95)), float(np.clip(heat + rng.normal(0, 0.02), 0, 1))
        ),
        pattern=pick(rng, list(patterns), list(patterns.values())),
        period=float(rng.uniform(0.035, 0.085)),
        phase=float(rng.random()),
        folds=float(rng.uniform(0.3, 1.0)),
    )


def plain(surface: Surface, folds: float = 0.0) -> Fabric:
    """A fabric of one surface without a pattern."""
    return Fabric(surface, surface, folds=folds)
