"""What `data check` says of the pictures themselves, of those that nothing uses, and of those that stand twice."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import (
    JPEG,
    PNG,
    empty_png,
    make_csv,
    make_example,
    make_folder,
    make_sysu,
    put,
    regdb_name,
)
from PIL import Image

from ivreid.cli import main
from ivreid.datasets import DATASETS, Kind, check_dataset, load_dataset

IDENTITY = {
    "sysu-mm01": "cam1/0001",
    "regdb": "Visible/1",
    "llcm": "test_vis/cam1/0004",
    "folder": "visible/1",
    "csv": "pictures",
}


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8))
THERMAL = Image.fromarray(np.arange(2600, 2740, dtype=np.uint16).reshape(14, 10))


def found(name: str, given: Path, **options: object) -> dict[tuple[Kind, str], str]:
    return {(p.kind, p.path): p.message for p in check_dataset(name, given, **options).problems}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DATASETS)
def test_what_programs_leave_behind_changes_nothing(name: str, tmp_path: Path) -> None:
    given = make_example(name, tmp_path / "d")
    root = given.parent if given.is_file() else given
    before = load_dataset(name, given)
    top = IDENTITY[name].rpartition("/")[0]
    for folder in (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-0", "#recycle"):
        for place in (top, IDENTITY[name], ""):
            put(root / place / folder / "0001.jpg")
    put(root / IDENTITY[name] / "Thumbs.db")
    assert load_dataset(name, given) == before
    report = check_dataset(name, given)
    if name != "csv":  # a table names its pictures; the folders beside them are nobody's business
        assert any("hidden or system files and folders are ignored" in notice for notice in report.notices)
    assert report.ok, report.problems


UNKNOWN = {
    "sysu-mm01": ("cam7/0001/0001.jpg", "Cam1/0001/0001.jpg", "cam1/0001.jpg", "cam2/0001.JPG"),
    "llcm": ("test_nir/cam3/0004/a.jpg", "test_vis/cam10/0004/a.jpg", "test_vis/a.jpg"),
    "regdb": ("visible/1/a.bmp", "Thermal/a.bmp"),
    "folder": ("thermal/1/a.tif", "infrared/a.webp"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_pictures_that_nothing_uses_are_told(name: str, tmp_path: Path) -> None:
    root = make_example(name, tmp_path / "d")
    before = load_dataset(name, root)
    for path in UNKNOWN[name]:
        put(root / path)
    (root / "again").symlink_to(root / IDENTITY[name])  # inside the root, and a loop
    (root / "loop").symlink_to(root)
    problems = found(name, root)
    assert set(problems) == {(Kind.UNUSED, path.rpartition("/")[0]) for path in UNKNOWN[name]}
    assert all("1 picture(s), such as" in message for message in problems.values())
    assert load_dataset(name, root) == before
    put(root / "overview.png", PNG)
    assert any("overview.png" in notice for notice in check_dataset(name, root).notices)


def test_a_table_says_which_pictures_it_leaves_out(tmp_path: Path) -> None:
    table = make_csv(tmp_path / "d")
    put(tmp_path / "d/pictures/extra.webp")
    put(tmp_path / "d/elsewhere/a.jpg")
    notices = check_dataset("csv", table).notices
    assert [n for n in notices if "in no row" in n] == [
        "1 picture(s) beside the table's stand in no row: pictures/extra.webp"
    ]


@pytest.mark.parametrize(
    ("name", "first", "others"),
    [
        ("sysu-mm01", "cam1/0001/0001.jpg", ("cam1/0001/0001.png", "cam1/0001/0001.jpeg")),
        ("folder", "visible/1/a.png", ("visible/1/A.png", "visible/1/a.webp", "visible/1/a.JPG")),
        ("regdb", f"Visible/1/{regdb_name(1, 1, 'v')}", (f"Visible/1/{regdb_name(1, 1, 'v').upper()}",)),
    ],
)
def test_names_that_differ_in_suffix_or_case(
    name: str, first: str, others: tuple[str, ...], tmp_path: Path
) -> None:
    root = make_example(name, tmp_path / "d")
    put(root / first)
    for other in others:
        put(root / other, PNG)
    problems = [p for p in check_dataset(name, root).problems if p.kind == Kind.SAME_NAME]
    assert len(problems) == len(others), "each but one, whichever sorts first"
    assert {p.path for p in problems} < {first, *others} and not any(p.fatal for p in problems)


def test_a_table_may_pair_a_photo_with_a_thermal_picture_of_one_name(tmp_path: Path) -> None:
    for pid in (1, 2):
        put(tmp_path / f"d/{pid}.jpg")
        put(tmp_path / f"d/{pid}.png", PNG)
    rows = [
        f"{pid}.{s},{pid},{m},{c}"
        for pid in (1, 2)
        for s, m, c in (("jpg", "visible", 1), ("png", "infrared", 2))
    ]
    (tmp_path / "d/t.csv").write_text("\n".join(["path,pid,modality,camid", *rows]))
    assert check_dataset("csv", tmp_path / "d").ok
    (tmp_path / "d/t.csv").write_text(
        "\n".join(["path,pid,modality,camid", *rows]).replace(",infrared,2", ",infrared,1")
    )
    problems = found("csv", tmp_path / "d")
    assert set(problems) == {(Kind.SHARED_CAMERA, "t.csv")}
    assert "camera 1 has visible and infrared pictures" in problems[Kind.SHARED_CAMERA, "t.csv"]
    (tmp_path / "d/t.csv").write_text(
        "\n".join(["path,pid,modality", *(row.rpartition(",")[0] for row in rows)])
    )
    assert check_dataset("csv", tmp_path / "d").ok, "without cameras there is nothing to share"


WHOLE = {kind: encode(COLOURS, kind) for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF")}


def flipped(png: bytes) -> bytes:
    """One bit of the pixels' data changed."""
    at = png.index(b"IDAT") + 50
    return png[:at] + bytes((png[at] ^ 1,)) + png[at + 1 :]


