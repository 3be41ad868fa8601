"""From a person, a camera and a moment to a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ivreid.datasets.synthetic.camera import Camera
from ivreid.datasets.synthetic.identity import Identity, draw_identity
from ivreid.datasets.synthetic.rng import pick
from ivreid.datasets.synthetic.scene import GROUND, HEIGHT, PERSON, WIDTH, scene
from ivreid.datasets.synthetic.shot.canvas import Array, Canvas, Light
from ivreid.datasets.synthetic.shot.person import paint_person
from ivreid.datasets.synthetic.shot.pose import Pose, draw_pose
from ivreid.datasets.synthetic.surface import LUMA, Band

FINE = 2
"""Small pictures are painted this many times larger, so that edges and patterns come out smooth."""
BACKLIGHT = Light((0.0, 0.0, 1.0), 0.92, 0.10, 0.08, 0.0)


@dataclass(frozen=True, slots=True)
class Shot:
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


def draw_shot(rng: np.random.Generator, camera: Camera, *, spread: float = 0.3) -> Shot:
    """A moment before this camera; `spread` is how far headings stray, radians."""
    return Shot(
        pose=draw_pose(rng, camera.headings, spread),
        zoom=float(np.clip(rng.normal(0.88, 0.035), 0.78, 1.0)),
        shift=(float(rng.normal(0, 0.045)), float(rng.normal(0, 0.018))),
        stretch=float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12)),
        scene=(float(rng.random()), float(rng.normal(0, 10))),
        gain=float(np.exp(rng.normal(0, 0.10))),
        occluder=pick(rng, ("none", "pole", "passer-by", "furniture", "edge"), (86, 3, 4, 5, 2)),
        grain=int(rng.integers(2**31)),
    )


def render(
    identity: Identity, camera: Camera, shot: Shot, *, size: tuple[int, int], seed: int, gap: float
) -> Image.Image:
    """The picture this camera takes.

    Args:
        identity: Who.
        camera: With what.
        shot: When.
        size: (height, width) in pixels.
        seed: The dataset's seed, for the scene and passers-by.
        gap: 0: infrared is grey visible; 1: only shape survives (see `Surface.seen`).

    Returns:
        An RGB picture; infrared ones have three equal channels.
    """
    height, width = size
    tall = height * FINE if height <= 192 else max(height, 256)
    wide = round(tall * float(np.clip(width / height, 0.44, 0.8)) * shot.stretch)
    rng = np.random.default_rng(shot.grain)
    scale = tall * shot.zoom / (1 + 0.25 * np.sin(camera.pitch))
    origin = (wide * (0.5 + shot.shift[0]), tall * (0.5 + 0.47 * shot.zoom + shot.shift[1]))
    background = _background(camera, shot, seed, gap, (tall, wide), scale, origin)
    canvas = Canvas(background, scale, origin, _light(camera, gap))
    _ground_shadow(canvas, camera, gap)
    paint_person(
        canvas, identity, shot.pose, pitch=camera.pitch, taper=camera.taper, band=camera.band, gap=gap
    )
    _occlude(canvas, camera, shot, rng, seed, gap)
    return _develop(canvas.pixels, camera, shot, rng, size, gap)


def _light(camera: Camera, gap: float) -> Light:
    day = Light(camera.light, camera.ambient, 1.15 - camera.ambient, 0.22, 0.42)
    if camera.band is Band.VISIBLE:
        return day
    night = Light((0.0, 0.0, 1.0), 0.25, 0.78, 0.13, 0.36) if camera.band is Band.NIR else BACKLIGHT
    direction = np.array(day.direction) * (1 - gap) + np.array(night.direction) * gap
    x, y, z = direction / np.linalg.norm(direction)

    def mix(a: float, b: float) -> float:
        return a * (1 - gap) + b * gap

    return Light(
        (float(x), float(y), float(z)),
        mix(day.ambient, night.ambient),
        mix(day.directed, night.directed),
        mix(day.folds, night.folds),
        mix(day.contact, night.contact),
    )


def _background(
    camera: Camera,
    shot: Shot,
    seed: int,
    gap: float,
    shape: tuple[int, int],
    scale: float,
    origin: tuple[float, float],
) -> Array:
    """The part of the scene behind the person, (H, W, C) float32 in [0, 1]."""
    tall, wide = shape
    picture = scene(seed, camera.place, camera.indoor).seen(camera.band, gap)
    ratio = PERSON / scale
    across, down = wide * ratio, tall * ratio
    left = shot.scene[0] * (WIDTH - across)
    top = float(np.clip(GROUND - origin[1] * ratio + shot.scene[1], 0, HEIGHT - down))
    crop = picture.resize((wide, tall), Image.Resampling.BILINEAR, box=(left, top, left + across, top + down))
    values = np.asarray(crop, dtype=np.float32) * np.float32(1 / 255)
    if values.ndim == 2:
        values = values[..., None]
    if camera.band is Band.NIR:  # the lamp reaches the person, hardly what lies behind
        values = values * np.float32(1 - gap * (0.45 if camera.indoor else 0.68))
    return np.ascontiguousarray(values)


def _ground_shadow(canvas: Canvas, camera: Camera, gap: float) -> None:
    """A soft pool of shade under the feet."""
    strength = 0.5 if camera.band is Band.VISIBLE else 0.5 - 0.35 * gap
    found = canvas.ball(
        (0.02 - 0.06 * camera.light[0], 0.012), (0.20, 0.035 + 0.06 * float(np.sin(camera.pitch)))
    )
    if found is not None:
        patch, _, _, depth = found
        canvas.pixels[patch.rows, patch.columns] *= (1 - np.float32(strength) * depth * patch.alpha)[
            ..., None
        ]


def _occlude(
    canvas: Canvas, camera: Camera, shot: Shot, rng: np.random.Generator, seed: int, gap: float
) -> None:
    """What stands between the camera and the person, in some shots."""
    kind = shot.occluder
    tall, wide = canvas.cover.shape
    base = rng.uniform(0.1, 0.6)
    colour = base + rng.normal(0, 0.03, 3)
    grey = float(colour @ LUMA) * (1 - gap) + gap * float(rng.uniform(0.12, 0.45))
    ink = np.asarray(colour if camera.band is Band.VISIBLE else [grey], dtype=np.float32)
    side = 1 if rng.random() < 0.5 else -1
    if kind == "pole":
        x, half = (
            round(wide * (0.5 + side * rng.uniform(0.12, 0.35))),
            max(2, round(wide * rng.uniform(0.025, 0.055))),
        )
        left, right = max(0, x - half), min(wide, x + half)
        round_off = np.sqrt(1 - np.linspace(-0.9, 0.9, max(1, right - left), dtype=np.float32) ** 2)
        canvas.pixels[:, left:right] = ink * round_off[None, :, None]
    elif kind == "furniture":
        top = round(tall * rng.uniform(0.68, 0.86))
        left = 0 if side < 0 else round(wide * rng.uniform(0.2, 0.6))
        right = wide if side > 0 else round(wide * rng.uniform(0.4, 0.8))
        canvas.pixels[top:, left:right] = ink * 0.75
        canvas.pixels[top : top + max(2, tall // 50), left:right] = ink * 1.25
    elif kind == "edge":
        share = round(wide * rng.uniform(0.1, 0.24))
        region = slice(0, share) if side < 0 else slice(wide - share, wide)
        canvas.pixels[:, region] = ink
    elif kind == "passer-by":
        other = draw_identity(seed, 1_000_000 + shot.grain % 997)
        pose = draw_pose(rng, camera.headings, 0.4)
        away = side * wide * rng.uniform(0.34, 0.5)
        neighbour = Canvas(
            canvas.pixels,
            canvas.scale * 1.05,
            (canvas.origin[0] + away, canvas.origin[1] + 0.03 * tall),
            canvas.light,
        )
        paint_person(
            neighbour, other, pose, pitch=camera.pitch, taper=camera.taper, band=camera.band, gap=gap
        )


def _develop(
    pixels: Array, camera: Camera, shot: Shot, rng: np.random.Generator, size: tuple[int, int], gap: float
) -> Image.Image:
    """Lens, lamp and sensor: from light to an 8-bit picture of the wanted size."""
    height, width = size
    channels = [_resize(pixels[..., c], size, camera.blur) for c in range(pixels.shape[2])]
    values = np.stack(channels, axis=-1)
    if camera.band is Band.NIR and gap > 0:
        values *= 1 - gap * (1 - _lamp(size, camera, rng))[..., None]
    values *= camera.exposure * shot.gain
    values = np.clip(values, 0, None) ** camera.contrast
    if camera.band is Band.VISIBLE:
        grey = values @ np.array(LUMA, dtype=np.float32)
        values = grey[..., None] + camera.saturation * (values - grey[..., None])
        values *= np.array(camera.tint, dtype=np.float32)
    sigma = np.float32(camera.noise)
    values += sigma * rng.standard_normal((height, width, 1), dtype=np.float32)
    if camera.band is Band.VISIBLE:
        values += sigma * np.float32(0.6) * rng.standard_normal((height, width, 3), dtype=np.float32)
    else:
        values = np.repeat(values, 3, axis=-1)
    return Image.fromarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8))


def _resize(channel: Array, size: tuple[int, int], blur: float) -> Array:
    """Antialiased resize, by way of a smaller picture where the camera blurs."""
    height, width = size
    image = Image.fromarray(channel)
    if blur > 0:
        low = max(16, round(1 / (blur * 1.7))) if blur * 1.7 * height > 1 else height
        if low < height:
            image = image.resize((max(8, round(width * low / height)), low), Image.Resampling.BOX)
            return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(
        image.resize(
            (width, height), Image.Resampling.BOX if channel.shape[0] > height else Image.Resampling.BILINEAR
        )
    )


def _lamp(size: tuple[int, int], camera: Camera, rng: np.random.Generator) -> NDArray[np.float32]:
    """How much of the infrared lamp reaches each pixel, (H, W) in [0, 1.1]."""
    height, width = size
    centre = (0.5 + rng.normal(0, 0.08), 0.42 + rng.normal(0, 0.08))
    reach = camera.lamp * float(np.exp(rng.normal(0, 0.1)))
    x = (np.arange(width, dtype=np.float32)[None, :] / width - centre[0]) * np.float32(0.7 / reach)
    y = (np.arange(height, dtype=np.float32)[:, None] / height - centre[1]) * np.float32(1 / reach)
    return np.asarray(1.1 / (1 + 1.6 * (x * x + y * y)) ** 2, dtype=np.float32)
