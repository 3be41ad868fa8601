"""`ivreid data check` as a person runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_trees import (
    empty_png,
    make_example,
    make_folder,
    make_sysu,
    put,
)

from ivreid.cli import main
from ivreid.datasets import DATASETS, load_dataset
from kill_points import kill_at


def run(*arguments: object) -> int:
    try:
        main(["data", "check", *map(str, arguments)])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.mark.parametrize("name", DATASETS)
def test_healthy_data_leave_with_zero(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = make_example(name, tmp_path / "d")
    assert run(name, given) == 0
    out, err = capsys.readouterr()
    assert "no problems found" in out and "error" not in err
    dataset = load_dataset(name, given)
    assert dataset.fingerprint in out
    for split in dataset.splits:
        table = dataset.table(split)
        for infrared, word in ((False, "visible"), (True, "infrared")):
            images = int((table.infrared == infrared).sum())
            identities = len(set(table.pids[table.infrared == infrared].tolist()))
            camera = r"(all|unknown|\d)"
            assert re.search(rf"{split} +│ {word} +│ +{camera} │ +{identities} │ +{images} │", out)


def test_problems_leave_with_one_and_are_grouped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "d")
    for n in range(30):
        put(root / "visible/1" / f"[red]{n:02d}.png", b"")
    put(root / "infrared/1/note.txt", b"")
    assert run("folder", root) == 1
    out, err = capsys.readouterr()
    assert "empty file (30)" in out and "and 10 more; --all shows them" in out
    assert "visible/1/[red]00.png: the file has no bytes" in out, "file names are no markup"
    assert out.count("the file has no bytes") == 20 and "stray file (1)" in out
    assert "31 problems" in err and "30 of them make it unusable" in err
    assert run("folder", root, "--all") == 1
    assert capsys.readouterr().out.count("the file has no bytes") == 30


def test_decode_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "d")
    put(root / "visible/1/a.png", empty_png(60, 60))
    assert run("folder", root) == 0
    assert "--decode decodes each" in capsys.readouterr().out
    assert run("folder", root, "--decode") == 1
    assert "undecodable image (1)" in capsys.readouterr().out


def test_wrong_use_leaves_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (("regdb", tmp_path / "none"), "does not exist"),
        (("csv", tmp_path), "it holds none"),
        (("redgb", tmp_path), "did you mean regdb?"),
        (("folder", __file__), "is not a folder"),
    ):
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err.replace("\n", " ")


def test_reading_datasets_loads_neither_torch_nor_scipy() -> None:
    heavy = ("torch", "scipy", "matplotlib", "pydantic")
    code = f"import sys, ivreid.datasets; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_lists_each_folder_once_and_opens_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, scanned = os.scandir, list[str]()
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(str(path)) or scan(path))
    events = []
    for people in (4, 8):
        pids = [range(1 + part * people, 1 + (part + 1) * people) for part in range(3)]
        root = make_sysu(tmp_path / str(people), *pids, images=16)
        scanned.clear()
        with kill_at(None) as counts:
            dataset = load_dataset("sysu-mm01", root)
        assert sum(map(len, dataset.splits.values())) == 6 * 3 * people * 16
        assert len(scanned) == len(set(scanned)) <= 2 + 6 + 6 * 3 * people
        events.append(counts)
    assert events[1]["files"] == events[0]["files"]  # the lists of identities
    assert events[1]["all"] < 2 * events[0]["all"]  # in step with the images
