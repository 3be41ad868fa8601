"""Whatever a picture file holds, reading it gives pixels or one error that names it, and never made-up pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from ivreid.errors import ImageError
from ivreid.io import inspect_image, read_image


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (26, 17, 3), dtype=np.uint8))
    smooth = colour.resize((5, 7)).resize((40, 60))
    thermal = rng.integers(2600, 2740, (20, 11)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "a.jpg": encode(smooth, "JPEG", exif=exif),
        "b.jpg": encode(colour, "JPEG", progressive=True),
        "c.jpg": encode(smooth, "JPEG", restart_marker_rows=1, comment=b"note"),
        "d.jpg": encode(colour.convert("CMYK"), "JPEG"),
        "e.png": encode(colour, "PNG", icc_profile=b"x" * 3000),
        "f.png": encode(colour.convert("RGBA"), "PNG", exif=exif),
        "g.png": encode(colour.convert("P"), "PNG", transparency=3),
        "h.png": encode(Image.fromarray(thermal), "PNG"),
        "i.bmp": encode(colour, "BMP"),
        "j.webp": encode(colour, "WEBP", exif=exif),
        "k.webp": encode(colour.convert("RGBA"), "WEBP", lossless=True),
        "l.tif": encode(Image.fromarray(thermal.astype(np.float32)), "TIFF"),
        "m.tif": encode(colour, "TIFF", compression="tiff_lzw", exif=exif),
        "n.tif": encode(smooth, "TIFF", compression="jpeg"),
    }


PICTURES = pictures()


def overwritten(data: bytes, rng: Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out)) if rng.random() < 0.5 else rng.randrange(min(len(out), 200))
        out[at] = rng.randrange(256)
    return bytes(out)


def extreme_numbers(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(max(len(data) - 4, 1))
    word = rng.choice(
        (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\0\0", b"\0\0\xff\xff")
    )
    return data[:at] + word + data[at + 4 :]


def cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data))]


def repeated(data: bytes, rng: Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.randint(1, 300)
    return data[:at] + data[at : at + length] * rng.randint(2, 50) + data[at:]


def joined(data: bytes, rng: Random) -> bytes:
    other = PICTURES[rng.choice(sorted(PICTURES))]
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


DAMAGE: tuple[Callable[[bytes, Random], bytes], ...] = (overwritten, extreme_numbers, cut, repeated, joined)


@pytest.mark.campaign(slice=150)
def test_damaged_pictures_are_read_or_refused(rng: Random, tmp_path: Path) -> None:
    name = rng.choice(sorted(PICTURES))
    path = tmp_path / (name if rng.random() < 0.9 else f"x.{rng.choice(('jpg', 'webp', 'tif', 'png', ''))}")
    data = PICTURES[name]
    for _ in range(rng.randint(1, 2)):
        data = rng.choice(DAMAGE)(data, rng) or b"x"
    path.write_bytes(data)
    rule = rng.choice(("refuse", "image", (2600.0, 2740.0)))
    said = ""
    try:
        pixels = np.asarray(read_image(path, rule))
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    except ImageError as error:
        said = str(error)
        assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < 500 + len(str(path))
    looked = inspect_image(path, decode=True, value_range=rule)
    if (
        rule == "refuse" and looked.value_range
    ):  # for the check it is no fault, for the reader it needs a rule
        assert "no rule" in said
    else:
        assert bool(looked.fault) is bool(said), "the check and the reader agree"
    if inspect_image(path, value_range=rule).fault:
        assert said, "what is found without decoding is refused"


@pytest.mark.campaign(slice=60)
def test_a_cut_jpeg_never_gives_other_pixels(rng: Random, tmp_path: Path) -> None:
    size = (rng.randint(1, 70), rng.randint(1, 70))
    noise = Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1]))
    image = noise if rng.random() < 0.5 else noise.resize((3, 3)).resize(size)
    options: dict[str, object] = {
        "quality": rng.randint(20, 98),
        "subsampling": rng.choice((0, 1, 2)),
        "progressive": rng.random() < 0.4,
        "restart_marker_rows": rng.choice((0, 0, 1, 2)),
    }
    if rng.random() < 0.2:
        image = image.convert("L")
    data = encode(image, "JPEG", **options)
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    whole = np.asarray(read_image(path))
    lost = rng.choice((1, 2, rng.randint(3, 12), rng.randint(3, len(data) // 2)))
    path.write_bytes(data[:-lost] + b"\0" * rng.choice((0, 0, 1, 2, 700)))
    try:
        assert np.array_equal(np.asarray(read_image(path)), whole)
    except ImageError:
        # a zero at the end may be data, or what a copy that broke off left
        assert lost > 2 or (data[-3] == 0 and data[-4] != 0xFF), "only the end marker is missing"
