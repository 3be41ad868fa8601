"""Lens, lamp and sensor: from light to a picture as the camera stores it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ivreid.synthetic.camera import Camera
from ivreid.synthetic.person.canvas import Array, unit
from ivreid.synthetic.surface import Band, luminance


def capture(
    pixels: Array, camera: Camera, *, size: tuple[int, int], gain: float, gap: float, rng: np.random.Generator
) -> Image.Image:
    """The 8-bit RGB picture this camera makes of the light `pixels`, (H, W, 3) or (H, W, 1) float32.

    Args:
        pixels: What falls on the lens, of any size.
        camera: Its blur, lamp, exposure, contrast, tint and noise apply.
        size: (height, width) wanted.
        gain: The moment's brightness.
        gap: How much of the lamp shows (see `Surface.seen`).
        rng: For noise and the lamp's aim.
    """
    channels = [_resize(pixels[..., channel], size, camera.blur) for channel in range(pixels.shape[2])]
    values = np.stack(channels)
    if camera.band is Band.NIR and gap > 0:
        values *= 1 - np.float32(gap) * (1 - _lamp(size, camera, rng))
    values = np.maximum(values * np.float32(camera.exposure * gain), 0) ** np.float32(camera.contrast)
    sigma = np.float32(camera.noise)
    noise = sigma * rng.standard_normal(size, dtype=np.float32)
    if camera.band is Band.VISIBLE:
        grey, tint = luminance(*values), np.array(camera.tint, np.float32)[:, None, None]
        values = (grey + np.float32(camera.saturation) * (values - grey)) * tint
        own = np.float32(0.6) * sigma * rng.standard_normal((*size, 3), dtype=np.float32)
        noise = noise + np.moveaxis(own, -1, 0)
    picture = (unit(values + noise) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(np.moveaxis(picture, 0, -1), (*size, 3)))


def _resize(channel: Array, size: tuple[int, int], blur: float) -> Array:
    """Antialiased resize, by way of a picture as small as what the lens resolves."""
    height, width = size
    image = Image.fromarray(channel)
    resolved = round(0.6 / blur) if blur > 0 else height
    if resolved < height:
        image = image.resize((max(8, round(width * resolved / height)), resolved), Image.Resampling.BOX)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _lamp(size: tuple[int, int], camera: Camera, rng: np.random.Generator) -> Array:
    """How much of the infrared lamp reaches each pixel, (H, W), most in the middle and little at the rim."""
    height, width = size
    column, row = 0.5 + rng.normal(0, 0.08), 0.42 + rng.normal(0, 0.08)
    reach = camera.lamp * float(np.exp(rng.normal(0, 0.1)))
    x = (np.arange(width, dtype=np.float32)[None, :] / width - np.float32(column)) * np.float32(0.7 / reach)
    y = (np.arange(height, dtype=np.float32)[:, None] / height - np.float32(row)) * np.float32(1 / reach)
    return np.asarray(1.1 / (1 + 1.6 * (x * x + y * y)) ** 2, dtype=np.float32)
