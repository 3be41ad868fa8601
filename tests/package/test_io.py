"""Files: whole or not at all; hostile images become one clear error."""

import errno
import io as stdio
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivreid import io
from ivreid.errors import DataError, ImageError
from kill_points import KillPoint, count_events, run_until


def png(width, height):
    """A PNG that claims a size without holding its pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def jpeg_bytes():
    buffer = stdio.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)).save(
        buffer, "JPEG"
    )
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"not an image", "not a readable"),
        (jpeg_bytes()[:400], "not a readable"),
        (png(60_000, 60_000), "limit|not a readable"),
        (b"GIF89a" + b"\0" * 50, "not a readable"),
    ],
    ids=["empty", "text", "truncated", "huge", "gif"],
)
def test_unreadable_images_name_the_file(tmp_path, content, message):
    path = tmp_path / "shot.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        io.read_image(path)
    assert str(path) in str(caught.value)


def test_missing_image(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        io.read_image(tmp_path / "none.jpg")


def test_grey_images_become_three_equal_channels(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "grey.png")
    pixels = np.asarray(io.read_image(tmp_path / "grey.png"))
    assert pixels.shape == (8, 8, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "state.bin"
    path.write_bytes(b"old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, call)), full)
    with pytest.raises(DataError, match="No space left"), io.atomic_write(path) as file:
        file.write(b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["state.bin"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "state.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), io.atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["state.bin"]


OLD, NEW = b"old" * 10_000, b"new" * 90_000


def replace(path):
    with io.atomic_write(path) as file:
        for start in range(0, len(NEW), 30_000):
            file.write(NEW[start : start + 30_000])


@pytest.fixture(scope="module")
def writing(tmp_path_factory):
    """The events of writing a file."""
    folder = tmp_path_factory.mktemp("writing")
    return count_events(folder / "tally.json", replace, folder / "state.bin")


@pytest.mark.campaign(slice=8)
def test_killed_while_writing_the_old_file_or_the_new_is_there(rng, writing, tmp_path):
    path = tmp_path / "state.bin"
    path.write_bytes(OLD)
    point = KillPoint.draw(rng, writing)
    status = run_until(point, replace, path)
    assert status == -point.signum or (status == 0 and point.later)
    assert path.read_bytes() in (OLD, NEW)
    assert all(
        f == path or (f.name.startswith(".state.bin.") and f.suffix == ".tmp") for f in tmp_path.iterdir()
    )


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        io.write_json(tmp_path / "a.json", {"mAP": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_ignores_order_and_feels_every_value():
    items = [("a", 1), ("b", 2)]
    assert io.fingerprint(items) == io.fingerprint(reversed(items))
    assert len({io.fingerprint(i) for i in ([("a", 1)], [("a", 2)], [("b", 1)], items)}) == 4
