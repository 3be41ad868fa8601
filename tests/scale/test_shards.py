"""Embedding in shards: whatever is killed, each image stands once in the result, with the same vector."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ivreid
from exported_graphs import small_graph, written
from ivreid.cli.main import main
from ivreid.datasets.arrays import read_npz
from ivreid.errors import DataError, ImageError, UsageError
from ivreid.inference import embed_folder, load
from ivreid.scale import embed_in_shards
from ivreid.scale.plan import Plan, parse_shards
from ivreid.types import Sample

IMAGES = 23


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return written(tmp_path, small_graph())


@pytest.fixture
def people(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = tmp_path / "people" / f"cam{1 + number % 2}" / f"{number % 5}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 10, 3), dtype=np.uint8)).save(path)
    return tmp_path / "people"


def spoil(people: Path, *numbers: int) -> None:
    for number in numbers:
        next(people.rglob(f"{number:02d}.png")).write_bytes(b"no image")


def assert_as_one_process(model: Path, people: Path, out: Path) -> None:
    """The joined file and its list are what a single process writes."""
    alone = out.with_name("alone.npz")
    expected = embed_folder(model, people, "visible", skip_bad=True, out=alone, notice=lambda line: None)
    found = ivreid.read_features(out)
    assert found.images.paths == expected.images.paths and len(set(found.images.paths)) == len(found)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    for name in ("pids", "camids", "frames", "infrared"):
        np.testing.assert_array_equal(getattr(found.images, name), getattr(expected.images, name))
    lists = [json.loads(one.with_suffix(".skipped.json").read_text()) for one in (out, alone)]
    assert lists[0] == lists[1]


def test_shards_of_several_processes_join_to_what_one_writes(
    model: Path, people: Path, tmp_path: Path
) -> None:
    spoil(people, 3, 4, 17)
    out = tmp_path / "f.npz"
    for number in (2, 4, 1):
        found = embed_in_shards(model, people, "visible", out, shards=f"{number}/4", workers=0)
        assert found.embeddings is None and not out.exists() and found.shards[0].number == number
    assert found.waiting == (3,)
    found = embed_in_shards(model, people, "visible", out, shards="3/4", workers=0)
    assert found.waiting == () and found.embeddings is not None and len(found.embeddings) == IMAGES - 3
    assert_as_one_process(model, people, out)


CHILD = """
import os, signal, sys
from ivreid.scale import embed_in_shards
model, people, out, last = sys.argv[1:]
seen = 0
def tick(done, total):
    global seen
    seen += 1
    if seen == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
