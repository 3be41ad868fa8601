from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from ivreid.data import (
    CacheKey,
    ImageCache,
    build_cache,
    decode,
    default_cache_folder,
    open_cache,
    open_images,
)
from ivreid.errors import DataError, ImageError
from ivreid.types import Sample
from kill_points import KillPoint, Tally, count_events, run_until
from time_limits import seconds

SIZE = (32, 12)


def draw_images(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for i in range(9):
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw_images(tmp_path)


PATHS = tuple(f"{i}.png" for i in range(9))


def key(root: Path, dataset: str = "a") -> CacheKey:
    return CacheKey(root, PATHS, SIZE, dataset)


def test_cached_pixels_are_the_decoded_ones(
    image_folder: Path, samples: tuple[Sample, ...], tmp_path: Path
) -> None:
    paths = [s.path for s in samples]
    cached, rows = open_images(image_folder, paths, SIZE, cache=tmp_path)
    direct, _ = open_images(image_folder, paths, SIZE)
    assert rows.tolist() == list(range(len(paths)))
    for row, path in enumerate(paths):
        assert np.array_equal(cached.read(row), direct.read(row))
        with Image.open(image_folder / path) as image:  # the specification in Pillow's own words
            expected = np.asarray(image.convert("RGB").resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR))
        assert np.array_equal(direct.read(row), expected)


def test_other_tools_can_read_the_file(root: Path, tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "c", key(root))
    with safe_open(cache.path, framework="np") as file:
        assert file.metadata()["dataset"] == "a"
        assert np.array_equal(file.get_tensor("images")[4], decode(root / "4.png", SIZE))
        assert file.get_tensor("readable").tolist() == [1] * 9


def test_a_second_opening_decodes_nothing(root: Path, tmp_path: Path) -> None:
    ticks: list[tuple[int, int]] = []
    open_cache(tmp_path / "c", key(root), progress=lambda *t: ticks.append(t))
    assert ticks == [(i, 9) for i in range(1, 10)]
    open_cache(tmp_path / "c", key(root), progress=lambda *_: pytest.fail("decoded again"))


def test_a_cache_of_something_else_is_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    build_cache(path, key(root))
    ImageCache(path, key(root))
    with pytest.raises(DataError, match="the dataset's fingerprint is 'a' there and 'b' here"):
        ImageCache(path, key(root, "b"))
    with pytest.raises(DataError, match="the image height is '32' there and '64' here"):
        ImageCache(path, CacheKey(root, PATHS, (64, 12), "a"))
    with pytest.raises(DataError, match="the number of images is '9' there and '8' here"):
        ImageCache(path, CacheKey(root, PATHS[:8], SIZE, "a"))
    with pytest.raises(DataError, match="the list of images"):
        ImageCache(path, CacheKey(root, PATHS[::-1], SIZE, "a"))


def test_an_image_changed_in_place_makes_the_cache_stale(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(tmp_path / "c", key(root))
    before = (root / "3.png").stat()
    data = bytearray((root / "3.png").read_bytes())
    (root / "3.png").write_bytes(data)  # same size, as bitmaps keep theirs
    os.utime(root / "3.png", ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    with pytest.raises(DataError, match="times of change"):
        ImageCache(cache.path, key(root))
    open_cache(tmp_path / "c", key(root))
    assert "rebuilding" in caplog.text
    ImageCache(cache.path, key(root))


@pytest.mark.parametrize("damage", ["short", "empty", "foreign", "header"])
def test_a_damaged_cache_is_refused_and_rebuilt(root: Path, tmp_path: Path, damage: str) -> None:
    path = open_cache(tmp_path / "c", key(root)).path
    data = path.read_bytes()
    path.write_bytes(
        {"short": data[:-5], "empty": b"", "foreign": b"PK" * 50, "header": data[:9] + b"!" + data[10:]}[
            damage
        ]
    )
    with pytest.raises(DataError, match=r"cut short|not an ivreid image cache"):
        ImageCache(path, key(root))
    assert np.array_equal(open_cache(tmp_path / "c", key(root)).read(2), decode(root / "2.png", SIZE))


def test_all_unreadable_images_are_found_in_one_pass(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "1.png").write_bytes(b"")
    (root / "4.png").write_bytes((root / "4.png").read_bytes()[:300])
    (root / "7.png").unlink()
    for cache in (tmp_path / "c", None):
        source, rows = open_images(root, PATHS, SIZE, cache=cache, on_bad_image="skip")
        assert rows.tolist() == [0, 2, 3, 5, 6, 8]
        assert np.array_equal(source.read(3), decode(root / "5.png", SIZE))
        assert all(name in caplog.text for name in ("1.png", "4.png", "7.png"))
        caplog.clear()
    for _ in range(2):  # while building, and from the finished cache
        with pytest.raises(ImageError, match="3 image") as error:
            open_images(root, PATHS, SIZE, cache=tmp_path / "d")
        assert all(name in str(error.value) for name in ("1.png", "4.png", "7.png"))


def test_a_repaired_image_is_read_again(root: Path, tmp_path: Path) -> None:
    good = (root / "1.png").read_bytes()
    (root / "1.png").write_bytes(b"")
    with pytest.raises(ImageError):
        open_images(root, PATHS, SIZE, cache=tmp_path / "c")
    (root / "1.png").write_bytes(good)
    source, _ = open_images(root, PATHS, SIZE, cache=tmp_path / "c")
    assert np.array_equal(source.read(1), decode(root / "1.png", SIZE))


def test_a_full_disk_stops_with_the_reason_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot write .*File too large"):
            open_cache(tmp_path / "c", key(root))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in (tmp_path / "c").iterdir() if not p.name.endswith(".lock")] == []
    assert len(open_cache(tmp_path / "c", key(root))) == 9


def test_a_cache_folder_that_cannot_be_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="IVREID_CACHE"):
        open_cache(tmp_path / "file", key(root))


