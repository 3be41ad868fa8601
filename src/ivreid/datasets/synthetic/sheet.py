"""Contact sheets: a few people before every camera of a layout, so that a person can judge the pictures."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ivreid.datasets.synthetic.camera import Camera
from ivreid.datasets.synthetic.identity import draw_identity
from ivreid.datasets.synthetic.layouts import LAYOUTS
from ivreid.datasets.synthetic.render import draw_shot, render
from ivreid.datasets.synthetic.rng import generator
from ivreid.datasets.synthetic.surface import Band
from ivreid.io import atomic_write

NAMES = {Band.VISIBLE: "visible", Band.NIR: "near infrared", Band.THERMAL: "thermal"}
INK, PAPER, QUIET = (34, 38, 46), (255, 255, 255), (120, 126, 138)
GUTTER, HEADER = 4, 44


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def render_sheet(
    path: Path | str,
    *,
    layout: str = "sysu-mm01",
    seed: int = 0,
    gap: float,
    identities: int = 8,
    size: tuple[int, int] = (128, 64),
    per_camera: int = 2,
    zoom: int = 1,
    colours: int | None = None,
) -> None:
    """Write a PNG whose rows are people and whose columns are cameras.

    Args:
        path: The file to write.
        layout: Whose cameras.
        seed: The dataset's seed.
        gap: The dataset's gap.
        identities: Rows.
        size: (height, width) of one picture.
        per_camera: Pictures of each person in each camera.
        zoom: Every pixel becomes zoom x zoom.
        colours: Reduce to so many colours, for a smaller file.
    """
    cameras = LAYOUTS[layout].plan(seed, max(LAYOUTS[layout].fewest, identities + identities % 2), 1).cameras
    height, width = size[0] * zoom, size[1] * zoom
    block = per_camera * width + GUTTER
    left = 30
    sheet = Image.new(
        "RGB", (left + len(cameras) * block + GUTTER, HEADER + identities * (height + GUTTER)), PAPER
    )
    pen = ImageDraw.Draw(sheet)
    for column, (name, camera) in enumerate(cameras.items()):
        x = left + column * block
        where = "indoor" if camera.indoor else "outdoor"
        title = f"camera {name}" if name.isdigit() else name
        pen.text((x, 6), title, INK, _font(14))
        pen.text((x, 24), f"{NAMES[camera.band]}, {where}", QUIET, _font(11))
        for row in range(identities):
            for shot in range(per_camera):
                image = _picture(seed, row + 1, column, shot, camera, size, gap)
                image = image.resize((width, height), Image.Resampling.NEAREST)
                sheet.paste(image, (x + shot * width, HEADER + row * (height + GUTTER)))
    for row in range(identities):
        pen.text((6, HEADER + row * (height + GUTTER) + height // 2 - 8), str(row + 1), INK, _font(14))
    if colours:
        sheet = sheet.quantize(colours, dither=Image.Dither.FLOYDSTEINBERG)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def _picture(
    seed: int, pid: int, column: int, shot: int, camera: Camera, size: tuple[int, int], gap: float
) -> Image.Image:
    moment = draw_shot(generator(seed, "shot", pid, column + 1, shot + 1), camera)
    return render(draw_identity(seed, pid), camera, moment, size=size, seed=seed, gap=gap)
