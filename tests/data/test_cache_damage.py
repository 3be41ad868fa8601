"""A cache that is damaged, cut short or outdated never gives wrong pixels, and never ends the process."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivreid.data import CacheKey, ImageCache, decode, open_cache, open_images
from ivreid.data.cache_file import CacheFile
from ivreid.errors import DataError

SIZE = (6, 4)
PATHS = ("0.png", "a/1.png", "a/2.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    (tmp_path / "data" / "a").mkdir(parents=True)
    for path in PATHS:
        Image.fromarray(rng.integers(0, 256, (12, 8, 3), dtype=np.uint8)).save(tmp_path / "data" / path)
    return tmp_path / "data"


def key(root: Path) -> CacheKey:
    return CacheKey(root, PATHS, SIZE, "a")


def test_rows_names_and_flags_come_back(root: Path, tmp_path: Path) -> None:
    (root / PATHS[1]).write_bytes(b"no picture")
    file = CacheFile(open_cache(tmp_path / "c", key(root)).path)
    assert (len(file), file.size, file.names()) == (3, SIZE, PATHS)
    assert file.readable.tolist() == [True, False, True]
    assert np.array_equal(file.row(2), decode(root / PATHS[2], SIZE))
    assert not file.row(1).any()
    assert not file.row(0).flags.writeable


def test_any_flipped_bit_is_seen_and_the_pixels_stay_right(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = open_cache(tmp_path / "c", key(root)).path
    whole, rng = path.read_bytes(), random.Random(0)
    start = whole.index(b"}  ") + 10  # of the padding, of which a few bytes are enough
    places = [*range(start), *range(len(whole) - 300, len(whole))]
    wanted = [decode(root / p, SIZE) for p in PATHS]
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        caplog.clear()
        try:
            cache = ImageCache(path, key(root))
        except DataError as error:
            assert str(path) in str(error)
            continue
        assert cache.readable.all()
        assert all(np.array_equal(cache.read(row), pixels) for row, pixels in enumerate(wanted))
        # a damaged row is told and its file gone; the rest is what other tools read, and we do not
        assert bool(caplog.text) == (not path.exists())
        if at >= len(whole) - 300:
            assert "the checksum of row" in caplog.text


def test_a_damaged_row_is_decoded_anew_told_once_and_rebuilt_by_the_next_run(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = open_cache(tmp_path / "c", key(root)).path
    with path.open("r+b") as file:
        file.seek(4096 + 72 + 5)
        file.write(b"\1\2\3")
    images, _ = open_images(root, PATHS, SIZE, cache=tmp_path / "c", dataset="a")
    for _ in range(2):
        for row, name in enumerate(PATHS):
            assert np.array_equal(images.read(row), decode(root / name, SIZE))
    assert caplog.text.count("the checksum of row 1 differs") == 1
    assert str(root / PATHS[1]) in caplog.text
    ticks: list[int] = []
    open_cache(tmp_path / "c", key(root), progress=lambda done, _: ticks.append(done))
    assert ticks == [1, 2, 3]


def test_an_unreadable_flag_is_no_reason_to_leave_a_picture_out_when_it_is_damage(
    root: Path, tmp_path: Path
) -> None:
    path = open_cache(tmp_path / "c", key(root)).path
    data = bytearray(path.read_bytes())
    data[4096 + 3 * 72] = 0  # the first flag
    path.write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        CacheFile(path)
    _, rows = open_images(root, PATHS, SIZE, cache=tmp_path / "c", dataset="a", on_bad_image="skip")
    assert rows.tolist() == [0, 1, 2]


def test_a_picture_replaced_with_equal_size_and_time_makes_the_cache_stale(
    root: Path, tmp_path: Path
) -> None:
    for name in ("x.bmp", "y.bmp"):  # bitmaps of equal size
        value = 10 if name == "x.bmp" else 200
        Image.fromarray(np.full((12, 8, 3), value, dtype=np.uint8)).save(root / name)
        os.utime(root / name, ns=(10**18, 10**18))
    one = CacheKey(root, ("x.bmp",), SIZE, "a")
    assert open_cache(tmp_path / "c", one).read(0)[0, 0, 0] == 10
    before = (root / "x.bmp").stat()
    shutil.copy2(root / "y.bmp", root / "x.bmp")
    after = (root / "x.bmp").stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    again = CacheKey(root, ("x.bmp",), SIZE, "a")
    assert open_cache(tmp_path / "c", again).read(0)[0, 0, 0] == 200
    (root / "y.bmp").write_bytes((root / "x.bmp").read_bytes())
    Image.fromarray(np.full((12, 8, 3), 30, dtype=np.uint8)).save(root / "z.bmp")
    os.utime(root / "z.bmp", ns=(10**18, 10**18))
    (root / "z.bmp").replace(root / "x.bmp")  # moved over it, which changes neither size nor time
    assert open_cache(tmp_path / "c", CacheKey(root, ("x.bmp",), SIZE, "a")).read(0)[0, 0, 0] == 30


CUT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from ivreid.data import CacheKey, open_cache
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    key = CacheKey(root, ("0.png", "a/1.png", "a/2.png"), (600, 400), "a")
    cache = open_cache(folder, key)
    with cache.path.open("r+b") as file:
        file.truncate(4096 + 100)
    print([int(cache.read(row).sum()) for row in (2, 1, 0)])
    """
)


def test_a_cache_cut_while_it_is_open_is_a_message_and_not_the_end(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CUT, str(root), str(tmp_path / "c")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is cut short") == 1
    wanted = [int(decode(root / PATHS[row], (600, 400)).sum(dtype=np.int64)) for row in (2, 1, 0)]
    assert done.stdout.strip() == str(wanted)


def test_rows_read_the_same_without_positioned_reading(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(tmp_path / "c", key(root))
    monkeypatch.delattr(os, "pread")
    assert np.array_equal(cache.read(1), decode(root / PATHS[1], SIZE))