embed_in_shards(model, people, "visible", out, shards="5", workers=0, batch_size=2, progress=tick)
"""


@pytest.mark.parametrize("last", [1, 7])
def test_a_killed_worker_is_resumed_where_it_was(
    model: Path, people: Path, tmp_path: Path, last: int
) -> None:
    spoil(people, 9)
    out = tmp_path / "f.npz"
    words = [sys.executable, "-c", CHILD, str(model), str(people), str(out), "7"]
    killed = subprocess.run(words, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL and not out.exists()
    before = {path.name: path.stat().st_mtime_ns for path in out.with_name("f.npz.shards").glob("*.npz")}
    assert len(before) == 2  # two ticks a shard and one more for its odd image
    found = embed_in_shards(model, people, "visible", out, shards="5", workers=0, batch_size=2)
    assert [one.skipped for one in found.shards].count(True) == len(before)
    for name, when in before.items():
        assert (out.with_name("f.npz.shards") / name).stat().st_mtime_ns == when
    assert_as_one_process(model, people, out)


def test_damaged_and_half_written_shards_are_embedded_again(
    model: Path, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "f.npz"
    embed_in_shards(model, people, "visible", out, shards="4", workers=0)
    folder = out.with_name("f.npz.shards")
    first, second, third = sorted(folder.glob("*-of-*.npz"))[:3]
    first.write_bytes(first.read_bytes()[:-9])
    second.with_suffix(".json").write_text("{")
    third.unlink()
    out.unlink()
    found = embed_in_shards(model, people, "visible", out, shards="4", workers=0)
    assert [one.skipped for one in found.shards] == [False, False, False, True]
    assert_as_one_process(model, people, out)


def test_shards_in_half_precision_join_to_what_one_process_writes(
    model: Path, people: Path, tmp_path: Path
) -> None:
    spoil(people, 5)
    out, alone = tmp_path / "f.npz", tmp_path / "alone.npz"
    embed_in_shards(model, people, "visible", out, shards="2/3", half=True, workers=0)
    with pytest.raises(UsageError, match=r"its number formats \(--half\) differ"):
        embed_in_shards(model, people, "visible", out, shards="1/3", workers=0)
    found = embed_in_shards(model, people, "visible", out, shards="3", half=True, workers=0)
    assert [one.skipped for one in found.shards] == [False, True, False]
    words = {"skip_bad": True, "half": True, "notice": lambda line: None}
    embed_folder(model, people, "visible", out=alone, **words)
    shards = sorted((tmp_path / "f.npz.shards").glob("*.npz"))
    joined, expected, *parts = (read_npz(one, ["embeddings"])["embeddings"] for one in (out, alone, *shards))
    assert {one.dtype for one in (joined, expected, *parts)} == {np.dtype(np.float16)} and len(parts) == 3
    np.testing.assert_array_equal(joined, expected)
    whole = tmp_path / "g.npz"  # of single precision a plan says nothing, as in earlier versions
    embed_in_shards(model, people, "visible", whole, shards="1/3", workers=0)
    assert "format" not in json.loads((tmp_path / "g.npz.shards" / "plan.json").read_text())
    with pytest.raises(UsageError, match="number formats"):
        embed_in_shards(model, people, "visible", whole, shards="2/3", half=True, workers=0)


def test_shards_of_another_embedding_are_not_mixed(model: Path, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.npz"

    def again(shards: str = "1/4", flip: bool = False) -> None:
        embed_in_shards(model, people, "visible", out, shards=shards, flip=flip, workers=0)

    again()
    with pytest.raises(UsageError, match="number of shards differ"):
        again("1/3")
    with pytest.raises(UsageError, match="mirror images differ"):
        again(flip=True)
    spoil(people, 1)
    with pytest.raises(UsageError, match=r"images differ\. Give another --out"):
        again()
    (tmp_path / "other").mkdir()
    other = written(
        tmp_path / "other",
        small_graph(),
        export={"precision": "fp32", "weights": "1" * 16, "fingerprint": "1" * 16},
    )
    shutil.copy(other, model)
    with pytest.raises(UsageError, match="its weights differ"):
        again()


def test_a_shard_without_any_readable_image_is_finished_too(
    model: Path, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "f.npz"
    every = sorted(path.relative_to(people).as_posix() for path in people.rglob("*.png"))
    for path in every[:2]:
        (people / path).write_bytes(b"")
    found = embed_in_shards(model, people, "visible", out, shards=str(IMAGES // 2), workers=0)
    assert found.shards[0].rows == 0 and found.errors == 2
    again = embed_in_shards(model, people, "visible", out, shards=str(IMAGES // 2), workers=0)
    assert all(one.skipped for one in again.shards)
    assert_as_one_process(model, people, out)
    for path in every:
        (people / path).write_bytes(b"")
    with pytest.raises(DataError, match=f"none of {IMAGES} images can be read, first: "):
        embed_in_shards(model, people, "visible", tmp_path / "g.npz", shards="2", workers=0)
    with pytest.raises(ImageError):
        embed_folder(model, people, "visible")


@pytest.mark.parametrize("text", ["0", "0/4", "5/4", "a", "1/", "1/2/3", "-1", "9999999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be K/N"):
        parse_shards(text)


def test_shards_are_runs_of_all_images_and_differ_by_one_at_most() -> None:
    assert parse_shards("3/8") == (3, 8) and parse_shards("8") == (None, 8)
    for total in (7, 8, 23, 100):
        samples = tuple(Sample(f"{n}.png", 1, 1, ivreid.Modality.VISIBLE, n + 1) for n in range(total))
        plan = Plan(Path(), Path(), samples, 7, {})
        shares = [plan.share(number) for number in range(1, 8)]
        assert sum(shares, ()) == samples and len({len(share) for share in shares}) <= 2


def test_the_verb(model: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "f.npz"

    def run(*more: str) -> int:
        with pytest.raises(SystemExit) as left:
            main(["embed", str(model), str(people), "--modality", "visible", "--out", str(out), *more])
        return int(left.value.code or 0)

    spoil(people, 5)
    assert run("--shards", "2/2") == 0
    told = capsys.readouterr()
    assert "1 shard(s) to do" in told.err and told.out == ""
    assert run("--shards", "2") == 0
    told = capsys.readouterr()
    assert (
        "2 shard(s), 1 of them finished before: 22 image(s), 1 that cannot be read; 0 shard(s) to do"
        in told.err
    )
    assert "22 visible image(s) of 5 known identities, 4 values each" in told.out
    assert run("--ray", "auto") == 2 and "say how many with --shards N" in capsys.readouterr().err
    assert run("--shards", "99") == 2 and "99 shards for 23 images" in capsys.readouterr().err
    assert_as_one_process(model, people, out)
    assert load(model).embedding_dim == 4
