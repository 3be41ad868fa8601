"""Where cameras hang: indoor corridors and halls, outdoor streets and parks, drawn once per place in every band."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ivreid.datasets.synthetic.rng import generator, pick
from ivreid.datasets.synthetic.surface import LUMA, Band, Colour, Surface, jitter

WIDTH, HEIGHT = 1024, 420
"""Pixels of a scene; a person in it is `PERSON` high and stands on `GROUND`."""
PERSON, GROUND = 230, 340

WALLS: tuple[Colour, ...] = (
    (0.78, 0.77, 0.72),
    (0.70, 0.74, 0.76),
    (0.82, 0.80, 0.78),
    (0.66, 0.62, 0.55),
    (0.60, 0.67, 0.63),
)
FLOORS: tuple[Colour, ...] = (
    (0.56, 0.54, 0.50),
    (0.66, 0.64, 0.61),
    (0.47, 0.42, 0.38),
    (0.60, 0.56, 0.47),
    (0.42, 0.44, 0.46),
)
FACADES: tuple[Colour, ...] = ((0.62, 0.42, 0.34), (0.68, 0.65, 0.60), (0.55, 0.55, 0.57), (0.72, 0.66, 0.55))
PAVINGS: tuple[Colour, ...] = ((0.52, 0.51, 0.49), (0.44, 0.43, 0.42), (0.58, 0.52, 0.47), (0.36, 0.37, 0.38))


@dataclass(frozen=True)
class Scene:
    """One place: what each band sees of it, (HEIGHT, WIDTH, 3) or (HEIGHT, WIDTH, 1), as images ready to crop."""

    visible: Image.Image
    nir: Image.Image
    heat: Image.Image

    def seen(self, band: Band, gap: float) -> Image.Image:
        """The scene in this band (see `Surface.seen`)."""
        if band is Band.VISIBLE:
            return self.visible
        own = self.nir if band is Band.NIR else self.heat
        return Image.blend(self.visible.convert("L"), own, gap)


class _Painter:
    """Draws the same shapes in all bands at once."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.images = (
            Image.new("RGB", (WIDTH, HEIGHT)),
            Image.new("L", (WIDTH, HEIGHT)),
            Image.new("L", (WIDTH, HEIGHT)),
        )
        self.pens = [ImageDraw.Draw(image) for image in self.images]

    def surface(
        self, colour: Colour, *, nir: float | None = None, heat: float = 0.22, spread: float = 0.03
    ) -> Surface:
        """A surface of this colour; its near-infrared reflectance drawn where not given."""
        own = float(self.rng.uniform(0.25, 0.6)) if nir is None else nir
        return Surface(
            jitter(self.rng, colour, spread), own, float(np.clip(heat + self.rng.normal(0, 0.02), 0.02, 1))
        )

    def _inks(self, surface: Surface) -> tuple[tuple[int, ...] | int, int, int]:
        return tuple(round(255 * c) for c in surface.rgb), round(255 * surface.nir), round(255 * surface.heat)

    def box(self, x0: float, y0: float, x1: float, y1: float, surface: Surface) -> None:
        """An upright rectangle."""
        for pen, ink in zip(self.pens, self._inks(surface), strict=True):
            pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=ink)

    def shape(self, points: list[tuple[float, float]], surface: Surface) -> None:
        """A polygon."""
        for pen, ink in zip(self.pens, self._inks(surface), strict=True):
            pen.polygon(points, fill=ink)

    def blob(self, x: float, y: float, rx: float, ry: float, surface: Surface) -> None:
        """An ellipse."""
        for pen, ink in zip(self.pens, self._inks(surface), strict=True):
            pen.ellipse((x - rx, y - ry, x + rx, y + ry), fill=ink)

    def line(self, points: list[tuple[float, float]], width: int, surface: Surface) -> None:
        """A line through the points."""
        for pen, ink in zip(self.pens, self._inks(surface), strict=True):
            pen.line(points, fill=ink, width=width)

    def foliage(self, x0: float, x1: float, top: float, bottom: float, leaves: int) -> None:
        """Leaves: dark ones first, bright ones on top; they shine in the near infrared."""
        rng = self.rng
        for index in range(leaves):
            light = 0.35 + 0.65 * index / leaves
            green = (0.20 * light + 0.05, 0.40 * light + 0.05, 0.14 * light + 0.03)
            leaf = self.surface(green, nir=float(np.clip(0.30 + 0.5 * light, 0, 1)), heat=0.2, spread=0.05)
            size = float(rng.uniform(4, 15))
            self.blob(float(rng.uniform(x0, x1)), float(rng.uniform(top, bottom)), size, size * 0.7, leaf)


