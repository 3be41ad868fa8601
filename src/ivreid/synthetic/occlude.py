"""What stands between the camera and the person: poles, furniture, door frames, other people."""

from __future__ import annotations

import numpy as np

from ivreid.synthetic.appearance import draw_identity
from ivreid.synthetic.camera import Camera
from ivreid.synthetic.person.canvas import Array, Canvas
from ivreid.synthetic.person.paint import paint_person
from ivreid.synthetic.person.pose import draw_pose
from ivreid.synthetic.streams import pick
from ivreid.synthetic.surface import Band, luminance

OCCLUDERS = ("none", "pole", "passer-by", "furniture", "frame")
OCCLUDER_WEIGHTS = (86.0, 3.0, 4.0, 5.0, 2.0)
STRANGERS = 1_000_000
"""Passers-by are people of their own, numbered from here on, whom no list names."""


def draw_occluder(rng: np.random.Generator) -> str:
    """Mostly "none"."""
    return pick(rng, OCCLUDERS, OCCLUDER_WEIGHTS)


def occlude(
    canvas: Canvas, kind: str, camera: Camera, *, seed: int, gap: float, rng: np.random.Generator
) -> None:
    """Paint the occluder `kind` over part of the picture.

    Args:
        canvas: The painted person.
        kind: One of `OCCLUDERS`.
        camera: Who looks.
        seed: The dataset's seed, for passers-by.
        gap: See `Surface.seen`.
        rng: For where and how it stands.
    """
    ink, side = _ink(rng, camera, gap), 1 if rng.random() < 0.5 else -1
    tall, wide = canvas.cover.shape
    pixels = canvas.pixels
    if kind == "pole":
        middle = round(wide * (0.5 + side * rng.uniform(0.12, 0.35)))
        half = max(2, round(wide * rng.uniform(0.025, 0.055)))
        round_off = np.sqrt(1 - np.linspace(-0.9, 0.9, 2 * half, dtype=np.float32) ** 2)
        pixels[:, middle - half : middle + half] = ink * round_off[None, :, None]
    elif kind == "furniture":
        top = round(tall * rng.uniform(0.68, 0.86))
        share = round(wide * rng.uniform(0.4, 0.8))
        columns = slice(0, share) if side < 0 else slice(wide - share, wide)
        pixels[top:, columns] = ink * 0.75
        pixels[top : top + max(2, tall // 50), columns] = ink * 1.25
    elif kind == "frame":
        share = round(wide * rng.uniform(0.1, 0.24))
        pixels[:, slice(0, share) if side < 0 else slice(wide - share, wide)] = ink
    elif kind == "passer-by":
        stranger = draw_identity(seed, STRANGERS + int(rng.integers(1000)))
        away = side * wide * rng.uniform(0.34, 0.5)
        place = (canvas.origin[0] + away, canvas.origin[1] + 0.03 * tall)
        beside = Canvas(pixels, canvas.scale * 1.05, place, canvas.light)
        pose = draw_pose(rng, camera.headings, 0.4)
        paint_person(
            beside, stranger, pose, pitch=camera.pitch, taper=camera.taper, band=camera.band, gap=gap
        )


def _ink(rng: np.random.Generator, camera: Camera, gap: float) -> Array:
    """A dull colour, or its infrared value."""
    colour = rng.uniform(0.1, 0.6) + rng.normal(0, 0.03, 3)
    own = float(rng.uniform(0.12, 0.45))
    if camera.band is Band.VISIBLE:
        return colour.astype(np.float32)
    return np.array([(1 - gap) * float(luminance(*colour)) + gap * own], dtype=np.float32)