PROGRESSIVE = encode(COLOURS, "JPEG", progressive=True)
SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
REFUSED = {
    "bomb.png": (empty_png(60_000, 60_000), Kind.UNDECODABLE, "over the limit"),
    "flipped.png": (flipped(WHOLE["PNG"]), Kind.UNDECODABLE, ""),
    "cut.jpg": (WHOLE["JPEG"][:-30], Kind.UNDECODABLE, "cut short"),
    "half.png": (WHOLE["PNG"][: len(WHOLE["PNG"]) // 2], Kind.UNDECODABLE, "truncated"),
    "cut.bmp": (WHOLE["BMP"][:-30], Kind.UNDECODABLE, "truncated"),
    "cut.webp": (WHOLE["WEBP"][:-30], Kind.UNDECODABLE, ""),
    "cut.tif": (WHOLE["TIFF"][:-30], Kind.UNDECODABLE, ""),
    "scans.jpg": (PROGRESSIVE[:-2] + SCAN * 300 + PROGRESSIVE[-2:], Kind.UNDECODABLE, "scans"),
    "really-webp.jpg": (WHOLE["WEBP"], Kind.NOT_AN_IMAGE, "it is WebP"),
    "page.jpg": (b"<!doctype html>" + b" " * 99, Kind.NOT_AN_IMAGE, "HTML page"),
    "clip.png": (b"\0\0\0\x18ftypisom" + b"\0" * 99, Kind.NOT_AN_IMAGE, "MP4"),
    "two.tif": (encode(COLOURS, "TIFF", save_all=True, append_images=[COLOURS]), Kind.UNDECODABLE, "several"),
}


@pytest.mark.parametrize("file", REFUSED)
def test_what_decoding_refuses_is_found_without_decoding_everything(file: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d")
    data, kind, message = REFUSED[file]
    put(root / "visible/1" / file, data)
    for decode in (False, True):
        problems = found("folder", root, decode=decode)
        assert set(problems) == {(kind, f"visible/1/{file}")}
        assert message in problems[kind, f"visible/1/{file}"]


def test_own_folders_hold_webp_and_tiff_and_released_layouts_do_not(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d")
    put(root / "visible/1/a.webp", WHOLE["WEBP"])
    put(root / "infrared/1/c.TIF", WHOLE["TIFF"])
    assert len(load_dataset("folder", root).split("test")) == 14
    assert found("folder", root) == {
        (Kind.SAME_NAME, "visible/1/a.webp"): "a.png stands beside it; if they are one picture, keep one"
    }
    sysu = make_sysu(tmp_path / "s")
    before = load_dataset("sysu-mm01", sysu)
    put(sysu / "cam1/0001/0000.webp", WHOLE["WEBP"])
    put(sysu / "cam1/0001/0000.tiff", WHOLE["TIFF"])
    assert load_dataset("sysu-mm01", sysu) == before, "frame numbers and fingerprint stay"
    assert {kind for kind, _ in found("sysu-mm01", sysu)} == {Kind.STRAY_FILE}


def test_deep_grey_is_shown_and_is_no_problem_under_a_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "d")
    thermal = [f"infrared/{pid}/t.png" for pid in (1, 2)]
    for path in thermal:
        put(root / path, encode(THERMAL, "PNG"))
    for decode in (False, True):
        problems = found("folder", root, decode=decode)
        assert set(problems) == {(Kind.HIGH_BIT_DEPTH, path) for path in thermal}
        assert "from 2,600 to 2,739; data.value_range must say" in problems[Kind.HIGH_BIT_DEPTH, thermal[0]]
        for rule in ("image", (2000.0, 3000.0)):
            report = check_dataset("folder", root, decode=decode, value_range=rule)  # type: ignore[arg-type]
            assert report.ok and any("values from 2,600 to 2,739" in notice for notice in report.notices)
        assert {kind for kind, _ in found("folder", root, decode=decode, value_range=(0.0, 255.0))} == {
            Kind.UNDECODABLE
        }
    for rule, status, words in (
        (None, 1, "grey of more than eight bits (2)"),
        ("image", 0, "no problems found"),
        ("2600,2740", 0, "no problems found"),
        ("[0, 255]", 1, "all white"),
        ("picture", 2, "is no rule"),
        ("5,5", 2, "is no rule"),
    ):
        with pytest.raises(SystemExit) as leaving:
            main(["data", "check", "folder", str(root), *(("--value-range", rule) if rule else ())])
        assert (leaving.value.code or 0) == status
        assert words in "".join(capsys.readouterr())


def test_what_is_done_to_pictures_is_noted(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d")
    put(root / "visible/1/clear.png", encode(Image.new("RGBA", (4, 4), (1, 2, 3, 9)), "PNG"))
    put(root / "visible/1/other.jpg", PNG)
    put(root / "visible/2/same.jpeg", JPEG)
    notices = "\n".join(check_dataset("folder", root).notices)
    assert "1 picture(s) may have transparent pixels, which are black: visible/1/clear.png" in notices
    assert "1 picture(s) are of another kind than their names say: visible/1/other.jpg (PNG)" in notices