def _floor(painter: _Painter, horizon: float, colour: Colour, tiles: float) -> None:
    """Ground with joints that run to a vanishing point above the horizon."""
    rng = painter.rng
    ground = painter.surface(colour)
    painter.box(0, horizon, WIDTH, HEIGHT, ground)
    if tiles:
        joint = painter.surface(tuple(c * 0.88 for c in ground.rgb), nir=ground.nir * 0.9, spread=0.0)  # type: ignore[arg-type]
        vanish = float(rng.uniform(0.2, 0.8)) * WIDTH
        for x in np.arange(-2 * WIDTH, 3 * WIDTH, tiles * 2.2):
            painter.line([(vanish + (x - vanish) * 0.3, horizon), (float(x), HEIGHT)], 2, joint)
        y, step = horizon + tiles * 0.12, tiles * 0.16
        while y < HEIGHT:
            painter.line([(0, y), (WIDTH, y)], 2, joint)
            y, step = y + step, step * 1.28


def _indoor(painter: _Painter) -> None:
    rng = painter.rng
    horizon = GROUND - PERSON * float(rng.uniform(0.18, 0.62))
    wall = painter.surface(pick(rng, WALLS))
    painter.box(0, 0, WIDTH, horizon, wall)
    if rng.random() < 0.5:  # a painted band along the wall
        painter.box(
            0, horizon - 0.45 * PERSON, WIDTH, horizon, painter.surface(tuple(c * 0.8 for c in wall.rgb))
        )  # type: ignore[arg-type]
    _floor(painter, horizon, pick(rng, FLOORS), float(rng.choice([0, 60, 90, 130])))
    painter.box(0, horizon - 9, WIDTH, horizon, painter.surface((0.35, 0.30, 0.26)))
    x = float(rng.uniform(0, 60))
    while x < WIDTH:
        kind = pick(rng, ("door", "window", "poster", "pillar", "lockers", "gap"), (2, 1.3, 1.6, 0.8, 0.6, 1))
        width = float(rng.uniform(50, 110))
        if kind == "door":
            painter.box(
                x - 5, horizon - 1.12 * PERSON, x + width + 5, horizon, painter.surface((0.45, 0.40, 0.36))
            )
            painter.box(
                x,
                horizon - 1.08 * PERSON,
                x + width,
                horizon,
                painter.surface(pick(rng, ((0.50, 0.33, 0.20), (0.62, 0.63, 0.64), (0.32, 0.38, 0.44)))),
            )
            painter.box(
                x + width - 12,
                horizon - 0.5 * PERSON,
                x + width - 6,
                horizon - 0.44 * PERSON,
                painter.surface((0.8, 0.8, 0.78)),
            )
        elif kind == "window":
            painter.box(
                x,
                0,
                x + width,
                horizon - 0.35 * PERSON,
                painter.surface((0.72, 0.82, 0.88), nir=0.2, heat=0.12),
            )
            painter.line(
                [(x + width / 2, 0), (x + width / 2, horizon - 0.35 * PERSON)],
                5,
                painter.surface((0.5, 0.5, 0.5)),
            )
        elif kind == "poster":
            high = float(rng.uniform(0.5, 0.8)) * PERSON
            painter.box(
                x,
                horizon - high - 45,
                x + width * 0.6,
                horizon - high + 25,
                painter.surface(tuple(rng.uniform(0.2, 0.9, 3))),
            )
            painter.box(
                x + 5,
                horizon - high - 38,
                x + width * 0.6 - 5,
                horizon - high - 8,
                painter.surface(tuple(rng.uniform(0.2, 0.9, 3))),
            )
        elif kind == "pillar":
            painter.box(x, 0, x + 38, horizon + 14, painter.surface(tuple(c * 0.86 for c in wall.rgb)))  # type: ignore[arg-type]
        elif kind == "lockers":
            for step in range(4):
                painter.box(
                    x + step * 32,
                    horizon - 0.9 * PERSON,
                    x + step * 32 + 29,
                    horizon,
                    painter.surface((0.38, 0.46, 0.55)),
                )
            width = 128.0
        x += width + float(rng.uniform(20, 110))


