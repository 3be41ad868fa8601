"""What readers make of healthy data, derived here from the directory listing alone."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
from dataset_trees import JPEG, make_csv, make_example, make_folder, make_llcm, make_regdb, make_sysu, put

from ivreid.datasets import DATASETS, Dataset, check_dataset, hold_out, load_dataset
from ivreid.errors import DataError, UsageError
from ivreid.io import fingerprint
from ivreid.types import NO_CAMERA, Modality, Sample

V, I = Modality.VISIBLE, Modality.INFRARED  # noqa: E741


def by_hand(root: Path) -> dict[str, int]:
    images = (".jpg", ".png", ".bmp")
    files = [p for p in root.rglob("*") if p.suffix.lower() in images]
    return {p.relative_to(root).as_posix(): p.stat().st_size for p in files}


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_loads_with_the_fingerprint_of_its_files(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    make_example(name, root)
    dataset = load_dataset(name, root)
    files = by_hand(root)
    assert dataset.fingerprint == fingerprint(files.items())
    assert dataset.root == root and dataset.name == name
    for split in dataset.splits:
        samples = dataset.split(split)
        assert samples and all(dataset.path(sample).is_file() for sample in samples)
        order = [(s.pid, s.modality is I, s.camid, s.frame) for s in samples]
        assert order == sorted(order) and len(set(order)) == len(order)
        table = dataset.table(split)
        assert table.paths == tuple(s.path for s in samples)
        assert dataset.pids(split) == tuple(sorted(set(table.pids.tolist())))
    assert {s.path for rows in dataset.splits.values() for s in rows} == set(files)


@pytest.mark.parametrize("name", DATASETS)
def test_a_copy_elsewhere_is_the_same_dataset(name: str, tmp_path: Path) -> None:
    make_example(name, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "link").symlink_to(tmp_path / "two")
    one, two, link = (load_dataset(name, tmp_path / which) for which in ("one", "two", "link"))
    assert one.splits == two.splits == link.splits
    assert one.fingerprint == two.fingerprint == link.fingerprint


@pytest.mark.parametrize("name", DATASETS)
def test_size_and_name_of_any_image_move_the_fingerprint(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    make_example(name, root)
    before = load_dataset(name, root)
    sample = before.split("test")[-1]
    with before.path(sample).open("ab") as file:
        file.write(b"\0")
    assert load_dataset(name, root).fingerprint != before.fingerprint


def test_sysu_samples_follow_folders_and_lists(tmp_path: Path) -> None:
    dataset = load_dataset("sysu-mm01", make_sysu(tmp_path / "s"))
    assert list(dataset.splits) == ["train", "val", "test"]
    expected = [
        Sample(f"cam{c}/{pid:04d}/{n:04d}.jpg", pid, c, I if c in (3, 6) else V, n)
        for pid in (4, 5)
        for c in (1, 2, 4, 5, 3, 6)
        for n in (1, 2)
    ]
    assert list(dataset.split("test")) == expected
    assert dataset.pids("train") == (1, 2) and dataset.pids("val") == (3,)
    assert dataset.permutations is None and dataset.has_cameras and dataset.trial is None
    put(tmp_path / "s" / "exp" / "rand_perm_cam.mat", b"x")
    again = load_dataset("sysu-mm01", tmp_path / "s")
    assert again.permutations == tmp_path / "s" / "exp" / "rand_perm_cam.mat"
    assert again.fingerprint == dataset.fingerprint, "the draw is no part of the images"


def test_sysu_frames_are_positions_not_file_numbers(tmp_path: Path) -> None:
    root = make_sysu(tmp_path / "s", images=3)
    (root / "cam1/0004/0001.jpg").unlink()
    frames = {s.path: s.frame for s in load_dataset("sysu-mm01", root).split("test")}
    assert frames["cam1/0004/0002.jpg"] == 1 and frames["cam1/0004/0003.jpg"] == 2
    assert frames["cam2/0004/0003.jpg"] == 3


def test_regdb_trials_are_their_own_lists(tmp_path: Path) -> None:
    root = make_regdb(tmp_path / "r")
    assert load_dataset("regdb", root).trial == 1
    for trial in range(1, 11):
        dataset = load_dataset("regdb", root, trial=trial)
        for split in ("train", "test"):
            lines = (root / f"idx/{split}_thermal_{trial}.txt").read_text().split("\n")
            listed = {line.split()[0] for line in lines if line}
            assert {s.path for s in dataset.split(split) if s.modality is I} == listed
        assert {(s.modality, s.camid) for s in dataset.split("test")} == {(V, 1), (I, 2)}
    one, two = load_dataset("regdb", root, trial=1), load_dataset("regdb", root, trial=2)
    assert one.fingerprint == two.fingerprint
    assert one.split_fingerprint("test") != two.split_fingerprint("test")
    assert one.split_fingerprint("test") == load_dataset("regdb", root).split_fingerprint("test")


def test_regdb_frames_count_files_on_disk_not_lines_of_a_list(tmp_path: Path) -> None:
    root = make_regdb(tmp_path / "r", images=3)
    path = root / "idx/test_visible_1.txt"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join(reversed(rest)))
    visible = [s for s in load_dataset("regdb", root).split("test") if s.modality is V]
    pid = int(first.split("/")[1])
    assert [s.frame for s in visible if s.pid == pid] == [2, 3]


def test_llcm_cameras_come_from_names_in_training_and_folders_in_test(tmp_path: Path) -> None:
    dataset = load_dataset("llcm", make_llcm(tmp_path / "l"))
    rows = [
        (s.path, s.pid, s.camid, s.frame) for s in dataset.split("train") if s.modality is I and s.pid == 7
    ]
    # sorted by name "f12" stands before "f8": positions count within identity and camera
    assert rows == [
        ("nir/0007/0007_c01_s100_f12_nir.jpg", 7, 1, 1),
        ("nir/0007/0007_c01_s100_f8_nir.jpg", 7, 1, 2),
        ("nir/0007/0007_c02_s100_f12_nir.jpg", 7, 2, 1),
        ("nir/0007/0007_c02_s100_f8_nir.jpg", 7, 2, 2),
    ]
    assert {s.camid for s in dataset.split("test") if s.modality is V} == set(range(1, 10))
    assert {s.camid for s in dataset.split("test") if s.modality is I} == set(range(1, 10)) - {3}


def test_folder_is_one_test_split_without_cameras(tmp_path: Path) -> None:
    dataset = load_dataset("folder", make_folder(tmp_path / "f"))
    assert list(dataset.splits) == ["test"] and not dataset.has_cameras
    assert {s.camid for s in dataset.split("test")} == {NO_CAMERA}
    assert dataset.pids("test") == (1, 2, 10)
    assert dataset.split("test")[0] == Sample("visible/1/a.png", 1, NO_CAMERA, V, 1)
    with pytest.raises(UsageError, match="no split 'train'; it has: test"):
        dataset.split("train")


@pytest.mark.parametrize(
    ("header", "splits", "cameras"),
    [
        ("path,pid,modality", ["test"], False),
        ("modality,path,camid,pid", ["test"], True),
        ("path,pid,modality,camid,split", ["train", "test"], True),
    ],
)
def test_csv_columns(header: str, splits: list[str], cameras: bool, tmp_path: Path) -> None:
    table = make_csv(tmp_path / "c", header)
    dataset = load_dataset("csv", table)
    assert list(dataset.splits) == splits and dataset.has_cameras is cameras
    assert dataset.splits == load_dataset("csv", table.parent).splits
    assert sum(map(len, dataset.splits.values())) == 12
    assert {s.frame for s in dataset.split("test")} == {1, 2}


def test_csv_from_a_spreadsheet(tmp_path: Path) -> None:
    put(tmp_path / "a, b" / "1.png")
    put(tmp_path / "2.png")
    rows = [
        "path,pid,modality,remark",
        '"a, b/1.png", 7 ,visible,"left, then\r\nright"',
        "2.png,7,infrared,",
        ",,,",
        "",
    ]
    text = "\ufeff" + "\r\n".join(rows)
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert [(s.path, s.pid) for s in load_dataset("csv", tmp_path).split("test")] == [
        ("a, b/1.png", 7),
        ("2.png", 7),
    ]


def test_csv_as_programs_write_it(tmp_path: Path) -> None:
    """Numbers as fractions, an unknown camera, usual words for the modality, commas at the ends of lines."""
    for name in "abcdef":
        put(tmp_path / f"{name}.png")
    rows = [
        ",path,pid,modality,camid,,",
        "0,a.png,7.0,RGB,1.0,,",
        "1,b.png,7.00,Thermal,,,",
        "2,c.png,8,IR,3",
        "3,d.png,8,Visible,1,,,,",
        "4,e.png,9,nir,3,,",
        "5,f.png,9,vis,1,remark,",
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    dataset = load_dataset("csv", tmp_path)
    samples = sorted(dataset.split("test"), key=lambda sample: sample.path)
    assert [(s.path[0], s.pid, s.camid, s.modality.value[0]) for s in samples] == [
        ("a", 7, 1, "v"),
        ("b", 7, NO_CAMERA, "i"),
        ("c", 8, 3, "i"),
        ("d", 8, 1, "v"),
        ("e", 9, 3, "i"),
        ("f", 9, 1, "v"),
    ]
    assert dataset.has_cameras
    notices = check_dataset("csv", tmp_path).notices
    assert "1 of 6 pictures have no camid: no camera rule holds for them" in notices
    (tmp_path / "t.csv").write_text("path,pid,modality,camid\na.png,7,rgb,\nb.png,7,ir,\n")
    assert not load_dataset("csv", tmp_path).has_cameras


def test_dataset_is_immutable_and_travels_to_workers(tmp_path: Path) -> None:
    dataset = load_dataset("sysu-mm01", make_sysu(tmp_path / "s"))
    with pytest.raises(TypeError):
        dataset.splits["train"] = ()  # type: ignore[index]
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    sample = Sample("a.png", 1, 1, V, 1)
    with pytest.raises(DataError, match="identity 1 is in both train and test"):
        Dataset("folder", tmp_path, {"train": (sample,), "test": (sample,)}, "")


def test_wrong_names_and_trials(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"did you mean sysu-mm01\? known: sysu-mm01, regdb, llcm, folder, csv"
    ):
        load_dataset("SYSU", tmp_path)
    with pytest.raises(UsageError, match="trials 1 to 10, not 11"):
        load_dataset("regdb", tmp_path, trial=11)
    with pytest.raises(UsageError, match="trials 1 to 10, not 0"):
        load_dataset("regdb", tmp_path, trial=0)
    with pytest.raises(UsageError, match="llcm has one train/test split"):
        load_dataset("llcm", tmp_path, trial=1)
    for name in DATASETS:
        with pytest.raises(DataError, match="nowhere does not exist"):
            load_dataset(name, tmp_path / "nowhere")


def test_hold_out_divides_by_identity(tmp_path: Path) -> None:
    dataset = load_dataset("llcm", make_llcm(tmp_path / "l", train=range(1, 21), test=(30, 31)))
    held = hold_out(dataset, 0.25, seed=3)
    assert len(held.pids("val")) == 5 and len(held.pids("train")) == 15
    assert set(held.pids("val")) | set(held.pids("train")) == set(dataset.pids("train"))
    assert held.split("test") == dataset.split("test") and list(held.splits) == ["train", "val", "test"]
    assert held == hold_out(dataset, 0.25, seed=3)
    assert len({hold_out(dataset, 0.25, seed).pids("val") for seed in range(10)}) > 5
    # an identity's place does not depend on how many images it has
    (tmp_path / "l" / "vis/0001/0001_c01_s100_f8_vis.jpg").unlink()
    lines = (tmp_path / "l" / "idx/train_vis.txt").read_text().splitlines()
    kept = [line for line in lines if "0001_c01_s100_f8" not in line]
    (tmp_path / "l" / "idx/train_vis.txt").write_text("\n".join(kept))
    assert hold_out(load_dataset("llcm", tmp_path / "l"), 0.25, 3).pids("val") == held.pids("val")


def test_hold_out_takes_only_identities_seen_in_both_modalities(tmp_path: Path) -> None:
    lines = ["path,pid,modality,split"]
    for pid in range(1, 11):
        for modality in ("visible", "infrared") if pid <= 4 else ("visible",):
            put(tmp_path / f"{pid}{modality}.png", JPEG)
            lines.append(f"{pid}{modality}.png,{pid},{modality},train")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    dataset = load_dataset("csv", tmp_path)
    for seed in range(20):
        assert set(hold_out(dataset, 0.4, seed).pids("val")) == {1, 2, 3, 4}
    with pytest.raises(DataError, match="cannot hold out 5 of 10 training identities, of which 4 have both"):
        hold_out(dataset, 0.5, 0)


def test_hold_out_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    sysu = load_dataset("sysu-mm01", make_sysu(tmp_path / "s"))
    with pytest.raises(UsageError, match="own split 'val'"):
        hold_out(sysu, 0.1, 0)
    llcm = load_dataset("llcm", make_llcm(tmp_path / "l"))
    for fraction in (0, 1, -0.1, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            hold_out(llcm, fraction, 0)
    with pytest.raises(DataError, match="cannot hold out 2 of 2"):
        hold_out(llcm, 0.9, 0)
    folder = load_dataset("folder", make_folder(tmp_path / "f"))
    with pytest.raises(UsageError, match="no split 'train'"):
        hold_out(folder, 0.1, 0)


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb", "llcm"])
def test_a_layout_is_recognised_by_its_folders(tmp_path, layout):
    from ivreid.datasets import recognise
    from ivreid.synthetic import synthesise

    synthesise(tmp_path / layout, layout=layout, identities=6, images=1, size=(32, 16), seed=0, workers=1)
    assert recognise(tmp_path / layout) == layout
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "nowhere") is None
