"""What a picture file may hold: grey of more than eight bits, a turned camera, hidden colours, a missing end; and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ivreid.errors import ImageError
from ivreid.io import images, read_image, to_grey
from ivreid.io.image_formats import is_leftover, is_picture, kind_of
from ivreid.io.jpeg import MAX_SCANS, read_structure


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def colours(seed: int = 0, height: int = 37, width: int = 21) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def thermal(seed: int, low: int = 2600, high: int = 2740) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, (9, 5)).astype(np.uint16)


# --- grey of more than eight bits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "kind", "dtype"),
    [
        (".png", "PNG", np.uint16),
        (".tif", "TIFF", np.uint16),
        (".TIFF", "TIFF", np.int32),
        (".tif", "TIFF", np.float32),
    ],
)
def test_a_deep_picture_follows_the_rule_or_is_refused(
    tmp_path: Path, suffix: str, kind: str, dtype: type
) -> None:
    values = thermal(0).astype(dtype)
    values.flat[:2] = 2600, 2740
    path = saved(tmp_path / f"a{suffix}", encode(Image.fromarray(values), kind))
    with pytest.raises(ImageError, match=r"from 2,600 to 2,740 .*no rule.*data\.value_range"):
        read_image(path)
    grey = [[round(Fraction(255 * (int(v) - 2600), 140)) for v in row] for row in values]
    pixels = np.asarray(read_image(path, "image"))
    assert pixels.tolist() == [[[g, g, g] for g in row] for row in grey]
    assert np.array_equal(np.asarray(read_image(path, (2600.0, 2740.0))), pixels)
    clipped = np.asarray(read_image(path, (2650.0, 2700.0)))[..., 0]
    expected = [
        [round(Fraction(255 * (min(max(int(v), 2650), 2700) - 2650), 50)) for v in row] for row in values
    ]
    assert clipped.tolist() == expected


def test_two_deep_pictures_stay_two(tmp_path: Path) -> None:
    """The plain conversion makes both solid white."""
    paths = [saved(tmp_path / f"{i}.png", encode(Image.fromarray(thermal(i)), "PNG")) for i in range(2)]
    assert all(np.asarray(Image.open(path).convert("RGB")).min() == 255 for path in paths)
    one, other = (np.asarray(read_image(path, "image")) for path in paths)
    assert not np.array_equal(one, other) and one.std() > 50


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=40),
    st.tuples(st.integers(-100_000, 100_000), st.integers(1, 100_000)),
)
@settings(max_examples=60, deadline=None)
def test_grey_levels_are_the_stated_fraction(values: list[int], given_range: tuple[int, int]) -> None:
    low, high = given_range[0], given_range[0] + given_range[1]
    array = np.array([values], dtype=np.int32)
    if max(values) <= low or min(values) >= high:
        with pytest.raises(ImageError, match=r"outside data\.value_range"):
            to_grey(array, (float(low), float(high)))
        return
    for value, grey in zip(values, to_grey(array, (float(low), float(high)))[0].tolist(), strict=True):
        exact = Fraction(255 * (min(max(value, low), high) - low), high - low)
        assert abs(grey - exact) <= Fraction(1, 2) + Fraction(1, 10**9)


def test_large_deep_pictures_are_converted_in_blocks() -> None:
    values = np.arange(3 * 700_000, dtype=np.int32).reshape(3, -1)
    assert np.array_equal(
        to_grey(values, "image"), np.rint(values * (255 / (values.size - 1))).astype(np.uint8)
    )


@pytest.mark.parametrize(
    ("values", "rule", "message"),
    [
        (np.array([[1.0, np.nan]], np.float32), "image", "NaN"),
        (np.array([[1.0, np.inf]], np.float32), (0.0, 1.0), "infinite"),
        (thermal(0, 17_900, 19_200), (2600.0, 2740.0), "all white"),
        (thermal(0), (17_900.0, 19_200.0), "all black"),
    ],
)
def test_values_that_no_rule_can_show(values: np.ndarray, rule: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_grey(values, rule)  # type: ignore[arg-type]
    assert to_grey(np.full((2, 2), 7, np.uint16), "image").tolist() == [[0, 0], [0, 0]]


def test_deep_pictures_that_mean_something_else_are_refused(tmp_path: Path) -> None:
    white_is_zero = encode(Image.fromarray(thermal(0)), "TIFF", tiffinfo={262: 0})
    assert Image.open(io.BytesIO(white_is_zero)).tag_v2[262] == 0
    with pytest.raises(ImageError, match="zero is white"):
        read_image(saved(tmp_path / "a.tif", white_is_zero), "image")
    data = bytearray(encode(Image.new("LA", (4, 4), (200, 255)), "PNG"))
    data[24] = 16  # bits a value; the checksum is made to fit
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(ImageError, match="16 bits with transparency"):
        read_image(saved(tmp_path / "a.png", bytes(data)), "image")
    keyed = encode(Image.fromarray(thermal(0)), "PNG", transparency=2600)
    with pytest.raises(ImageError, match="transparent value"):
        read_image(saved(tmp_path / "b.png", keyed), "image")


# --- as one sees it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.tif", "TIFF"), ("a.webp", "WEBP")])
def test_pictures_are_turned_upright(tmp_path: Path, name: str, kind: str, orientation: int) -> None:
    image, exif = colours(), Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    path = saved(tmp_path / name, encode(image, kind, exif=exif, **options))
    pixels, seen = np.asarray(image), np.asarray(read_image(path))
    by_hand = {  # how EXIF defines them: what row 0 and column 0 of the file show
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels[::-1].transpose(1, 0, 2),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: pixels[:, ::-1].transpose(1, 0, 2),
    }
    assert np.array_equal(seen, by_hand[orientation])


def test_jpeg_orientation_and_damaged_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(colours(), "JPEG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert read_image(saved(tmp_path / "a.jpg", data)).size == (37, 21)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.jpg")), np.asarray(upright))
    at = data.index(b"Exif\0\0") + 6
    damaged = data[:at] + b"\xee" * 8 + data[at + 8 :]
    assert read_image(saved(tmp_path / "b.jpg", damaged)).size == (21, 37), "damage beside the pixels"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "key"])
def test_hidden_colours_stay_hidden(tmp_path: Path, mode: str) -> None:
    """The same cut-out person twice, with other colours under the transparent part: equal pixels, on black."""
    seen = []
    for n, hidden in enumerate(((250, 10, 10), (10, 10, 250))):
        picture = Image.new("RGBA", (8, 8), (*hidden, 0))
        picture.paste((90, 90, 90, 255), (2, 2, 6, 6))
        options = {}
        if mode == "LA":
            picture = picture.convert("LA")
        elif mode == "P":
            index = picture.getchannel("A").point(lambda a: 1 if a else 0)
            picture = Image.frombytes("P", (8, 8), index.tobytes())
            picture.putpalette([*hidden, 90, 90, 90])
            options = {"transparency": 0}
        elif mode == "key":
            picture, options = picture.convert("RGB"), {"transparency": hidden}
        seen.append(np.asarray(read_image(saved(tmp_path / f"{n}.png", encode(picture, "PNG", **options)))))
    assert np.array_equal(*seen)
    expected = np.zeros((8, 8, 3), np.uint8)
    expected[2:6, 2:6] = 90
    assert np.array_equal(seen[0], expected)


def test_half_transparent_pixels_are_mixed_with_black(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", encode(Image.new("RGBA", (2, 2), (200, 100, 50, 51)), "PNG"))
    assert np.asarray(read_image(path))[0, 0].tolist() == [40, 20, 10]  # a fifth
    with pytest.raises(ImageError, match="every pixel is transparent"):
        read_image(saved(tmp_path / "b.png", encode(Image.new("RGBA", (2, 2), (9, 9, 9, 0)), "PNG")))


def test_an_unused_fourth_byte_of_a_bitmap_hides_nothing(tmp_path: Path) -> None:
    """32-bit bitmaps with an alpha mask and zeros in it, as many programs write them."""
    head = struct.pack(
        "<IiiHHIIiiII4I", 108, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000
    )
    head += b"\0" * (108 - len(head))
    pixels = bytes((10, 20, 30, 0)) * 4
    data = b"BM" + struct.pack("<IHHI", 14 + 108 + 16, 0, 0, 14 + 108) + head + pixels
    assert Image.open(io.BytesIO(data)).mode == "RGBA"
    assert np.asarray(read_image(saved(tmp_path / "a.bmp", data)))[0, 0].tolist() == [30, 20, 10]


def test_sixteen_bit_colour_keeps_its_upper_byte(tmp_path: Path) -> None:
    values = np.array([[[0x1234, 0xFFFF, 0x00FF]]], dtype=">u2")
    raw = zlib.compress(b"\0" + values.tobytes())

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")
    assert np.asarray(read_image(saved(tmp_path / "a.png", data))).tolist() == [[[0x12, 0xFF, 0x00]]]


# --- beside the pixels -------------------------------------------------------------------------------------


def test_a_large_profile_does_not_stop_reading_the_pixels(tmp_path: Path) -> None:
    image = colours()
    data = encode(
        image, "PNG", icc_profile=bytes(np.random.default_rng(0).integers(0, 256, 3 << 20, np.uint8))
    )
    with pytest.raises(ValueError, match="too large"):
        Image.open(io.BytesIO(data)).load()
    assert np.array_equal(np.asarray(read_image(saved(tmp_path / "a.png", data))), np.asarray(image))


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0, "quality": 95},
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_lacks_only_its_end_is_read_and_a_cut_one_never(tmp_path: Path, kind: str) -> None:
    data = encode(colours(3), "JPEG", **JPEGS[kind])
    whole = np.asarray(read_image(saved(tmp_path / "a.jpg", data)))
    assert np.array_equal(whole, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.array_equal(np.asarray(read_image(saved(tmp_path / "a.jpg", data + b"\0" * 99))), whole)
    for cut in (1, 2):
        for padding in (0, 512):
            path = saved(tmp_path / "a.jpg", data[:-cut] + b"\0" * padding)
            assert np.array_equal(np.asarray(read_image(path)), whole)
    for cut in (*range(3, 60, 2), *range(60, len(data) - 10, 67)):
        for padding in (0, 512):  # a copy that broke off may keep its length
            with pytest.raises(ImageError, match=r"cut short|not a readable"):
                read_image(saved(tmp_path / "a.jpg", data[:-cut] + b"\0" * padding))


def test_a_progressive_jpeg_without_its_last_scans_is_cut(tmp_path: Path) -> None:
    data = encode(colours(), "JPEG", progressive=True)
    scans = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    assert read_structure(data).scans == len(scans) and read_structure(data).ended
    for at in scans:
        with pytest.raises(ImageError, match=r"cut short|not a readable"):
            read_image(saved(tmp_path / "a.jpg", data[:at]))


def test_a_jpeg_of_thousands_of_scans_is_refused_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    path = saved(tmp_path / "a.jpg", data[:-2] + scan * 20_000 + b"\xff\xd9")
    with monkeypatch.context() as patch, pytest.raises(ImageError, match=f"over {MAX_SCANS} scans"):
        patch.setattr(images, "_checked", lambda *_: pytest.fail("it was decoded, which takes minutes"))
        read_image(path)
    read_image(saved(tmp_path / "b.jpg", data[:-2] + scan * 30 + b"\xff\xd9"))


def test_other_kinds_are_named(tmp_path: Path) -> None:
    image = colours()
    for kind, word in (("WEBP", "WebP"), ("TIFF", "TIFF"), ("GIF", "GIF"), ("JPEG2000", "JPEG 2000")):
        with pytest.raises(ImageError, match=rf"a\.jpg: not a readable JPEG, PNG or BMP image: it is {word}"):
            read_image(saved(tmp_path / "a.jpg", encode(image, kind)))
    for text, word in (
        (b"<!DOCTYPE html><p>404", "HTML page"),
        (b"version https://git-lfs.github.com", "lfs pull"),
    ):
        with pytest.raises(ImageError, match=word):
            read_image(saved(tmp_path / "a.png", text))
    for name, kind in (
        ("a.webp", "WEBP"),
        ("a.tif", "TIFF"),
        ("a.jpg", "PNG"),
        ("a.png", "BMP"),
        ("a", "WEBP"),
    ):
        assert read_image(saved(tmp_path / name, encode(image, kind))).size == image.size
    assert kind_of(b"") == kind_of(b"hello") == ""


@pytest.mark.parametrize(("name", "kind"), [("a.tif", "TIFF"), ("a.webp", "WEBP"), ("a.png", "PNG")])
def test_several_pictures_in_one_file_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    data = encode(colours(), kind, save_all=True, append_images=[colours(1)])
    with pytest.raises(ImageError, match="several pictures"):
        read_image(saved(tmp_path / name, data))


def test_what_programs_leave_behind_is_no_picture() -> None:
    for name in (
        *(
            ".ipynb_checkpoints",
            "._0001.jpg",
            ".Trash-1000",
            "@eaDir",
            "__MACOSX",
            "#recycle",
            "$RECYCLE.BIN",
        ),
        *("lost+found", "Thumbs.db", "desktop.ini", "thumbnails", "System Volume Information"),
    ):
        assert is_leftover(name) and not is_picture(f".{name}.jpg")
    for name in ("0001.jpg", "a.PNG", "b.webp", "c.Tiff", "thumb.jpg", "recycle.bmp"):
        assert is_picture(name) and not is_leftover(name)
    assert not is_picture("a.webp", (".jpg",)) and not is_picture("notes.txt")
