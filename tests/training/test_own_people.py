"""People of one's own: divided by identity, called by names, seen by cameras that are partly unknown."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import tiny_tree

from ivreid.cli import main
from ivreid.config import make_config
from ivreid.datasets import check_dataset, divide_people, hold_out, load_dataset, recognise_data
from ivreid.errors import DataError, ProtocolError, UsageError
from ivreid.evaluation import calibrate, evaluate_run
from ivreid.models import read_card
from ivreid.training import train


def call(*words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def write_table(root: Path, people: list[str], extra: str = "", seed: int = 0) -> Path:
    """A table of four pictures of each person; every third row has no camera."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    rows, number = [f"path,pid,modality,camid{',note' if extra else ''}"], 0
    for name in people:
        for camid, kind in ((1, "visible"), (2, "visible"), (3, "ir"), (3, "ir")):
            path = f"{name}-{number}.png"
            Image.fromarray(rng.integers(0, 256, (20 + seed, 10, 3), dtype=np.uint8)).save(root / path)
            rows.append(f"{path},{name},{kind},{camid if number % 3 else ''}{extra}")
            number += 1
    (root / "people.csv").write_text("\n".join(rows) + "\n")
    return root / "people.csv"


def tree_of(table: Path, out: Path, **changes: Any) -> dict[str, Any]:
    tree = tiny_tree(table, out)
    tree["data"] |= {"dataset": "csv", "test_fraction": 0.4}
    return {**tree, "epochs": 1, "batch": {"identities": 3}, **changes}


NAMES = [f"person-{letter}" for letter in "abcdefghijklmn"]


def test_people_without_a_split_are_divided_said_and_stored(tmp_path: Path) -> None:
    table, said = write_table(tmp_path / "data", NAMES), list[str]()
    folder = train(make_config(tree_of(table, tmp_path / "run")), notice=said.append).folder
    (line,) = [line for line in said if "divided by identity" in line]
    assert "7 train, 1 val, 6 test" in line
    who = json.loads((folder / "environment.json").read_text())["people"]
    assert sorted(pid for pids in who.values() for pid in pids) == list(range(1, 15))
    card = read_card(folder / "weights.safetensors")
    assert card["train_pids"] == who["train"] and card["selection"]["pids"] == who["val"]
    (result,) = evaluate_run(folder)
    assert result.queries == 12 and result.gallery == 12  # two of each of the six
    assert any(note.startswith("no camera rule for") and "of 24 images" in note for note in result.notes)
    assert (folder / "results.json").exists() and not (folder / "evaluations").exists()
    with pytest.raises(DataError, match="pairs"):  # one person is found, and has no pair with another
        calibrate(folder)


