"""Which pictures of a folder are embedded, as whom, and what is said about the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ivreid.errors import DataError, UsageError
from ivreid.inference import find_samples
from ivreid.inference.path_labels import pid_and_camera
from ivreid.types import NO_CAMERA, UNKNOWN_PID


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return path


def found(path: Path, modality: str = "visible", **options: object) -> tuple[list[str], list[str]]:
    """Paths, and lines told."""
    told: list[str] = []
    _, samples = find_samples(path, modality, notice=told.append, **options)  # type: ignore[arg-type]
    return [sample.path for sample in samples], told


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "people"
    picture(root / "7/a.jpg")
    picture(tmp_path / "elsewhere/8/b.jpg")
    picture(tmp_path / "single.png")
    (root / "2").symlink_to(tmp_path / "elsewhere/8")
    (root / "c.png").symlink_to(tmp_path / "single.png")
    (root / "0").symlink_to(root / "7")  # sorts first, but the folder's own name counts
    (root / "7/up").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    paths, told = found(root)
    assert paths == ["2/b.jpg", "7/a.jpg", "c.png"]
    assert told == [
        "left out, folders that were read under another name already (2): 0/, 7/up/",
        "left out, links that lead nowhere (2): gone.jpg, self",
    ]


def test_every_file_that_is_left_out_is_told(tmp_path: Path) -> None:
    for name in ("1/a.webp", "1/b.tif", "1/c.TIFF", "1/d.JPeG", "1/e.bmp"):
        picture((tmp_path / name).with_suffix(".png")).rename(tmp_path / name)
    for name in (
        ".ipynb_checkpoints/x.jpg",
        "@eaDir/x.jpg",
        "__MACOSX/._a.jpg",
        ".Trash/x.jpg",
        "1/thumbnails/x.png",
    ):
        picture((tmp_path / name).with_suffix(".png")).rename(tmp_path / name)
    for name in ("1/notes.txt", "1/shot.heic", "README", "1/Thumbs.db", "1/.DS_Store"):
        (tmp_path / name).write_text("x")
    os.mkfifo(tmp_path / "1/pipe.jpg")
    paths, told = found(tmp_path)
    assert paths == ["1/a.webp", "1/b.tif", "1/c.TIFF", "1/d.JPeG", "1/e.bmp"]
    left = {
        reason: names for line in told for reason, names in [line.removeprefix("left out, ").split("): ")]
    }
    assert left == {
        "left by file managers, archives or notebooks (7": ".Trash/, .ipynb_checkpoints/, 1/.DS_Store, "
        "1/Thumbs.db, 1/thumbnails/, @eaDir/, __MACOSX/",
        "neither files nor folders (1": "1/pipe.jpg",
        "no pictures that are read (.heic) (1": "1/shot.heic",
        "no pictures that are read (.txt) (1": "1/notes.txt",
        "no pictures that are read (no suffix) (1": "README",
    }


def test_many_left_out_files_do_not_fill_the_screen(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    for n in range(50):
        (tmp_path / f"{n:02d}.txt").write_text("")
    (line,) = found(tmp_path)[1]
    assert line.endswith("19.txt and 30 more") and "(50)" in line


@pytest.mark.usefixtures("permissions_bind")
def test_a_folder_that_cannot_be_read_stops(tmp_path: Path) -> None:
    """Two of four pictures, and exit status 0, is what this must never be."""
    for n in range(4):
        picture(tmp_path / f"{n}/a.jpg")
    for n in (1, 3):
        (tmp_path / str(n)).chmod(0)
    with pytest.raises(DataError, match="2 part") as error:
        find_samples(tmp_path, "visible")
    for n in (1, 3):
        (tmp_path / str(n)).chmod(0o755)
    assert "1: Permission denied" in str(error.value) and "3: Permission denied" in str(error.value)


def test_names_that_cannot_be_written_down_stop(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    shutil.copy(tmp_path / "a.jpg", os.fsencode(tmp_path) + b"/\xff.jpg")
    with pytest.raises(DataError, match="unprintable"):
        find_samples(tmp_path, "visible")


def test_a_special_space_is_named_in_a_picture_and_in_a_folder(tmp_path: Path) -> None:
    picture(tmp_path / "a\u00a0b.jpg")
    picture(tmp_path / "c\u00a0d" / "a.jpg")
    with pytest.raises(DataError) as error:
        find_samples(tmp_path, "visible")
    for name in ("a b.jpg", "c d"):
        assert f"the name holds a space that is not the usual one (U+00A0); rename it to {name!r}" in str(
            error.value
        )


def test_a_missing_path_is_named_with_what_looks_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "caf\u00e9" / "a.jpg")
    with pytest.raises(DataError, match=r"there is 'caf\\xe9', which looks like 'cafe\\u0301'"):
        find_samples(tmp_path / "cafe\u0301", "visible")
    with pytest.raises(DataError, match="upper and lower case"):
        find_samples(tmp_path / "CAF\u00c9", "visible")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        find_samples("nothing", "visible")
    assert str(error.value) == f"nothing: no such folder or image below {tmp_path}"


def test_a_folder_of_other_things_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_text("")
    with pytest.raises(DataError, match=r"holds no image.*\.webp.*1 no pictures that are read \(\.heic\)"):
        find_samples(tmp_path, "visible")


SYSU = ("exp/x.txt", "cam1/0001/a.jpg", "cam2/0001/a.jpg", "cam3/0001/a.jpg", "cam6/0001/a.jpg")
REGDB = ("idx/x.txt", "Visible/1/a.bmp", "Thermal/1/a.bmp")
LLCM = (
    "idx/x.txt",
    "vis/0001/a.jpg",
    "nir/0001/a.jpg",
    "test_vis/cam1/0004/a.jpg",
    "test_nir/cam1/0004/a.jpg",
)
OWN = ("visible/7/a.jpg", "infrared/7/a.jpg")
WRONG = [
    (OWN, "infrared", "visible"),
    (OWN, "infrared/7", "visible"),
    (OWN, "infrared/7/a.jpg", "visible"),
    (OWN, "visible/7/a.jpg", "infrared"),
    (OWN, "", "visible"),
    (OWN, "..", "visible"),
    (("Infrared/7/a.jpg",), "Infrared", "visible"),
    (("thermal/a.jpg",), "thermal/a.jpg", "visible"),
    (("photos/IR/a.jpg",), "photos", "visible"),
    (("RGB/day/a.jpg", "Thermal/day/a.jpg"), "Thermal/day", "visible"),
    (SYSU, "cam3", "visible"),
    (SYSU, "cam6/0001", "visible"),
    (SYSU, "cam1", "infrared"),
    (SYSU, "", "visible"),
    (SYSU, "", "infrared"),
    (SYSU, "..", "visible"),
    (REGDB, "Thermal", "visible"),
    (REGDB, "", "infrared"),
    (LLCM, "test_nir/cam1", "visible"),
    (LLCM, "nir/0001/a.jpg", "visible"),
    (LLCM, "vis", "infrared"),
]


def lay(root: Path, files: tuple[str, ...]) -> Path:
    for name in files:
        if name.endswith(".txt"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("")
        else:
            picture(root / name)
    return root


@pytest.mark.parametrize(("files", "given", "modality"), WRONG)
def test_pictures_of_the_other_modality_are_refused(
    files: tuple[str, ...], given: str, modality: str, tmp_path: Path
) -> None:
    path = lay(tmp_path / "d/set", files) / given
    other = "infrared" if modality == "visible" else "visible"
    with pytest.raises(UsageError, match=rf"but the modality is '{modality}'.*one by one") as error:
        find_samples(path, modality)
    if given not in ("", "..") and "." not in given:
        assert len(find_samples(path, other)[1]) >= 1
    assert "Error" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "given", "modality"),
    [
        (OWN, "visible", "visible"),
        (SYSU, "cam2", "visible"),
        (REGDB, "Thermal/1/a.bmp", "infrared"),
        (LLCM, "test_vis", "visible"),
        (
            ("projects/infrared/photos/a.jpg",),
            "projects/infrared/photos",
            "visible",
        ),  # a project of that name
        (("ir/people/a.jpg",), "ir/people", "visible"),
        (("cam3/a.jpg",), "", "visible"),  # no layout says what this camera is
    ],
)
def test_other_names_say_nothing(files: tuple[str, ...], given: str, modality: str, tmp_path: Path) -> None:
    assert len(find_samples(lay(tmp_path / "d", files) / given, modality)[1]) >= 1


def test_the_name_as_given_counts_where_a_link_leads_on(tmp_path: Path) -> None:
    lay(tmp_path, OWN)
    (tmp_path / "night").symlink_to(tmp_path / "infrared/7")
    with pytest.raises(UsageError, match="infrared"):
        find_samples(tmp_path / "infrared", "visible")
    assert found(tmp_path / "night", "infrared")[0] == ["a.jpg"]


def test_two_numbered_folders_need_a_rule(tmp_path: Path) -> None:
    for name in ("0007/0001/a.jpg", "0008/0001/a.jpg"):
        picture(tmp_path / name)
    with pytest.raises(
        UsageError, match=r"0007/0001/a\.jpg lies in 2 numbered folders.*outer \(0007\), inner \(0001\)"
    ):
        find_samples(tmp_path, "visible")
    for rule, pids in (("outer", [7, 8]), ("inner", [1, 1]), ("none", [UNKNOWN_PID, UNKNOWN_PID])):
        assert [s.pid for s in find_samples(tmp_path, "visible", identity=rule)[1]] == pids
    with pytest.raises(UsageError, match="it is outer, inner, none"):
        find_samples(tmp_path, "visible", identity="middle")


def test_people_who_share_a_number_are_told(tmp_path: Path) -> None:
    for name in ("anna/20240131/a.jpg", "bob/20240131/b.jpg", "bob/cam2/5/c.jpg", "bob/cam1/5/c.jpg"):
        picture(tmp_path / name)
    paths, told = found(tmp_path)
    assert len(paths) == 4
    assert told == [
        "1 pid(s) lie in several folders and count as one person each, first 20240131: in anna, bob"
    ]


@given(st.lists(st.sampled_from(["7", "0007", "12", "cam2", "cam31", "x", "1234567890", "²"]), max_size=5))
@settings(max_examples=200, deadline=None)
def test_numbers_come_from_the_folders_alone(folders: list[str]) -> None:
    file = "/".join([*folders, "0001.jpg"])
    numbers = [int(f) for f in folders if f in ("7", "0007", "12")]
    cameras = [int(f[3:]) for f in folders if f.startswith("cam")]
    if len(numbers) > 1 or len(cameras) > 1:
        with pytest.raises(UsageError):
            pid_and_camera(file)
    else:
        assert pid_and_camera(file) == (*(numbers or [UNKNOWN_PID]), *(cameras or [NO_CAMERA]))


def test_found_pictures_need_no_torch() -> None:
    code = "import sys, ivreid.datasets.found_pictures; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
