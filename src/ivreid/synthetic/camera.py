"""Cameras: view, zoom, light, tint, noise, blur and place, fixed for each camera of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivreid.synthetic.streams import generator, pick
from ivreid.synthetic.surface import Band

HEADINGS = (0.0, 0.5 * np.pi, np.pi, 1.5 * np.pi, 0.25 * np.pi, 0.75 * np.pi, 1.25 * np.pi, 1.75 * np.pi)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    Attributes:
        band: What it records.
        place: Number of the scene it watches.
        indoor: Whether that is indoors.
        headings: In which headings people pass it (see `Pose`).
        pitch: How steeply it looks down, radians.
        taper: How much larger heads appear than feet.
        exposure, contrast: Gain and gamma of the picture.
        tint: Gain per colour channel.
        saturation: 0 grey, 1 as it is.
        noise: Standard deviation of sensor noise, in [0, 1] pixel values.
        blur: Radius of its blur, as a share of the picture's height.
        light: Direction of the light (x right, y down, z to the camera).
        ambient: Share of undirected light.
        lamp: Near infrared: half-width of the lamp's cone, in picture widths.
        quality: JPEG quality.
    """

    band: Band
    place: int
    indoor: bool
    headings: tuple[float, ...]
    pitch: float
    taper: float
    exposure: float
    contrast: float
    tint: tuple[float, float, float]
    saturation: float
    noise: float
    blur: float
    light: tuple[float, float, float]
    ambient: float
    lamp: float
    quality: int


def draw_camera(
    seed: int, number: int, *, band: Band, place: int, indoor: bool, headings: tuple[float, ...] | None = None
) -> Camera:
    """The camera with this number: the same place and view in every band, but each band its own optics."""
    rng = generator(seed, "camera", number)
    first = float(pick(rng, HEADINGS[:4]))
    passing = (first, first + np.pi, first + float(pick(rng, (0.25, -0.25, 0.5))) * np.pi)
    pitch, taper = float(rng.uniform(0.04, 0.34)), float(rng.uniform(0.0, 0.09))
    side, height = float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.8, -0.3))
    optics = generator(seed, "camera", number, 1 + list(Band).index(band))
    direction = np.array([side, height, 0.75])
    tint = optics.normal(1.0, 0.06, 3) * (1.0, 1.0, 1.0)
    blur = {Band.VISIBLE: (0.0, 0.008), Band.NIR: (0.002, 0.010), Band.THERMAL: (0.010, 0.014)}[band]
    noise = {Band.VISIBLE: (0.006, 0.030), Band.NIR: (0.015, 0.040), Band.THERMAL: (0.006, 0.014)}[band]
    unit = direction / np.linalg.norm(direction)
    return Camera(
        band=band,
        place=place,
        indoor=indoor,
        headings=headings or passing,
        pitch=pitch,
        taper=taper,
        exposure=float(optics.uniform(0.8, 1.15)),
        contrast=float(optics.uniform(0.85, 1.2)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        saturation=float(optics.uniform(0.65, 1.05)),
        noise=float(optics.uniform(*noise)),
        blur=float(optics.uniform(*blur)),
        light=(float(unit[0]), float(unit[1]), float(unit[2])),
        ambient=float(optics.uniform(0.45, 0.65)),
        lamp=float(optics.uniform(0.75, 1.3)),
        quality=int(optics.integers(72, 93)),
    )