BUILDER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from ivreid.data import CacheKey, open_cache
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    def tick(done, total):
        print(done, flush=True)
        sys.stdin.read()  # until it is closed
    key = CacheKey(root, tuple(f"{i}.png" for i in range(9)), (32, 12), "a")
    print("rows", len(open_cache(folder, key, workers=1, progress=tick)), flush=True)
    """
)


def builder(root: Path, folder: Path) -> subprocess.Popen[str]:
    """A process that stands still in the middle of its work until its input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(root), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
            "OMP_NUM_THREADS": "1",
        },
    )


def test_a_killed_build_is_no_cache_and_the_next_cleans_up(root: Path, tmp_path: Path) -> None:
    process = builder(root, tmp_path / "c")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"  # in the middle of its work
        process.kill()
    names = [p.name for p in (tmp_path / "c").iterdir()]
    assert any(name.endswith(".tmp") for name in names) and key(root).name not in names
    assert len(open_cache(tmp_path / "c", key(root))) == 9
    assert not list((tmp_path / "c").glob(".*.tmp"))


def build(root: Path, folder: Path) -> None:
    open_cache(folder, key(root), workers=1)


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Tally:
    """The events of building a cache."""
    folder = tmp_path_factory.mktemp("building")
    return count_events(folder / "tally.json", build, draw_images(folder), folder / "c")


@pytest.mark.campaign(slice=2)
def test_a_build_killed_at_a_random_point_is_made_good(
    rng: Random, building: Tally, root: Path, tmp_path: Path
) -> None:
    point = KillPoint.draw(rng, building)
    status = run_until(point, build, root, tmp_path / "c")
    assert status == -point.signum or (status == 0 and point.later)
    cache = open_cache(tmp_path / "c", key(root))
    assert all(np.array_equal(cache.read(row), decode(root / f"{row}.png", SIZE)) for row in range(9))
    assert not list((tmp_path / "c").glob(".*.tmp"))


def test_of_two_builders_one_waits_for_the_other(root: Path, tmp_path: Path) -> None:
    process = builder(root, tmp_path / "c")
    built: list[int] = []
    found: list[ImageCache] = []

    def open_too() -> None:
        found.append(open_cache(tmp_path / "c", key(root), progress=lambda done, _: built.append(done)))

    with process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "1\n"
        other = threading.Thread(target=open_too)
        other.start()
        other.join(0.3)
        assert other.is_alive()
        process.stdin.close()
        other.join(seconds(60))
        assert process.stdout.read().endswith("rows 9\n")
    assert built == [] and np.array_equal(found[0].read(8), decode(root / "8.png", SIZE))


def test_threads_of_one_process_build_once_too(root: Path, tmp_path: Path) -> None:
    ticks: list[int] = []
    work = [
        threading.Thread(
            target=open_cache,
            args=(tmp_path / "c", key(root)),
            kwargs={"progress": lambda d, _: ticks.append(d)},
        )
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert sorted(ticks) == list(range(1, 10))


def test_where_caches_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVREID_CACHE", "/somewhere")
    assert default_cache_folder() == Path("/somewhere")
    monkeypatch.delenv("IVREID_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_cache_folder() == Path("/x/ivreid")


def test_every_rule_for_deep_grey_has_its_own_cache(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(2600, 2740, (20, 10)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    read = {}
    for rule in ("image", (2600.0, 2800.0), (2500.0, 2800.0)):
        for cache in (tmp_path / "c", None):
            source, _ = open_images(tmp_path, ["a.png"], SIZE, value_range=rule, cache=cache)
            assert np.array_equal(source.read(0), decode(tmp_path / "a.png", SIZE, rule))
        read[rule] = source.read(0)
    assert len({pixels.tobytes() for pixels in read.values()}) == 3
    with pytest.raises(ImageError, match=r"a\.png.*no rule"):
        open_images(tmp_path, ["a.png"], SIZE, cache=tmp_path / "c")
    assert len(list((tmp_path / "c").glob("*.safetensors"))) == 4
    path = next(iter((tmp_path / "c").glob("*.safetensors")))
    with pytest.raises(DataError, match="the rule for grey of more than eight bits is"):
        ImageCache(path, CacheKey(tmp_path, ("a.png",), SIZE, value_range=(1.0, 2.0)))
