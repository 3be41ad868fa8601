"""Whole datasets: layouts, determinism, interruption, wrong requests."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from ivreid.datasets import check_dataset, load_dataset
from ivreid.errors import DataError, UsageError
from ivreid.io import read_image
from ivreid.synthetic import SynthSummary, synthesise, write_contact_sheet
from ivreid.synthetic.dataset_request import DatasetRequest
from ivreid.synthetic.generate import SUMMARY, UNFINISHED, draw_picture, plan_dataset
from ivreid.types import Modality

SMALL: dict[str, Any] = {"identities": 8, "images": 2, "size": (48, 24), "seed": 5, "workers": 1}


def hashes(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SynthSummary]:
    root = tmp_path_factory.mktemp("synthetic")
    return {name: synthesise(root / name, layout=name, **SMALL) for name in ("sysu-mm01", "regdb", "llcm")}


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb", "llcm"])
def test_the_readers_find_no_problem(trees: dict[str, SynthSummary], layout: str) -> None:
    report = check_dataset(layout, trees[layout].root)
    assert report.problems == ()
    splits = load_dataset(layout, trees[layout].root, trial=1 if layout == "regdb" else None).splits
    assert (
        sum(len(samples) for samples in splits.values())
        == trees[layout].images
        == sum(trees[layout].cameras.values())
    )
    people = [{sample.pid for sample in samples} for samples in splits.values()]
    assert sorted(pid for part in people for pid in part) == list(range(1, 9))
    for samples in splits.values():
        for pid in {sample.pid for sample in samples}:
            assert {s.modality for s in samples if s.pid == pid} == {Modality.VISIBLE, Modality.INFRARED}


def test_sysu_mm01_layout(trees: dict[str, SynthSummary]) -> None:
    root = trees["sysu-mm01"].root
    ids = {
        name: [int(x) for x in (root / f"exp/{name}_id.txt").read_text().split(",")]
        for name in ("train", "val", "test", "available")
    }
    assert all("\n" not in (root / f"exp/{name}_id.txt").read_text().strip() for name in ids)
    assert sorted(ids["train"] + ids["val"] + ids["test"]) == ids["available"] == list(range(1, 9))
    assert [len(ids[name]) for name in ("train", "val", "test")] == [4, 2, 2]
    sizes = {read_image(path).size for path in root.glob("cam*/*/*.jpg")}
    assert len(sizes) > 5  # real crops vary
    assert all(abs(height - 48) <= 8 and abs(width - 24) <= 6 for width, height in sizes)
    cameras = {camera: {path.name for path in (root / f"cam{camera}").iterdir()} for camera in range(1, 7)}
    assert len({frozenset(names) for names in cameras.values()}) > 1  # nobody is everywhere for certain


def test_sysu_mm01_permutations_have_the_authors_form(trees: dict[str, SynthSummary]) -> None:
    root = trees["sysu-mm01"].root
    cells = loadmat(root / "exp/rand_perm_cam.mat")["rand_perm_cam"]
    assert cells.shape == (6, 1)
    empty = 0
    for camera in range(6):
        cell = cells[camera, 0]
        assert cell.shape == (8, 1)
        for index in range(8):
            images = len(list((root / f"cam{camera + 1}/{index + 1:04d}").glob("*.jpg")))
            assert cell[index, 0].shape == (10, images)
            assert (np.sort(cell[index, 0], axis=1) == np.arange(1, images + 1)).all()
            empty += images == 0
    assert empty > 0


def test_regdb_layout(trees: dict[str, SynthSummary]) -> None:
    root = trees["regdb"].root
    for trial in range(1, 11):
        lines = {
            (split, band): [
                line.split() for line in (root / f"idx/{split}_{band}_{trial}.txt").read_text().splitlines()
            ]
            for split in ("train", "test")
            for band in ("visible", "thermal")
        }
        for split in ("train", "test"):
            for band in ("visible", "thermal"):
                labels = [int(label) for _, label in lines[split, band]]
                assert Counter(labels) == dict.fromkeys(range(4), 2)
            pairs = [
                {path.split("/")[1] for path, _ in lines[split, band]} for band in ("visible", "thermal")
            ]
            assert pairs[0] == pairs[1]
        assert {p.split("/")[1] for p, _ in lines["train", "visible"]}.isdisjoint(
            p.split("/")[1] for p, _ in lines["test", "visible"]
        )
    names = sorted(path.name for path in (root / "Thermal/3").iterdir())
    sex, view, band, frame, end = names[0].split("_")
    assert (sex in ("male", "female"), view in ("front", "back"), band, frame, end) == (
        True,
        True,
        "t",
        "00001",
        "3.bmp",
    )
    assert sorted(path.name.replace("_v_", "_t_") for path in (root / "Visible/3").iterdir()) == names


def test_regdb_frames_show_the_same_moment_in_both_modalities() -> None:
    request = DatasetRequest("regdb", 4, 4, (128, 64), seed=2, gap=0.0)
    planned = plan_dataset(request)
    grey = {
        p.path: np.asarray(draw_picture(request, planned, p).convert("L"), float).ravel()
        for p in planned.pictures
    }
    visible = {p: v for p, v in grey.items() if p.startswith("Visible/1/")}
    for path, picture in visible.items():
        twin = path.replace("Visible", "Thermal").replace("_v_", "_t_")
        likeness = {p: np.corrcoef(picture, v)[0, 1] for p, v in grey.items() if p.startswith("Thermal/1/")}
        assert max(likeness, key=likeness.__getitem__) == twin


def test_llcm_layout(trees: dict[str, SynthSummary]) -> None:
    root = trees["llcm"].root
    test = [int(x) for x in (root / "idx/test_id.txt").read_text().split(",")]
    train = [line.split() for line in (root / "idx/train_nir.txt").read_text().splitlines()]
    assert sorted({int(label) for _, label in train}) == list(range(8 - len(test)))
    assert all(path.startswith("nir/") and path.endswith("_nir.jpg") for path, _ in train)
    assert not list(root.glob("**/*_c03_*_nir.jpg")) and "nir3" not in trees["llcm"].cameras
    assert {int(path.parent.name) for path in root.glob("test_vis/cam*/*/*.jpg")} == set(test)
    for path in root.glob("test_nir/cam*/*/*.jpg"):
        pid, camera = path.name.split("_")[:2]
        assert (path.parent.name, path.parent.parent.name) == (pid, f"cam{int(camera[1:])}")


def test_bytes_do_not_depend_on_the_number_of_processes(
    trees: dict[str, SynthSummary], tmp_path: Path
) -> None:
    ticks: list[tuple[int, int]] = []
    again = synthesise(
        tmp_path / "again", layout="sysu-mm01", **{**SMALL, "workers": 2}, progress=lambda *t: ticks.append(t)
    )
    assert hashes(again.root) == hashes(trees["sysu-mm01"].root)
    assert ticks[-1] == (again.images, again.images)
    assert [done for done, _ in ticks] == sorted({done for done, _ in ticks})


def test_another_seed_is_another_world(trees: dict[str, SynthSummary], tmp_path: Path) -> None:
    other = synthesise(tmp_path / "other", layout="regdb", **{**SMALL, "seed": 6})
    mine, theirs = hashes(trees["regdb"].root), hashes(other.root)
    pictures = [path for path in mine.keys() & theirs.keys() if path.endswith(".bmp")]
    assert all(mine[path] != theirs[path] for path in pictures)


def test_a_finished_dataset_is_reused_and_others_refused(
    trees: dict[str, SynthSummary], tmp_path: Path
) -> None:
    root = trees["llcm"].root
    before = hashes(root)
    again = synthesise(root, layout="llcm", **SMALL)
    assert (again.reused, again.images, again.cameras) == (True, trees["llcm"].images, trees["llcm"].cameras)
    assert hashes(root) == before
    with pytest.raises(UsageError, match="another synthetic dataset"):
        synthesise(root, layout="llcm", **{**SMALL, "gap": 0.1})
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        synthesise(tmp_path, layout="llcm", **SMALL)
    with pytest.raises(UsageError, match="is a file"):
        synthesise(tmp_path / "mine.txt", layout="llcm", **SMALL)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_an_interrupted_dataset_is_marked_and_can_be_finished(
    trees: dict[str, SynthSummary], tmp_path: Path
) -> None:
    root = tmp_path / "half"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(root, layout="sysu-mm01", **SMALL, progress=stop)
    assert (root / UNFINISHED).is_file() and not (root / SUMMARY).exists()
    with pytest.raises(UsageError, match="unfinished"):
        synthesise(root, layout="sysu-mm01", **{**SMALL, "images": 3})
    next(root.glob("cam*/*/*.jpg")).write_bytes(b"cut")  # a kill in the middle of a file
    assert not synthesise(root, layout="sysu-mm01", **SMALL).reused
    assert not (root / UNFINISHED).exists()
    assert hashes(root) == hashes(trees["sysu-mm01"].root)


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match=r"No space left on device.*run the same command again"):
        synthesise(tmp_path / "full", layout="regdb", **SMALL)


def test_a_dead_drawing_process_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying(ThreadPoolExecutor):
        def __init__(self, workers: int, mp_context: object) -> None:
            super().__init__(workers)

        def submit(self, *_: object, **__: object) -> Future[int]:  # type: ignore[override]
            future: Future[int] = Future()
            future.set_exception(BrokenProcessPool("killed"))
            return future

    monkeypatch.setattr("ivreid.synthetic.generate.ProcessPoolExecutor", Dying)
    with pytest.raises(DataError, match="a drawing process died"):
        synthesise(tmp_path / "out", layout="sysu-mm01", **{**SMALL, "workers": 2})
    assert (tmp_path / "out" / UNFINISHED).is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "sysu"}, "did you mean sysu-mm01"),
        ({"identities": 5}, "needs 6 to 9999 identities"),
        ({"layout": "regdb", "identities": 7}, "7 is odd, take 8"),
        ({"images": 0}, "must be 1 to 999, not 0"),
        ({"size": (8, 8)}, "not a picture of a person"),
        ({"size": (64, 640)}, "not a picture of a person"),
        ({"size": (50000, 20000)}, "not a picture of a person"),
        ({"size": (100, 0)}, "not a picture of a person"),
        ({"gap": 1.01}, "gap must be 0"),
        ({"gap": -0.1}, "gap must be 0"),
        ({"gap": float("nan")}, "gap must be 0"),
        ({"seed": -1}, "seed must be zero or greater"),
        ({"workers": 0}, "workers must be 1 or more"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        synthesise(tmp_path / "out", **{"layout": "sysu-mm01", **SMALL, **change})
    assert not (tmp_path / "out").exists()


def test_the_summary_tells_the_whole_request(trees: dict[str, SynthSummary]) -> None:
    summary = json.loads((trees["regdb"].root / SUMMARY).read_text())
    asked = summary["request"]
    assert (asked["layout"], asked["identities"], asked["images"], asked["seed"]) == ("regdb", 8, 2, 5)
    assert (asked["size"], summary["images"]) == ([48, 24], 32)


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb", "llcm"])
def test_contact_sheets_show_every_camera(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, layout=layout, identities=2, size=(64, 32), per_camera=1, colours=64)
    sheet = np.asarray(read_image(path))
    columns = {"sysu-mm01": 6, "regdb": 2, "llcm": 17}[layout]
    assert sheet.shape[1] == 30 + columns * 36 + 4
    assert sheet[60:].std() > 20
