"""From a person, a camera and a moment to a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ivreid.synthetic.appearance import Identity
from ivreid.synthetic.camera import Camera
from ivreid.synthetic.occlude import draw_occluder, occlude
from ivreid.synthetic.person.canvas import Canvas, Light
from ivreid.synthetic.person.paint import paint_person
from ivreid.synthetic.person.pose import Pose, draw_pose
from ivreid.synthetic.scene import scene
from ivreid.synthetic.scene_canvas import GROUND, HEIGHT, PERSON, WIDTH
from ivreid.synthetic.sensor import capture
from ivreid.synthetic.surface import Band, effective_gap

FINE = 2
"""Small pictures are painted this many times larger, so that edges and patterns come out smooth."""
LAMPS = {
    Band.NIR: Light((0.0, 0.0, 1.0), ambient=0.25, directed=0.78, folds=0.10, contact=0.36),
    Band.THERMAL: Light((0.0, 0.0, 1.0), ambient=0.92, directed=0.10, folds=0.10, contact=0.0),
}
"""Infrared light: a lamp beside the lens, or the body's own heat."""
NIGHT = {True: 0.55, False: 0.32}
"""How much of the near-infrared lamp reaches what lies behind the person, indoors and outdoors."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment before one camera: pose, crop, what stands in the way; the same for all bands.

    Attributes:
        pose: The person's pose.
        zoom: Height of an average adult as a share of the picture's height.
        shift: Where the person stands, as shares of width and height off the usual place.
        stretch: Factor on the picture's natural aspect ratio (imprecise boxes).
        scene: Where in the scene, 0 to 1, and how far up the horizon moves, in scene pixels.
        gain: The moment's brightness.
        occluder: "none", or what hides a part.
        grain: Seed of noise, occluder and lamp.
    """

    pose: Pose
    zoom: float
    shift: tuple[float, float]
    stretch: float
    scene: tuple[float, float]
    gain: float
    occluder: str
    grain: int


def draw_moment(rng: np.random.Generator, camera: Camera, *, spread: float = 0.3) -> Moment:
    """A moment before this camera; `spread` is how far headings stray, radians."""
    return Moment(
        pose=draw_pose(rng, camera.headings, spread),
        zoom=float(np.clip(rng.normal(0.88, 0.035), 0.78, 1.0)),
        shift=(float(rng.normal(0, 0.045)), float(rng.normal(0, 0.018))),
        stretch=float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12)),
        scene=(float(rng.random()), float(rng.normal(0, 10))),
        gain=float(np.exp(rng.normal(0, 0.10))),
        occluder=draw_occluder(rng),
        grain=int(rng.integers(2**31)),
    )


def render(
    identity: Identity, camera: Camera, moment: Moment, *, size: tuple[int, int], seed: int, gap: float
) -> Image.Image:
    """The picture this camera takes.

    Args:
        identity: Who.
        camera: With what.
        moment: When.
        size: (height, width) in pixels.
        seed: The dataset's seed, for the scene and passers-by.
        gap: 0: infrared is grey visible; 1: only shape survives (see `Surface.seen`).

    Returns:
        An RGB picture; infrared ones have three equal channels.
    """
    gap = effective_gap(camera.band, gap)
    canvas = _empty_canvas(camera, moment, size, seed, gap)
    rng = np.random.default_rng(moment.grain)
    pitch, taper, band = camera.pitch, camera.taper, camera.band
    _ground_shadow(canvas, camera, gap)
    paint_person(canvas, identity, moment.pose, pitch=pitch, taper=taper, band=band, gap=gap)
    occlude(canvas, moment.occluder, camera, seed=seed, gap=gap, rng=rng)
    gain = moment.gain ** (1 - gap) if band is Band.THERMAL else moment.gain  # daylight does not change heat
    return capture(canvas.pixels, camera, size=size, gain=gain, gap=gap, rng=rng)


def _empty_canvas(camera: Camera, moment: Moment, size: tuple[int, int], seed: int, gap: float) -> Canvas:
    """The scene without the person, larger than the picture, with the place where the person will stand."""
    height, width = size
    tall = height * FINE if height <= 192 else max(height, 256)
    wide = round(tall * float(np.clip(width / height, 0.44, 0.8)) * moment.stretch)
    scale = tall * moment.zoom / (1 + 0.25 * float(np.sin(camera.pitch)))
    x, y = wide * (0.5 + moment.shift[0]), tall * (0.5 + 0.47 * moment.zoom + moment.shift[1])
    ratio = PERSON / scale
    across, down = wide * ratio, tall * ratio
    left = moment.scene[0] * (WIDTH - across)
    top = float(np.clip(GROUND - y * ratio + moment.scene[1], 0, HEIGHT - down))
    place = scene(seed, camera.place, camera.indoor).seen(camera.band, gap)
    crop = place.resize((wide, tall), Image.Resampling.BILINEAR, box=(left, top, left + across, top + down))
    values = np.asarray(crop, dtype=np.float32).reshape(tall, wide, -1) * np.float32(1 / 255)
    if camera.band is Band.NIR:
        values = values * np.float32(1 - gap * (1 - NIGHT[camera.indoor]))
    return Canvas(values, scale, (x, y), _light(camera, gap))


def _light(camera: Camera, gap: float) -> Light:
    """Daylight, or infrared light as far as the gap goes."""
    day = Light(camera.light, camera.ambient, 1.15 - camera.ambient, folds=0.15, contact=0.42)
    if camera.band is Band.VISIBLE:
        return day
    night = LAMPS[camera.band]
    direction = np.array(day.direction) * (1 - gap) + np.array(night.direction) * gap
    x, y, z = (float(c) for c in direction / np.linalg.norm(direction))

    def mix(name: str) -> float:
        return float(getattr(day, name) * (1 - gap) + getattr(night, name) * gap)

    return Light((x, y, z), mix("ambient"), mix("directed"), mix("folds"), mix("contact"))


def _ground_shadow(canvas: Canvas, camera: Camera, gap: float) -> None:
    """A soft pool of shade under the feet."""
    strength = np.float32(0.5 if camera.band is Band.VISIBLE else 0.5 - 0.35 * gap)
    depth = 0.035 + 0.06 * float(np.sin(camera.pitch))
    found = canvas.ball((0.02 - 0.06 * camera.light[0], 0.012), (0.20, depth))
    if found is not None:
        patch, _, _, middle = found
        canvas.dim(patch, 1 - strength * middle * patch.alpha)
