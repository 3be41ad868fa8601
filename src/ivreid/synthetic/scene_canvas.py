"""A drawing board that draws the same shapes in colour, near infrared and heat at once."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ivreid.synthetic.surface import Colour, Surface, jitter

WIDTH, HEIGHT = 1024, 420
"""Pixels of a scene."""
PERSON, GROUND = 230, 340
"""A person in a scene is so many pixels high and stands on this row."""

Corners = list[tuple[float, float]]


class SceneCanvas:
    """One place in all bands.

    Attributes:
        rng: The place's generator.
        horizon: Row where the ground ends and what stands on it begins.
        images: The place in colour, near infrared and heat.
    """

    def __init__(self, rng: np.random.Generator, horizon: float) -> None:
        self.rng = rng
        self.horizon = horizon
        self.images = tuple(Image.new(mode, (WIDTH, HEIGHT)) for mode in ("RGB", "L", "L"))
        self.pens = [ImageDraw.Draw(image) for image in self.images]

    def surface(
        self, colour: Colour, *, nir: float | None = None, heat: float = 0.22, spread: float = 0.03
    ) -> Surface:
        """A surface of about this colour; its near-infrared reflectance is drawn where not given."""
        own = float(self.rng.uniform(0.25, 0.6)) if nir is None else nir
        warm = float(np.clip(heat + self.rng.normal(0, 0.02), 0.02, 1))
        return Surface(jitter(self.rng, colour, spread), own, warm)

    @staticmethod
    def inks(surface: Surface) -> list[tuple[int, ...] | int]:
        """The surface's 8-bit value in each band."""
        return [
            tuple(round(255 * c) for c in surface.rgb),
            round(255 * surface.nir),
            round(255 * surface.heat),
        ]

    def box(self, x0: float, y0: float, x1: float, y1: float, surface: Surface) -> None:
        """An upright rectangle, in pixels."""
        self.shape([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], surface)

    def panel(self, x: float, width: float, low: float, high: float, surface: Surface) -> None:
        """An upright rectangle from `low` to `high` person heights above the horizon."""
        self.box(x, self.horizon - high * PERSON, x + width, self.horizon - low * PERSON, surface)

    def shape(self, corners: Corners, surface: Surface) -> None:
        """A polygon."""
        for pen, ink in zip(self.pens, self.inks(surface), strict=True):
            pen.polygon(corners, fill=ink)

    def blob(self, x: float, y: float, rx: float, ry: float, surface: Surface) -> None:
        """An ellipse."""
        for pen, ink in zip(self.pens, self.inks(surface), strict=True):
            pen.ellipse((x - rx, y - ry, x + rx, y + ry), fill=ink)

    def ring(self, x: float, y: float, radius: float, surface: Surface) -> None:
        """A circle's outline."""
        for pen, ink in zip(self.pens, self.inks(surface), strict=True):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=4)

    def line(self, points: Corners, width: int, surface: Surface) -> None:
        """A line through the points."""
        for pen, ink in zip(self.pens, self.inks(surface), strict=True):
            pen.line(points, fill=ink, width=width)

    def floor(self, colour: Colour, tiles: float) -> None:
        """Ground; its joints, `tiles` pixels apart (0: none), run to a vanishing point above the horizon."""
        ground = self.surface(colour)
        self.box(0, self.horizon, WIDTH, HEIGHT, ground)
        if not tiles:
            return
        joint = self.surface(darker(ground.rgb, 0.88), nir=ground.nir * 0.9, spread=0.0)
        vanish = float(self.rng.uniform(0.2, 0.8)) * WIDTH
        for x in np.arange(-2 * WIDTH, 3 * WIDTH, tiles * 2.2):
            self.line([(vanish + (float(x) - vanish) * 0.3, self.horizon), (float(x), HEIGHT)], 2, joint)
        y, step = self.horizon + tiles * 0.12, tiles * 0.16
        while y < HEIGHT:
            self.line([(0, y), (WIDTH, y)], 2, joint)
            y, step = y + step, step * 1.28

    def foliage(self, x: float, width: float, low: float, high: float, leaves: int) -> None:
        """Leaves from `low` to `high` person heights above the horizon; they shine in the near infrared."""
        rng = self.rng
        top, bottom = self.horizon - high * PERSON, self.horizon - low * PERSON
        for index in range(leaves):  # dark ones first, bright ones on top
            light = 0.35 + 0.65 * index / leaves
            green = (0.20 * light + 0.05, 0.40 * light + 0.05, 0.14 * light + 0.03)
            leaf = self.surface(green, nir=float(np.clip(0.30 + 0.5 * light, 0, 1)), heat=0.2, spread=0.05)
            size = float(rng.uniform(4, 15))
            at = float(rng.uniform(x, x + width)), float(rng.uniform(top, bottom))
            self.blob(*at, size, size * 0.7, leaf)


def darker(colour: Colour, factor: float) -> Colour:
    """The colour, darkened."""
    red, green, blue = colour
    return red * factor, green * factor, blue * factor