def _outdoor(painter: _Painter) -> None:
    rng = painter.rng
    horizon = GROUND - PERSON * float(rng.uniform(0.15, 0.6))
    if rng.random() < 0.55:
        painter.box(0, 0, WIDTH, horizon, painter.surface(pick(rng, FACADES), heat=0.26))
        glass = painter.surface((0.24, 0.29, 0.34), nir=0.15, heat=0.16)
        for x in np.arange(float(rng.uniform(0, 60)), WIDTH, float(rng.uniform(90, 160))):
            painter.box(
                x - 4,
                horizon - 1.0 * PERSON,
                x + 52,
                horizon - 0.30 * PERSON,
                painter.surface((0.8, 0.78, 0.74)),
            )
            painter.box(x, horizon - 0.97 * PERSON, x + 48, horizon - 0.33 * PERSON, glass)
    else:
        painter.box(0, 0, WIDTH, horizon, painter.surface((0.22, 0.30, 0.18), nir=0.4, heat=0.18))
        painter.foliage(0, WIDTH, -10, horizon, 2200)
    _floor(painter, horizon, pick(rng, PAVINGS), float(rng.choice([0, 50, 80])))
    if rng.random() < 0.6:  # a lawn or a road beyond the kerb
        strip = horizon + (GROUND - horizon) * float(rng.uniform(0.3, 0.7))
        lawn = rng.random() < 0.5
        painter.box(
            0,
            horizon,
            WIDTH,
            strip,
            painter.surface(
                (0.30, 0.42, 0.20) if lawn else (0.30, 0.30, 0.31), nir=0.65 if lawn else 0.25, heat=0.24
            ),
        )
        painter.box(0, strip, WIDTH, strip + 6, painter.surface((0.68, 0.67, 0.65)))
    for x in np.arange(float(rng.uniform(0, 200)), WIDTH, float(rng.uniform(170, 300))):
        kind = pick(rng, ("car", "tree", "hedge", "bicycle", "bollard"), (1.5, 1.5, 1.5, 0.8, 0.8))
        if kind == "car":
            _car(painter, float(x), horizon + 22)
        elif kind == "tree":
            painter.box(
                x,
                0,
                x + float(rng.uniform(14, 30)),
                horizon + 12,
                painter.surface((0.30, 0.23, 0.17), nir=0.45, heat=0.2),
            )
            painter.foliage(x - 60, x + 80, -10, 0.3 * horizon, 220)
        elif kind == "hedge":
            width, high = float(rng.uniform(70, 180)), float(rng.uniform(0.2, 0.5)) * PERSON
            painter.box(
                x,
                horizon - high,
                x + width,
                horizon + 6,
                painter.surface((0.12, 0.22, 0.09), nir=0.5, heat=0.2),
            )
            painter.foliage(x, x + width, horizon - high, horizon + 6, 320)
        elif kind == "bicycle":
            dark = painter.surface((0.12, 0.12, 0.13), nir=0.3)
            for wheel in (0, 62):
                for pen, ink in zip(painter.pens, painter._inks(dark), strict=True):
                    pen.ellipse(
                        (x + wheel - 24, horizon - 28, x + wheel + 24, horizon + 20), outline=ink, width=4
                    )
            painter.line(
                [(x, horizon - 4), (x + 22, horizon - 36), (x + 56, horizon - 34), (x + 62, horizon - 4)],
                4,
                painter.surface((0.6, 0.15, 0.15)),
            )
        else:
            painter.box(x, horizon - 38, x + 12, horizon + 20, painter.surface((0.35, 0.35, 0.36)))


def _car(painter: _Painter, x: float, ground: float) -> None:
    paint = painter.surface(
        pick(
            painter.rng,
            (
                (0.75, 0.76, 0.78),
                (0.15, 0.16, 0.18),
                (0.60, 0.14, 0.14),
                (0.20, 0.30, 0.48),
                (0.88, 0.88, 0.88),
            ),
        ),
        heat=0.34,
    )
    painter.shape(
        [(x + 30, ground - 62), (x + 62, ground - 96), (x + 135, ground - 96), (x + 165, ground - 62)], paint
    )
    painter.shape(
        [(x + 42, ground - 62), (x + 66, ground - 90), (x + 130, ground - 90), (x + 152, ground - 62)],
        painter.surface((0.18, 0.21, 0.25), nir=0.2, heat=0.15),
    )
    painter.box(x, ground - 64, x + 190, ground - 16, paint)
    for wheel in (38, 150):
        painter.blob(x + wheel, ground - 14, 19, 19, painter.surface((0.08, 0.08, 0.08), heat=0.36))


def _grain(image: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Uneven light and dirt: nothing real is one flat colour."""
    values = np.asarray(image, dtype=np.float32)
    coarse = Image.fromarray(rng.normal(0, 1, (7, 16)).astype(np.float32)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC
    )
    fine = Image.fromarray(rng.normal(0, 1, (HEIGHT // 3, WIDTH // 3)).astype(np.float32)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BILINEAR
    )
    factor = 1 + strength * (np.asarray(coarse) + 0.35 * np.asarray(fine))
    values = values * (factor[..., None] if values.ndim == 3 else factor)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


@lru_cache(maxsize=32)
def scene(seed: int, place: int, indoor: bool) -> Scene:
    """The place with this number, the same in every process."""
    rng = generator(seed, "scene", place)
    painter = _Painter(rng)
    (_indoor if indoor else _outdoor)(painter)
    visible, nir, heat = painter.images
    return Scene(
        visible=_grain(visible.filter(ImageFilter.GaussianBlur(1.2)), rng, 0.06),
        nir=_grain(nir.filter(ImageFilter.GaussianBlur(1.5)), rng, 0.07),
        heat=_grain(heat.filter(ImageFilter.GaussianBlur(7)), rng, 0.05),
    )


def luma(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) colour to (H, W) grey."""
    return values @ np.array(LUMA, dtype=np.float32)