def test_who_is_tested_on_depends_on_people_and_seed_alone(tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", NAMES)
    dataset = load_dataset("csv", table)
    once, other = divide_people(dataset, 0.4, 0), divide_people(dataset, 0.4, 1)
    assert once.pids("test") == divide_people(load_dataset("csv", table), 0.4, 0).pids("test")
    assert once.pids("test") != other.pids("test")
    assert set(once.pids("train")) | set(once.pids("test")) == set(dataset.pids("test"))
    assert len(once.pids("test")) == 6 and once.divided and not dataset.divided
    with pytest.raises(UsageError, match="defines its training people"):
        divide_people(once, 0.4, 0)
    with pytest.raises(DataError, match="too few to train on some"):
        divide_people(load_dataset("csv", write_table(tmp_path / "few", NAMES[:4])), 0.4, 0)


def test_a_folder_without_any_infrared_picture_says_so(tmp_path: Path) -> None:
    for pid in range(6):
        for camera in (1, 2):
            file = tmp_path / "visible" / f"p{pid}" / f"{camera}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 32), (20 * pid, 40 * camera, 0)).save(file)
    (tmp_path / "infrared").mkdir()
    dataset = load_dataset("folder", tmp_path)
    with pytest.raises(
        DataError, match="there is no infrared picture at all; 0 people have pictures of both"
    ):
        divide_people(dataset, 0.4, 0)
    train = replace(dataset, splits={"train": dataset.split("test")})
    with pytest.raises(DataError, match="there is no infrared picture at all; cannot hold out 1 of 6"):
        hold_out(train, 0.1, 0)


def test_people_with_one_modality_are_never_trained_on(tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", NAMES)
    text = "".join(
        line for line in table.read_text().splitlines(True) if not ("person-c" in line and ",ir," in line)
    )
    table.write_text(text)
    for seed in range(5):
        assert 3 in divide_people(load_dataset("csv", table), 0.3, seed).pids("test")


def test_people_added_later_are_tested_on_and_nobody_moves(tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", NAMES)
    folder = train(make_config(tree_of(table, tmp_path / "run"))).folder
    card = read_card(folder / "weights.safetensors")
    seen = {*card["train_pids"], *card["selection"]["pids"]}
    numbers = json.loads((tmp_path / "data/people.identities.json").read_text())
    more = write_table(tmp_path / "more", ["aaron", "zoe"], seed=9)  # one before and one after everybody else
    for picture in more.parent.glob("*.png"):
        shutil.copy(picture, table.parent)
    table.write_text(table.read_text() + "".join(more.read_text().splitlines(True)[1:]))
    after = load_dataset("csv", table)
    assert {after.names[number]: number for number in after.names} == {**numbers, "aaron": 15, "zoe": 16}
    (result,) = evaluate_run(folder)
    assert result.queries == 2 * (16 - len(seen))
    # other people of another place under the same numbers are all tested on
    elsewhere = write_table(tmp_path / "elsewhere", NAMES, seed=5)
    assert evaluate_run(folder, data_root=elsewhere)[0].queries == 28


def test_the_same_people_in_another_table_are_no_test(tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", NAMES)
    folder = train(make_config(tree_of(table, tmp_path / "run"))).folder
    again = tmp_path / "again"
    again.mkdir()
    lines = table.read_text().splitlines()
    for number, line in enumerate(lines[1:]):
        path, pid, *rest = line.split(",")
        shutil.copy(table.parent / path, again / f"{number}.png")
        lines[number + 1] = ",".join([f"{number}.png", str(90 - NAMES.index(pid)), *rest])
    (again / "t.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ProtocolError, match="the model has seen"):
        evaluate_run(folder, data_root=again / "t.csv")


def test_names_keep_their_numbers(tmp_path: Path) -> None:
    table = write_table(tmp_path, ["ben", "anna"])
    assert dict(load_dataset("csv", table).names) == {1: "anna", 2: "ben"}
    kept = json.loads((tmp_path / "people.identities.json").read_text())
    assert kept == {"anna": 1, "ben": 2}
    table.write_text(table.read_text().replace("anna", "carl"))
    for picture in tmp_path.glob("anna*"):
        picture.rename(tmp_path / picture.name.replace("anna", "carl"))
    assert {name: number for number, name in load_dataset("csv", table).names.items()} == {**kept, "carl": 3}
    (tmp_path / "people.identities.json").write_text('{"anna": 1, "ben": 1}')
    with pytest.raises(DataError, match="two names have one number"):
        load_dataset("csv", table)
    (tmp_path / "people.identities.json").write_text("[]")
    with pytest.raises(DataError, match="a number for each name"):
        load_dataset("csv", table)


def test_numbers_and_names_are_not_mixed(tmp_path: Path) -> None:
    table = write_table(tmp_path, ["7", "O7"])
    with pytest.raises(
        DataError, match=r"pid is 'O7'; it must be a whole number.*call everyone by a name.*3 more"
    ):
        load_dataset("csv", table)
    assert not (tmp_path / "people.identities.json").exists()


def test_folders_may_be_called_by_names_too(tmp_path: Path) -> None:
    for kind in ("visible", "infrared"):
        for name in ("ben", "anna"):
            (tmp_path / kind / name).mkdir(parents=True)
            Image.new("RGB", (8, 16), (len(name), 0, 9)).save(tmp_path / kind / name / "a.png")
    dataset = load_dataset("folder", tmp_path)
    assert dict(dataset.names) == {1: "anna", 2: "ben"}
    assert {sample.pid for sample in dataset.split("test") if "/ben/" in sample.path} == {2}
    assert json.loads((tmp_path / "identities.json").read_text()) == {"anna": 1, "ben": 2}
    assert check_dataset("folder", tmp_path).ok


def test_checking_a_dataset_writes_nothing(tmp_path: Path) -> None:
    write_table(tmp_path, ["ben", "anna"])
    assert check_dataset("csv", tmp_path).ok
    assert not (tmp_path / "people.identities.json").exists()


def test_data_check_knows_the_layout_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "table", NAMES)
    for given in (table, table.parent):
        assert call("data", "check", given) == 0
        assert "csv" in capsys.readouterr().out
    (tmp_path / "pictures/x").mkdir(parents=True)
    assert call("data", "check", tmp_path / "pictures") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "layout of no dataset" in told and f"ivreid init {tmp_path}" in told
    assert call("data", "check", tmp_path / "none") == 2
    assert "does not exist" in capsys.readouterr().err


def test_every_layout_is_recognised(tmp_path: Path) -> None:
    from ivreid.datasets import DATASETS, get_reader

    for name in DATASETS:
        assert recognise_data(get_reader(name).example(tmp_path / name)) == name
