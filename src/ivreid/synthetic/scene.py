"""Where cameras hang: every place is drawn once, in every band, and each picture is a crop of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ivreid.synthetic.backgrounds import draw_indoor, draw_outdoor
from ivreid.synthetic.scene_canvas import HEIGHT, WIDTH
from ivreid.synthetic.streams import generator
from ivreid.synthetic.surface import Band


@dataclass(frozen=True)
class Scene:
    """One place as each band sees it: images ready to crop."""

    visible: Image.Image
    nir: Image.Image
    heat: Image.Image

    def seen(self, band: Band, gap: float) -> Image.Image:
        """The scene in this band (see `Surface.seen`)."""
        if band is Band.VISIBLE:
            return self.visible
        own = self.nir if band is Band.NIR else self.heat
        return Image.blend(self.visible.convert("L"), own, gap)


def _grain(image: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Uneven light and dirt: nothing real is one flat colour."""

    def clouds(rows: int, columns: int) -> NDArray[np.float32]:
        small = Image.fromarray(rng.normal(0, 1, (rows, columns)).astype(np.float32))
        return np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))

    factor = 1 + strength * (clouds(7, 16) + 0.35 * clouds(HEIGHT // 3, WIDTH // 3))
    values = np.asarray(image, dtype=np.float32)
    uneven = values * (factor[..., None] if values.ndim == 3 else factor)
    return Image.fromarray(np.clip(uneven, 0, 255).astype(np.uint8))


@lru_cache(maxsize=32)
def scene(seed: int, place: int, indoor: bool) -> Scene:
    """The place with this number, the same in every process."""
    rng = generator(seed, "scene", place)
    visible, nir, heat = (draw_indoor if indoor else draw_outdoor)(rng).images
    return Scene(
        visible=_grain(visible.filter(ImageFilter.GaussianBlur(1.2)), rng, 0.06),
        nir=_grain(nir.filter(ImageFilter.GaussianBlur(1.5)), rng, 0.07),
        heat=_grain(heat.filter(ImageFilter.GaussianBlur(7)), rng, 0.05),
    )
