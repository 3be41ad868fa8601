"""Failure injection: every kind of damage is reported with its path, several at once all together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import (
    BMP,
    PNG,
    empty_png,
    ids,
    make_csv,
    make_example,
    make_folder,
    make_llcm,
    make_regdb,
    make_sysu,
    permutations,
    put,
    regdb_name,
)
from scipy.io import savemat

from ivreid.datasets import DATASETS, Kind, check_dataset, load_dataset
from ivreid.datasets import problems as problem_kinds
from ivreid.datasets.sysu_mm01 import CAMERAS
from ivreid.errors import DataError
from ivreid.io import MAX_FILE_BYTES
from ivreid.types import Modality


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def found(name: str, root: Path, **options: bool) -> dict[tuple[Kind, str], str]:
    return {(p.kind, p.path): p.message for p in check_dataset(name, root, **options).problems}


@pytest.fixture
def sysu(tmp_path: Path) -> Path:
    return make_sysu(tmp_path / "s")


@pytest.fixture
def regdb(tmp_path: Path) -> Path:
    return make_regdb(tmp_path / "r")


@pytest.fixture
def llcm(tmp_path: Path) -> Path:
    return make_llcm(tmp_path / "l")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "f")


def test_a_regdb_name_off_the_pattern_is_told_and_used(regdb: Path) -> None:
    before = len(load_dataset("regdb", regdb).split("train"))
    first = (regdb / "idx/train_visible_1.txt").read_text().split()[0]
    new = str(Path(first).with_name("picture.bmp"))
    (regdb / first).rename(regdb / new)
    for number in range(1, 11):
        for split in ("train", "test"):
            edit(regdb / f"idx/{split}_visible_{number}.txt", lambda text: text.replace(first, new))
    (problem,) = check_dataset("regdb", regdb).problems
    assert (problem.kind, problem.path, problem.fatal) == (Kind.WRONG_NAME, new, False)
    assert len(load_dataset("regdb", regdb).split("train")) == before


@pytest.mark.parametrize(
    ("on_disk", "listed", "words"),
    [
        (
            "caf\u00e9.jpg",
            "cafe\u0301.jpg",
            r"there is 'caf\xe9.jpg', which looks like 'cafe\u0301.jpg' but has accents",
        ),
        ("cafe\u0301.jpg", "CAF\u00c9.jpg", r"there is 'cafe\u0301.jpg', which looks like 'CAF\xc9.jpg'"),
        (
            "a b.jpg",
            "a\u00a0b.jpg",
            "holds a space that is not the usual one (U+00A0); rename it to 'a b.jpg'",
        ),
        ("A.jpg", "a.jpg", "there is 'A.jpg', rename it (upper and lower case matter)"),
    ],
)
def test_a_name_that_looks_like_another_names_it(
    tmp_path: Path, on_disk: str, listed: str, words: str
) -> None:
    make_csv(tmp_path)
    put(tmp_path / on_disk)
    edit(tmp_path / "people.csv", lambda text: text + f"{listed},1,visible,1,train\n")
    told = [message for message in found("csv", tmp_path).values() if words in message]
    assert len(told) == 1


def test_a_special_space_in_a_name_on_disk_is_named(sysu: Path) -> None:
    folder = next((sysu / "cam1").iterdir())
    put(folder / "00\u202f01.jpg")
    problems = found("sysu-mm01", sysu)
    message = problems[Kind.WRONG_NAME, f"cam1/{folder.name}/00\\u202f01.jpg"]
    assert message == "the name holds a space that is not the usual one (U+202F); rename it to '00 01.jpg'"


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("name", DATASETS)
def test_healthy_data_have_no_problems(name: str, decode: bool, tmp_path: Path) -> None:
    make_example(name, tmp_path / "d")
    report = check_dataset(name, tmp_path / "d", decode=decode)
    assert report.ok and report.problems == ()
    assert report.fingerprint == load_dataset(name, tmp_path / "d").fingerprint
    assert ("decoded every image" in report.checked) is decode


def test_counts_equal_an_independent_count(sysu: Path) -> None:
    for path in (sysu / "cam4/0001").iterdir():
        path.unlink()
    (sysu / "cam4/0001").rmdir()
    counts = {
        (c.split, c.modality, c.camid): (c.identities, c.images)
        for c in check_dataset("sysu-mm01", sysu).counts
    }
    assert counts["train", Modality.VISIBLE, 4] == (1, 2)
    assert counts["train", Modality.VISIBLE, 5] == (2, 4)
    assert counts["train", Modality.VISIBLE, None] == (2, 14)
    assert counts["test", Modality.INFRARED, None] == (2, 8)
    assert len(counts) == 3 * (4 + 1 + 2 + 1)


def test_regdb_counts_are_told_once_for_equal_trials(regdb: Path) -> None:
    counts = check_dataset("regdb", regdb).counts
    assert [(c.trials, c.split, c.modality.value, c.camid, c.identities, c.images) for c in counts] == [
        ("1-10", "train", "visible", 1, 2, 4),
        ("1-10", "train", "infrared", 2, 2, 4),
        ("1-10", "test", "visible", 1, 2, 4),
        ("1-10", "test", "infrared", 2, 2, 4),
    ]
    edit(regdb / "idx/test_visible_3.txt", lambda text: text.split("\n", 1)[1])
    counts = check_dataset("regdb", regdb).counts
    assert [(c.trials, c.images) for c in counts if c.split == "test"] == [
        ("1, 2, 4, 5, 6, 7, 8, 9, 10", 4),
        ("1, 2, 4, 5, 6, 7, 8, 9, 10", 4),
        ("3", 3),
        ("3", 4),
    ]


def test_all_problems_are_found_in_one_pass(sysu: Path) -> None:
    """The damage of several kinds stands in one report, and loading tells all the fatal ones together."""
    for camera in (3, 6):
        for path in (sysu / f"cam{camera}/0001").iterdir():
            path.unlink()
        (sysu / f"cam{camera}/0001").rmdir()
    put(sysu / "cam1/0002/0001.jpg", b"")
    put(sysu / "cam2/0002/notes.txt", b"hello")
    put(sysu / "cam2/0003/0002.jpg", b"<html>not found</html>")
    put(sysu / "cam5/0003/copy.jpg")
    (sysu / "cam5/ten").mkdir()
    (sysu / "cam5/0009").mkdir()
    edit(sysu / "exp/test_id.txt", lambda _: ids([4, 5, 2, 77]))
    edit(sysu / "exp/val_id.txt", lambda _: "3,x3,3\n")
    problems = found("sysu-mm01", sysu)
    assert set(problems) == {
        (Kind.ONE_MODALITY, "cam1/0001/0001.jpg"),
        (Kind.EMPTY_FILE, "cam1/0002/0001.jpg"),
        (Kind.STRAY_FILE, "cam2/0002/notes.txt"),
        (Kind.NOT_AN_IMAGE, "cam2/0003/0002.jpg"),
        (Kind.WRONG_NAME, "cam5/0003/copy.jpg"),
        (Kind.WRONG_NAME, "cam5/ten"),
        (Kind.EMPTY_FOLDER, "cam5/0009"),
        (Kind.MISSING_FILE, "exp/test_id.txt"),
        (Kind.MALFORMED, "exp/val_id.txt"),
        (Kind.LISTED_TWICE, "exp/val_id.txt"),
        (Kind.SHARED_IDENTITY, "cam1/0002/0001.jpg"),
        (Kind.NOT_LISTED, "exp/available_id.txt"),
    }
    assert "in both train and test" in problems[Kind.SHARED_IDENTITY, "cam1/0002/0001.jpg"]
    assert "entry 2 is 'x3'" in problems[Kind.MALFORMED, "exp/val_id.txt"]
    with pytest.raises(DataError) as caught:
        load_dataset("sysu-mm01", sysu)
    message = str(caught.value)
    fatal = [p for p in check_dataset("sysu-mm01", sysu).problems if p.fatal and p.kind != Kind.NOT_AN_IMAGE]
    assert len(fatal) == 6 and all(str(problem) in message for problem in fatal)
    assert "6 problems make" in message and "notes.txt" not in message and "0009" not in message


def test_what_is_not_fatal_still_loads(sysu: Path) -> None:
    before = load_dataset("sysu-mm01", sysu)
    put(sysu / "cam1/0001/notes.txt", b"hello")
    put(sysu / "cam1/0001/Thumbs.db", b"x")
    put(sysu / "cam1/0001/._0001.jpg", b"x")
    (sysu / "cam1/0001/more").mkdir()
    after = load_dataset("sysu-mm01", sysu)
    assert after == before
    report = check_dataset("sysu-mm01", sysu)
    assert {p.path for p in report.problems} == {"cam1/0001/notes.txt", "cam1/0001/more/"}
    assert any(notice.startswith("2 hidden or system files") for notice in report.notices)


def test_missing_folders_with_hints(sysu: Path) -> None:
    (sysu / "cam3").rename(sysu / "Cam3")
    problems = found("sysu-mm01", sysu)
    assert "there is 'Cam3'" in problems[Kind.MISSING_FOLDER, "cam3"]
    above = found("sysu-mm01", sysu.parent)
    assert {path for kind, path in above if kind == Kind.MISSING_FOLDER} == {
        *(f"cam{c}" for c in CAMERAS),
        "exp",
    }
    assert f"give {sysu}" in above[Kind.MISSING_FOLDER, "cam1"]


def test_missing_or_unreadable_lists(sysu: Path, regdb: Path, llcm: Path) -> None:
    (sysu / "exp/val_id.txt").unlink()
    (sysu / "exp/test_id.txt").write_bytes(b"\xff\xfe\x00")
    (sysu / "exp/train_id.txt").write_text("")
    problems = found("sysu-mm01", sysu)
    assert (Kind.MISSING_FILE, "exp/val_id.txt") in problems
    assert "UTF-8" in problems[Kind.MALFORMED, "exp/test_id.txt"]
    assert (Kind.MALFORMED, "exp/train_id.txt") in problems
    (regdb / "idx/test_thermal_4.txt").unlink()
    problems = found("regdb", regdb)
    assert (Kind.MISSING_FILE, "idx/test_thermal_4.txt") in problems
    assert not any(kind == Kind.NOT_LISTED for kind, _ in problems), (
        "the missing list is the news, not its images"
    )
    load_dataset("regdb", regdb, trial=3)
    with pytest.raises(DataError, match=r"idx/test_thermal_4\.txt"):
        load_dataset("regdb", regdb, trial=4)
    (llcm / "idx/test_nir.txt").unlink()
    assert (Kind.MISSING_FILE, "idx/test_nir.txt") in found("llcm", llcm)
    load_dataset("llcm", llcm)  # that list only cross-checks
    (llcm / "idx/train_nir.txt").unlink()
    with pytest.raises(DataError, match=r"idx/train_nir\.txt"):
        load_dataset("llcm", llcm)


BAD_LINES = {
    "../secret.bmp 0": (Kind.ESCAPE, "leads out"),
    "Visible/1/../../../secret.bmp 0": (Kind.ESCAPE, "leads out"),
    "/etc/passwd 0": (Kind.ESCAPE, "absolute"),
    "C:/x.bmp 0": (Kind.ESCAPE, "absolute"),
    "Visible\\1\\x.bmp 0": (Kind.MALFORMED, "backslashes"),
    "Visible//1/x.bmp 0": (Kind.MALFORMED, "plainly"),
    "./Visible/1/x.bmp 0": (Kind.MALFORMED, "plainly"),
    "Visible/1/\x1b[31mx.bmp 0": (Kind.MALFORMED, "unprintable"),
    "Thermal/1/x.bmp 0": (Kind.MALFORMED, "start with Visible/"),
    "Visible/1/x.bmp": (Kind.MALFORMED, "relative/path LABEL"),
    "Visible/1/x.bmp -1": (Kind.MALFORMED, "relative/path LABEL"),
    "Visible/1/x.bmp 1.0": (Kind.MALFORMED, "relative/path LABEL"),
    "Visible/1/x.bmp ٣": (Kind.MALFORMED, "relative/path LABEL"),
    "Visible/1/x.bmp 99999999999": (Kind.MALFORMED, "relative/path LABEL"),
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_hostile_and_malformed_lines(line: str, regdb: Path) -> None:
    put(regdb.parent / "secret.bmp", BMP)
    number = len((regdb / "idx/train_visible_1.txt").read_text().splitlines()) + 1
    edit(regdb / "idx/train_visible_1.txt", lambda text: text + line + "\n")
    kind, message = BAD_LINES[line]
    problems = found("regdb", regdb)
    assert set(problems) == {(kind, f"idx/train_visible_1.txt:{number}")}
    assert message in problems[kind, f"idx/train_visible_1.txt:{number}"]
    assert "\x1b" not in "".join(problems.values())
    with pytest.raises(DataError, match="train_visible_1"):
        load_dataset("regdb", regdb)


def test_regdb_listed_files(regdb: Path) -> None:
    lines = (regdb / "idx/train_visible_1.txt").read_text().splitlines()
    gone, case = lines[0].split()[0], lines[1].split()[0]
    (regdb / gone).unlink()
    (regdb / case).rename((regdb / case).with_suffix(".BMP"))
    edit(regdb / "idx/train_visible_1.txt", lambda text: text + lines[2] + "\n")
    problems = found("regdb", regdb)
    where = f"idx/train_visible_1.txt:{len(lines) + 1}"
    assert "already stands on line 3" in problems[Kind.LISTED_TWICE, where]
    assert "train_visible_1.txt:1 names it" in problems[Kind.MISSING_FILE, gone]
    assert "upper and lower case" in problems[Kind.MISSING_FILE, case]
    report = check_dataset("regdb", regdb)
    assert sum(p.path == gone for p in report.problems) == 1, "ten lists name it, one file is missing"
    extra = put(regdb / "Visible/1" / regdb_name(1, 990, "v"), BMP)
    listed = [p for p in check_dataset("regdb", regdb).problems if p.kind == Kind.NOT_LISTED]
    assert [p.path for p in listed if extra.name in p.path] == [f"Visible/1/{extra.name}"]


def test_regdb_names_must_agree_with_folders(regdb: Path) -> None:
    put(regdb / "Visible/1" / regdb_name(2, 70, "v"), BMP)
    put(regdb / "Visible/1" / regdb_name(1, 80, "t"), BMP)
    put(regdb / "Thermal/2" / "picture.bmp", BMP)
    (regdb / "Thermal/07").mkdir()
    wrong = {
        path: message for (kind, path), message in found("regdb", regdb).items() if kind == Kind.WRONG_NAME
    }
    assert len(wrong) == 4
    assert "identity 2, the folder 1" in wrong[f"Visible/1/{regdb_name(2, 70, 'v')}"]
    assert "'t' where" in wrong[f"Visible/1/{regdb_name(1, 80, 't')}"]
    assert "male_front_t_00001_2.bmp" in wrong["Thermal/2/picture.bmp"]
    assert "Thermal/07" in wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(" 1\n", " 2\n"), "without a gap; missing: 1"),
        (lambda text: text.replace(" 1\n", " 0\n"), "label 0 is identity"),
        (lambda text: text[::-1].replace("1 ", "0 ", 1)[::-1], "elsewhere"),
    ],
)
def test_regdb_labels(change: Callable[[str], str], message: str, regdb: Path) -> None:
    for word in ("visible", "thermal"):
        edit(regdb / f"idx/train_{word}_1.txt", change)
    problems = found("regdb", regdb)
    assert {kind for kind, _ in problems} == {Kind.WRONG_LABEL}
    assert any(message in text for text in problems.values())


def test_labels_of_the_two_modalities_must_mean_the_same_identity(llcm: Path, regdb: Path) -> None:
    def swap(text: str) -> str:
        return text.replace(" 0\n", " x\n").replace(" 1\n", " 0\n").replace(" x\n", " 1\n")

    edit(llcm / "idx/train_nir.txt", swap)
    edit(regdb / "idx/test_thermal_2.txt", swap)
    assert {kind for kind, _ in found("llcm", llcm)} == {Kind.WRONG_LABEL}
    problems = found("regdb", regdb)
    assert {path.rpartition(":")[0] for _, path in problems} == {"idx/test_thermal_2.txt"}


def test_llcm_damage(llcm: Path) -> None:
    put(llcm / "vis/0003/0007_c01_s1_f1_vis.jpg")
    put(llcm / "vis/0003/0003_c01_s1_f1_nir.jpg")
    put(llcm / "nir/0003/shot.jpg")
    put(llcm / "test_vis/cam2/0003/a.jpg")
    edit(llcm / "idx/test_vis.txt", lambda text: text + "test_vis/cam1/0004/none.jpg 4\n")
    edit(llcm / "idx/test_id.txt", lambda _: "4,9,12")
    problems = found("llcm", llcm)
    kinds = {path: kind for kind, path in problems if kind != Kind.NOT_LISTED}
    assert kinds == {
        "vis/0003/0007_c01_s1_f1_vis.jpg": Kind.WRONG_NAME,
        "vis/0003/0003_c01_s1_f1_nir.jpg": Kind.WRONG_NAME,
        "nir/0003/shot.jpg": Kind.WRONG_NAME,
        "test_vis/cam1/0004/none.jpg": Kind.MISSING_FILE,
        "idx/test_id.txt": Kind.MISSING_FILE,
    }
    assert (Kind.NOT_LISTED, "test_vis/cam2/0003/a.jpg") in problems
    assert (Kind.NOT_LISTED, "nir/0003/shot.jpg") in problems


def test_llcm_test_cameras_may_be_absent_only_where_no_list_names_them(llcm: Path) -> None:
    shutil.rmtree(llcm / "test_vis/cam7")
    problems = found("llcm", llcm)
    assert (Kind.MISSING_FOLDER, "test_vis/cam7") in problems
    with pytest.raises(DataError, match="missing folder: test_vis/cam7"):
        load_dataset("llcm", llcm)
    edit(llcm / "idx/test_vis.txt", lambda text: "\n".join(x for x in text.splitlines() if "/cam7/" not in x))
    assert check_dataset("llcm", llcm).ok
    (llcm / "idx/test_vis.txt").unlink()
    assert (Kind.MISSING_FOLDER, "test_vis/cam7") in found("llcm", llcm)


def test_identities_that_cannot_be_matched(folder: Path) -> None:
    put(folder / "visible/20/a.png", PNG)
    for name in ("a", "b"):
        put(folder / f"infrared/30/{name}.png", PNG)
    problems = found("folder", folder)
    assert set(problems) == {(Kind.ONE_IMAGE, "visible/20/a.png"), (Kind.ONE_MODALITY, "infrared/30/a.png")}
    assert len(load_dataset("folder", folder).split("test")) == 12 + 3


def test_folder_names_are_numbers_once(folder: Path) -> None:
    put(folder / "visible/anna/a.png", PNG)
    put(folder / "visible/-3/a.png", PNG)
    put(folder / "visible/002/a.png", PNG)
    problems = found("folder", folder)
    assert {path for kind, path in problems if kind == Kind.WRONG_NAME} == {"visible/anna", "visible/-3"} | (
        {"visible/2"}  # sorted after "002"
    )
    assert "same identity 2 as visible/002" in problems[Kind.WRONG_NAME, "visible/2"]


def test_empty_root(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    problems = found("folder", tmp_path / "empty")
    assert set(problems) == {
        (Kind.MISSING_FOLDER, "visible"),
        (Kind.MISSING_FOLDER, "infrared"),
        (Kind.EMPTY_FOLDER, "."),
    }
    for name in DATASETS:
        with pytest.raises(DataError):
            load_dataset(name, tmp_path / "empty")


def test_links_stay_inside_the_dataset(folder: Path) -> None:
    outside = put(folder.parent / "outside" / "a.png", PNG)
    (folder / "visible/1/c.png").symlink_to(outside)
    (folder / "visible/40").symlink_to(outside.parent)
    (folder / "visible/2/inside.png").symlink_to(folder / "visible/1/a.png")
    (folder / "visible/2/broken.png").symlink_to(folder / "visible/1/none.png")
    (folder / "visible/2/loop.png").symlink_to(folder / "visible/2/loop.png")
    (folder / "elsewhere").symlink_to(outside.parent)  # not a part of the dataset: nobody's business
    os.mkfifo(folder / "visible/2/pipe.png")
    problems = found("folder", folder)
    assert set(problems) == {
        (Kind.ESCAPE, "visible/1/c.png"),
        (Kind.ESCAPE, "visible/40"),
        (Kind.MISSING_FILE, "visible/2/broken.png"),
        (Kind.MISSING_FILE, "visible/2/loop.png"),
        (Kind.MISSING_FILE, "visible/2/pipe.png"),
    }
    (folder / "infrared").rename(folder.parent / "infrared")
    (folder / "infrared").symlink_to(folder.parent / "infrared")
    assert (Kind.ESCAPE, "infrared") in found("folder", folder)


def test_names_that_cannot_be_written_down(folder: Path) -> None:
    raw = os.fsencode(folder / "visible/1") + b"/\xff.png"
    with open(raw, "wb") as file:  # noqa: PTH123 - a name in bytes
        file.write(PNG)
    put(folder / "visible/1/\x1b[2Jgone.png", PNG)
    problems = found("folder", folder)
    assert [kind for kind, _ in problems] == [Kind.WRONG_NAME, Kind.WRONG_NAME]
    assert all(path.isprintable() and path.isascii() for _, path in problems)


def test_an_enormous_file_is_refused_by_its_size(folder: Path) -> None:
    with (folder / "visible/1/a.png").open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse
    assert (Kind.HUGE_FILE, "visible/1/a.png") in found("folder", folder)


def test_decoding_finds_what_the_structure_does_not(folder: Path) -> None:
    put(folder / "visible/1/a.png", empty_png(60, 60))
    assert found("folder", folder) == {}
    assert set(found("folder", folder, decode=True)) == {(Kind.UNDECODABLE, "visible/1/a.png")}
    ticks: list[tuple[int, int]] = []
    check_dataset("folder", folder, decode=True, workers=1, progress=lambda *tick: ticks.append(tick))
    assert ticks == [(12, 12)]


CSV_FAULTS = {
    "pictures/1vx.png,one,visible,1,test": (
        Kind.MALFORMED,
        "pid is 'one'; it must be a whole number, 0 or more",
    ),
    "pictures/1vx.png,1.5,visible,1,test": (Kind.MALFORMED, "pid is '1.5'"),
    "pictures/1vx.png,1,visibel,1,test": (Kind.MALFORMED, "did you mean visible?"),
    "pictures/1vx.png,1,sonar,1,test": (Kind.MALFORMED, "known: visible, infrared"),
    "pictures/1vx.png,1,visible,0,test": (Kind.MALFORMED, "leave the column out"),
    "pictures/1vx.png,1,visible,2.5,test": (Kind.MALFORMED, "camid is '2.5'"),
    "pictures/1vx.png,1,visible,1,training": (Kind.MALFORMED, "did you mean train?"),
    "pictures/1vx.png,1,visible,1": (Kind.MALFORMED, "4 values for 5 columns"),
    "pictures/1vx.png,1,visible,1,train": (Kind.LISTED_TWICE, "already stands"),
    "pictures/none.png,1,visible,1,train": (Kind.MISSING_FILE, "people.csv:14 names it"),
    "../people.png,1,visible,1,train": (Kind.ESCAPE, "leads out"),
    "linked/a.png,1,visible,1,train": (Kind.MISSING_FILE, "names it"),
    "people.csv,1,visible,1,train": (Kind.WRONG_NAME, "must end in"),
    ",1,visible,1,train": (Kind.MALFORMED, "plainly"),
    'pictures/"1vx.png,1,visible,1,"x"y': (Kind.MALFORMED, "not a CSV line"),
}


@pytest.mark.parametrize("line", CSV_FAULTS)
def test_csv_faults_name_their_line(line: str, tmp_path: Path) -> None:
    table = make_csv(tmp_path / "c")
    put(tmp_path / "outside/a.png", PNG)
    (tmp_path / "c/linked").symlink_to(tmp_path / "outside")
    edit(table, lambda text: text + line + "\n")
    kind, message = CSV_FAULTS[line]
    problems = {
        k: (path, text) for (k, path), text in found("csv", table).items() if k != Kind.ESCAPE or k == kind
    }
    assert list(problems) == [kind]
    path, text = problems[kind]
    assert message in text
    assert path == "people.csv:14" or kind == Kind.MISSING_FILE
    with pytest.raises(DataError, match="unusable"):
        load_dataset("csv", table)


def test_a_fault_that_runs_through_a_column_is_told_once(tmp_path: Path) -> None:
    table = make_csv(tmp_path / "c")
    edit(table, lambda text: text.replace("visible", "VIS-cam").replace("test", "probe"))
    problems = [p for p in check_dataset("csv", table).problems if p.kind == Kind.MALFORMED]
    assert [p.path for p in problems] == ["people.csv:10", "people.csv:2"]
    assert problems[0].message.startswith("split is 'probe'")
    assert "modality is 'VIS-cam'" in problems[1].message
    assert problems[0].message.endswith("(and 3 more line(s) like it)")
    assert problems[1].message.endswith("(and 5 more line(s) like it)")
    edit(table, lambda text: "\n".join(line + ",x" * bool(i) for i, line in enumerate(text.splitlines())))
    (wide,) = (p for p in check_dataset("csv", table).problems if p.kind == Kind.MALFORMED)
    assert wide.message == (
        "6 values for 5 columns; quote a value that holds a comma (and 11 more line(s) like it)"
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,pid,camid", "no column 'modality'"),
        ("path,pid,modality,cam_id", "column 'cam_id': did you mean 'camid'?"),
        ("Path,pid,modality", "column 'Path': did you mean 'path'?"),
        ("path,pid,modality,pid", "column 'pid' stands twice"),
        ("path;pid;modality", "separated by commas"),
        ("", "no column 'path'"),
    ],
)
def test_csv_headers(header: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(header + "\nx.png,1,visible,1\n")
    with pytest.raises(DataError) as caught:
        load_dataset("csv", tmp_path)
    assert message in str(caught.value)


def test_csv_folder_must_hold_one_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it holds none"):
        load_dataset("csv", tmp_path)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataError, match="the table is empty"):
        load_dataset("csv", tmp_path)
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(DataError, match=r"it holds 2: a\.csv, b\.csv"):
        load_dataset("csv", tmp_path)


def test_csv_identities_in_two_splits(tmp_path: Path) -> None:
    table = make_csv(tmp_path / "c")
    put(tmp_path / "c/z.png", PNG)
    edit(table, lambda text: text + "z.png,3,visible,1,val\n")
    problems = found("csv", table)
    assert "identity 3 is in both val and test" in problems[Kind.SHARED_IDENTITY, "z.png"]


def test_complaints_do_not_fill_the_memory(sysu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem_kinds, "MAX_KEPT", 5)
    edit(sysu / "exp/train_id.txt", lambda text: text.strip() + "".join(f",x{i}" for i in range(40)))
    problems = [p for p in check_dataset("sysu-mm01", sysu).problems if p.kind == Kind.MALFORMED]
    assert len(problems) == 6 and problems[-1].message == "and 35 more of this kind" and problems[-1].fatal


def write_draw(root: Path, change: Callable[[np.ndarray], None] | None = None) -> None:
    cells = permutations({(c, pid): 2 for c in CAMERAS for pid in range(1, 6)}, identities=5)
    if change:
        change(cells)
    savemat(root / "exp/rand_perm_cam.mat", {"rand_perm_cam": cells})


def test_a_fitting_gallery_draw_is_no_problem(sysu: Path) -> None:
    write_draw(sysu)
    assert check_dataset("sysu-mm01", sysu).ok


def _fewer_images(cells: np.ndarray) -> None:
    cells[1, 0][3, 0] = np.ones((10, 1), dtype=np.uint8)


def _no_permutation(cells: np.ndarray) -> None:
    cells[1, 0][3, 0] = np.ones((10, 2), dtype=np.uint8)


def _fewer_trials(cells: np.ndarray) -> None:
    cells[1, 0][3, 0] = cells[1, 0][3, 0][:4]


def _fewer_identities(cells: np.ndarray) -> None:
    cells[1, 0] = cells[1, 0][:4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_fewer_images, "camera 2, identity 4: drawn from 1 images, on disk are 2"),
        (_no_permutation, "camera 2, identity 4: a row is no permutation of 1 to 2"),
        (_fewer_trials, "camera 2, identity 4: the entry must be 10 x 2"),
        (_fewer_identities, "camera 2, identity 5: drawn from 0 images, on disk are 2"),
    ],
)
def test_gallery_draw_that_does_not_fit(
    change: Callable[[np.ndarray], None], message: str, sysu: Path
) -> None:
    write_draw(sysu, change)
    problems = found("sysu-mm01", sysu)
    assert len(problems) == 1 and message in problems[Kind.PERMUTATIONS, "exp/rand_perm_cam.mat"]


def test_gallery_draw_files_that_are_something_else(sysu: Path) -> None:
    draw = sysu / "exp/rand_perm_cam.mat"
    for content, message in (
        (b"not matlab" * 30, "is not a readable MATLAB file"),
        (b"", "a readable MATLAB file"),
        ({"other": 1}, "no variable `rand_perm_cam`"),
        ({"rand_perm_cam": np.ones((6, 1))}, "must be a 6x1 cell"),
    ):
        draw.write_bytes(content) if isinstance(content, bytes) else savemat(draw, content)
        assert message in found("sysu-mm01", sysu)[Kind.PERMUTATIONS, "exp/rand_perm_cam.mat"]


def test_the_released_draw_fits_the_released_counts(shared_data: Path) -> None:
    """The real file against the real test images' (camera, identity) counts, and against wrong ones."""
    from ivreid.datasets.sysu_mm01 import SysuMM01, permutation_faults
    from ivreid.datasets.tree import Tree

    features = np.load(shared_data / "sysu-mm01-official/features.npz", allow_pickle=False)
    keys = list(zip(features["camids"].tolist(), features["pids"].tolist(), strict=True))
    counts = {key: keys.count(key) for key in set(keys)}
    for camid in CAMERAS:
        identities = len({pid for c, pid in counts if c == camid})
        assert SysuMM01.released[f"camera {camid} test identities"] == identities
    counts_of_queries = sum(n for (camid, _), n in counts.items() if camid in (3, 6))
    assert counts_of_queries == 3803
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ivreid.datasets.sysu_mm01.PERMUTATIONS", "rand_perm_cam.mat")
        tree = Tree(shared_data / "sysu-mm01-official")
        assert permutation_faults(tree, counts) == []
        wrong = {**counts, (1, 6): counts.get((1, 6), 0) + 1}
        assert len(permutation_faults(tree, wrong)) == 1


def test_released_counts_are_notices_only(sysu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivreid.datasets.sysu_mm01 import SysuMM01

    report = check_dataset("sysu-mm01", sysu)
    assert report.ok and any("camera 1 images 10 (6,289)" in notice for notice in report.notices)
    monkeypatch.setattr(SysuMM01, "released", {"camera 1 images": 10, "train + val infrared images": 12})
    assert "counts equal the released dataset's" in check_dataset("sysu-mm01", sysu).notices


def test_images_of_unlisted_identities_are_a_notice(sysu: Path) -> None:
    for n in (1, 2):
        put(sysu / f"cam1/0099/000{n}.jpg")
    report = check_dataset("sysu-mm01", sysu)
    assert report.ok and "2 images of 1 identities are in no split list" in report.notices
