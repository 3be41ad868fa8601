"""What stands where: corridors with doors and posters, streets with facades, hedges and cars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ivreid.synthetic.scene_canvas import GROUND, PERSON, WIDTH, SceneCanvas, darker
from ivreid.synthetic.streams import pick
from ivreid.synthetic.surface import Colour

Colours = tuple[Colour, ...]
WALLS: Colours = ((0.78, 0.77, 0.72), (0.70, 0.74, 0.76), (0.82, 0.80, 0.78), (0.66, 0.62, 0.55))
FLOORS: Colours = ((0.56, 0.54, 0.50), (0.66, 0.64, 0.61), (0.47, 0.42, 0.38), (0.42, 0.44, 0.46))
DOORS: Colours = ((0.50, 0.33, 0.20), (0.62, 0.63, 0.64), (0.32, 0.38, 0.44))
FACADES: Colours = ((0.62, 0.42, 0.34), (0.68, 0.65, 0.60), (0.55, 0.55, 0.57), (0.72, 0.66, 0.55))
PAVINGS: Colours = ((0.52, 0.51, 0.49), (0.44, 0.43, 0.42), (0.58, 0.52, 0.47), (0.36, 0.37, 0.38))
CARS: Colours = ((0.75, 0.76, 0.78), (0.15, 0.16, 0.18), (0.60, 0.14, 0.14), (0.20, 0.30, 0.48))

Thing = Callable[[SceneCanvas, float], float]
"""Draws itself from a column on and returns its width, both in pixels."""


def draw_indoor(rng: np.random.Generator) -> SceneCanvas:
    """A corridor or hall."""
    canvas = SceneCanvas(rng, GROUND - PERSON * float(rng.uniform(0.18, 0.62)))
    wall = canvas.surface(pick(rng, WALLS))
    canvas.panel(0, WIDTH, 0, 2, wall)
    if rng.random() < 0.5:  # a painted band along the wall
        canvas.panel(0, WIDTH, 0, 0.45, canvas.surface(darker(wall.rgb, 0.8)))
    canvas.floor(pick(rng, FLOORS), float(rng.choice([0, 60, 90, 130])))
    canvas.panel(0, WIDTH, 0, 0.04, canvas.surface((0.35, 0.30, 0.26)))
    _fill(
        canvas, (_door, _window, _poster, _pillar, _lockers, _nothing), (2, 1.3, 1.6, 0.8, 0.6, 1), (20, 110)
    )
    return canvas


def draw_outdoor(rng: np.random.Generator) -> SceneCanvas:
    """A street before a facade, or a path before trees."""
    canvas = SceneCanvas(rng, GROUND - PERSON * float(rng.uniform(0.15, 0.6)))
    if rng.random() < 0.55:
        _facade(canvas)
    else:
        canvas.panel(0, WIDTH, 0, 2, canvas.surface((0.22, 0.30, 0.18), nir=0.4, heat=0.18))
        canvas.foliage(0, WIDTH, 0, 1.5, 2200)
    canvas.floor(pick(rng, PAVINGS), float(rng.choice([0, 50, 80])))
    if rng.random() < 0.6:  # a lawn or a road, up to a kerb
        kerb = (canvas.horizon - GROUND) / PERSON * float(rng.uniform(0.3, 0.7))
        green = canvas.surface((0.30, 0.42, 0.20), nir=0.65, heat=0.22)
        canvas.panel(0, WIDTH, kerb, 0, green if rng.random() < 0.5 else canvas.surface((0.30, 0.30, 0.31)))
        canvas.panel(0, WIDTH, kerb - 0.026, kerb, canvas.surface((0.68, 0.67, 0.65)))
    _fill(canvas, (_car, _tree, _hedge, _bicycle, _bollard), (1.5, 1.5, 1.5, 0.8, 0.8), (60, 160))
    return canvas


def _fill(
    canvas: SceneCanvas, things: tuple[Thing, ...], weights: tuple[float, ...], space: tuple[float, float]
) -> None:
    """Put things side by side from the left end to the right."""
    x = float(canvas.rng.uniform(0, space[1]))
    while x < WIDTH:
        x += pick(canvas.rng, things, weights)(canvas, x) + float(canvas.rng.uniform(*space))


def _nothing(canvas: SceneCanvas, x: float) -> float:
    return 60.0


def _door(canvas: SceneCanvas, x: float) -> float:
    width = float(canvas.rng.uniform(60, 110))
    canvas.panel(x - 5, width + 10, 0, 1.12, canvas.surface((0.45, 0.40, 0.36)))
    canvas.panel(x, width, 0, 1.08, canvas.surface(pick(canvas.rng, DOORS)))
    canvas.panel(x + width - 12, 6, 0.44, 0.5, canvas.surface((0.8, 0.8, 0.78)))
    return width


def _window(canvas: SceneCanvas, x: float) -> float:
    width = float(canvas.rng.uniform(60, 120))
    canvas.panel(x, width, 0.35, 2, canvas.surface((0.72, 0.82, 0.88), nir=0.2, heat=0.12))
    canvas.panel(x + width / 2, 5, 0.35, 2, canvas.surface((0.5, 0.5, 0.5)))
    return width


def _poster(canvas: SceneCanvas, x: float) -> float:
    width, low = float(canvas.rng.uniform(30, 70)), float(canvas.rng.uniform(0.4, 0.7))
    for inset, high in ((0.0, 0.30), (5.0, 0.14)):
        red, green, blue = (float(c) for c in canvas.rng.uniform(0.2, 0.85, 3))
        canvas.panel(
            x + inset, width - 2 * inset, low + 0.004 * inset, low + high, canvas.surface((red, green, blue))
        )
    return width


def _pillar(canvas: SceneCanvas, x: float) -> float:
    canvas.panel(x, 38, -0.06, 2, canvas.surface((0.64, 0.62, 0.58)))
    return 38.0


def _lockers(canvas: SceneCanvas, x: float) -> float:
    for step in range(4):
        canvas.panel(x + step * 32, 29, 0, 0.9, canvas.surface((0.38, 0.46, 0.55)))
    return 128.0


def _facade(canvas: SceneCanvas) -> None:
    rng = canvas.rng
    canvas.panel(0, WIDTH, 0, 2, canvas.surface(pick(rng, FACADES), heat=0.26))
    glass = canvas.surface((0.24, 0.29, 0.34), nir=0.15, heat=0.16)
    for x in np.arange(float(rng.uniform(0, 60)), WIDTH, float(rng.uniform(90, 160))):
        canvas.panel(float(x) - 4, 56, 0.30, 1.0, canvas.surface((0.8, 0.78, 0.74)))
        canvas.panel(float(x), 48, 0.33, 0.97, glass)


def _car(canvas: SceneCanvas, x: float) -> float:
    ground = canvas.horizon + 22
    paint = canvas.surface(pick(canvas.rng, CARS), heat=0.34)
    glass, rubber = canvas.surface((0.18, 0.21, 0.25), nir=0.2, heat=0.15), canvas.surface((0.08, 0.08, 0.08))
    for corners, surface in (
        ([(30, 62), (62, 96), (135, 96), (165, 62)], paint),
        ([(42, 62), (66, 90), (130, 90), (152, 62)], glass),
        ([(0, 60), (12, 64), (176, 64), (190, 52), (190, 16), (0, 16)], paint),
    ):
        canvas.shape([(x + right, ground - up) for right, up in corners], surface)
    for wheel in (38, 150):
        canvas.blob(x + wheel, ground - 14, 19, 19, rubber)
    return 190.0


def _tree(canvas: SceneCanvas, x: float) -> float:
    width = float(canvas.rng.uniform(14, 30))
    canvas.panel(x, width, -0.05, 2, canvas.surface((0.30, 0.23, 0.17), nir=0.45, heat=0.2))
    canvas.foliage(x - 60, width + 120, 0.8, 1.6, 220)
    return width


def _hedge(canvas: SceneCanvas, x: float) -> float:
    width, high = float(canvas.rng.uniform(70, 180)), float(canvas.rng.uniform(0.2, 0.5))
    canvas.panel(x, width, -0.03, high, canvas.surface((0.12, 0.22, 0.09), nir=0.5, heat=0.2))
    canvas.foliage(x, width, -0.03, high, 320)
    return width


def _bicycle(canvas: SceneCanvas, x: float) -> float:
    y = canvas.horizon - 4
    for wheel in (24, 86):
        canvas.ring(x + wheel, y, 24, canvas.surface((0.12, 0.12, 0.13), nir=0.3))
    frame = [(x + 24, y), (x + 46, y - 32), (x + 80, y - 30), (x + 86, y)]
    canvas.line(frame, 4, canvas.surface((0.6, 0.15, 0.15)))
    return 110.0


def _bollard(canvas: SceneCanvas, x: float) -> float:
    canvas.panel(x, 12, -0.09, 0.17, canvas.surface((0.35, 0.35, 0.36)))
    return 12.0
