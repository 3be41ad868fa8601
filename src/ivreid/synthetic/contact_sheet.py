"""Contact sheets: a few people before every camera of a layout, so that a person can judge the pictures."""

from __future__ import annotations

import io
from collections import Counter
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ivreid.io import atomic_write
from ivreid.synthetic.dataset_request import DEFAULT_GAP, DatasetRequest
from ivreid.synthetic.generate import draw_picture, plan_dataset
from ivreid.synthetic.layouts import LAYOUTS
from ivreid.synthetic.surface import Band

NAMES = {Band.VISIBLE: "visible", Band.NIR: "near infrared", Band.THERMAL: "thermal"}
INK, PAPER, QUIET = (34, 38, 46), (255, 255, 255), (120, 126, 138)
BLANK = (243, 244, 246)
GUTTER, HEADER, MARGIN = 4, 44, 30


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def write_contact_sheet(
    path: Path | str,
    *,
    layout: str = "sysu-mm01",
    seed: int = 0,
    gap: float = DEFAULT_GAP,
    identities: int = 8,
    size: tuple[int, int] = (128, 64),
    per_camera: int = 2,
    first: int = 1,
    colours: int | None = None,
) -> None:
    """Write a PNG of the first pictures of a dataset: rows are people, columns are cameras.

    A blank place is a camera this person never passes.

    Args:
        path: The file to write.
        layout: Whose cameras.
        seed: The dataset's seed.
        gap: The dataset's gap.
        identities: Rows.
        size: (height, width) of one picture.
        per_camera: Pictures of each person in each camera.
        first: The first row's pid.
        colours: Reduce to so many colours, for a smaller file.

    Raises:
        UsageError: A value out of its range (see `synthesise`).
    """
    people = max(LAYOUTS[layout].fewest if layout in LAYOUTS else 1, first + identities)
    request = DatasetRequest(layout, people + people % 2, per_camera, size, seed, gap)
    planned = plan_dataset(request)
    height, width = size
    block = per_camera * width + GUTTER
    rows = range(first, first + identities)
    shape = (MARGIN + len(planned.cameras) * block + GUTTER, HEADER + len(rows) * (height + GUTTER))
    sheet = Image.new("RGB", shape, PAPER)
    pen = ImageDraw.Draw(sheet)
    corners = {name: MARGIN + column * block for column, name in enumerate(planned.cameras)}
    for name, x in corners.items():
        camera = planned.cameras[name]
        band, where = NAMES[camera.band], "indoor" if camera.indoor else "outdoor"
        pen.text((x, 5), f"camera {name}" if name.isdigit() else name, INK, _font(14))
        pen.text((x, 24), f"{band}, {where}" if block > 120 else where, QUIET, _font(11))
    for row, pid in enumerate(rows):
        y = HEADER + row * (height + GUTTER)
        pen.text((6, y + height // 2 - 8), str(pid), INK, _font(14))
        for x in corners.values():
            pen.rectangle((x, y, x + per_camera * width - 1, y + height - 1), fill=BLANK)
        taken: Counter[str] = Counter()
        for picture in (picture for picture in planned.pictures if picture.pid == pid):
            image = draw_picture(request, planned, picture).resize((width, height), Image.Resampling.BICUBIC)
            sheet.paste(image, (corners[picture.camera] + taken[picture.camera] * width, y))
            taken[picture.camera] += 1
    buffer = io.BytesIO()
    (sheet.quantize(colours, dither=Image.Dither.FLOYDSTEINBERG) if colours else sheet).save(
        buffer, "PNG", optimize=True
    )
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
