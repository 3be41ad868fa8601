"""Helpers: recolouring a person, and cameras that add nothing of their own."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ivreid.synthetic.camera import Camera, draw_camera
from ivreid.synthetic.surface import Band, Surface


def with_surfaces(value: Any, change: Any) -> Any:
    """A copy of a (nested) dataclass with `change` applied to every `Surface` in it."""
    if isinstance(value, Surface):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: with_surfaces(getattr(value, f.name), change) for f in fields(value)}
        )
    return value


def plain_camera(band: Band, *, indoor: bool = True, headings: tuple[float, ...] = (0.0,)) -> Camera:
    """A camera without noise, blur, tint or contrast of its own."""
    camera = draw_camera(3, 1, band=band, place=1, indoor=indoor, headings=headings)
    return replace(
        camera,
        exposure=1.0,
        contrast=1.0,
        tint=(1.0, 1.0, 1.0),
        saturation=1.0,
        noise=0.0,
        blur=0.0,
        ambient=0.5,
    )


def values(image: Image.Image) -> np.ndarray:
    """(H, W, 3) float pixels in [0, 255]."""
    return np.asarray(image, dtype=np.float64)
