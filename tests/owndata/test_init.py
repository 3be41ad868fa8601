"""`ivreid init`: what names tell is taken and said, what they leave open is asked and never guessed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

import ivreid
from ivreid.cli import main
from ivreid.config import load_config
from ivreid.datasets import check_dataset, load_dataset
from ivreid.errors import DataError, UsageError
from ivreid.owndata import Answers, InitSummary, Question, init_dataset
from ivreid.owndata.words import camera_in, camera_of, is_date, is_tracklet, modality_of, says_person
from ivreid.types import Modality


def pictures(root: Path, names: Iterable[str]) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), (number % 256, number // 256, 7)).save(root / name)
    return root


def rows(made: InitSummary) -> dict[str, tuple[str, str, str]]:
    """Person, modality and camera of every picture in the table."""
    with made.table.open() as file:
        return {
            row["path"]: (row["pid"], row["modality"], row.get("camid", "")) for row in csv.DictReader(file)
        }


def asked(root: Path, **given: str) -> UsageError:
    with pytest.raises(UsageError) as error:
        init_dataset(root, answers=Answers(**given))
    assert not (root / "people.csv").exists() and not (root / "people.yaml").exists()
    return error.value


@pytest.mark.parametrize(
    ("word", "modality"),
    [
        *[
            (word, "visible")
            for word in ("rgb", "RGB", "Visible", "VIS", "color", "Colour_images", "RGBImages")
        ],
        *[(word, "infrared") for word in ("ir", "IR", "nir", "Thermal", "infrared-crops", "NearInfrared")],
        *[(word, "infrared") for word in ("near_infrared", "thermalcam2", "cam3_ir", "LWIR")],
        *[(word, None) for word in ("iris", "davis", "night", "0001", "rgb_ir", "mirror", "", "first")],
    ],
)
def test_modalities_in_any_spelling(word: str, modality: str | None) -> None:
    assert modality_of(word) == (None if modality is None else Modality(modality))


def test_what_single_names_say() -> None:
    assert [camera_of(name) for name in ("cam1", "Camera-02", "c3", "C4s1", "campus", "1", "cam")] == [
        1, 2, 3, 4, None, None, None,
    ]  # fmt: skip
    assert camera_in("0001_c1s1_000151_01") == 1 and camera_in("x-cam_12.b") == 12
    assert camera_in("0001_c1_c2") is None and camera_in("abc1") is None
    assert all(map(is_date, ("2023-05-01", "20230501", "01.05.2023", "2023_05_01_12-30")))
    assert all(map(is_date, ("day_2024-03-01", "Session 20240301", "rec-2024.03.01", "date20240301")))
    assert not any(map(is_date, ("0001", "20239901", "151", "day_7", "p20240301")))
    assert all(map(is_tracklet, ("t0001", "Tracklet_3", "seq12"))) and not is_tracklet("0001")
    assert all(map(says_person, ("p001", "Person_7", "id12", "pid-3"))) and not says_person("0001")


def test_names_as_market_1501_has_them(tmp_path: Path) -> None:
    root = pictures(
        tmp_path,
        [
            f"{kind}/{pid:04d}_c{cam}s1_{frame:06d}_01.jpg"
            for kind, cam in (("RGB", 1), ("Thermal", 2))
            for pid in (7, 12)
            for frame in (151, 152)
        ]
        + ["RGB/-1_c1s1_000001_01.jpg"],
    )
    made = init_dataset(root)
    assert rows(made)["Thermal/0012_c2s1_000152_01.jpg"] == ("12", "infrared", "2")
    assert (made.pictures, made.people, dict(made.cameras)) == (8, 2, {"1": 1, "2": 2})
    assert len(made.examples) == 3 and "person 7, visible, camera 1" in made.examples[0]
    assert any("person -1" in note for note in made.notes)
    assert load_dataset("csv", made.table).pids("test") == (7, 12)
    assert check_dataset("csv", made.table).ok


def test_folders_of_people_and_cameras(tmp_path: Path) -> None:
    names = [
        f"{pid}/Cam{cam}_{kind}/{n}.png"
        for pid in ("anna", "ben")
        for cam, kind in ((1, "rgb"), (2, "nir"))
        for n in (1, 2)
    ]
    made = init_dataset(pictures(tmp_path, names), answers=Answers(camera="none"))
    assert rows(made)["ben/Cam2_nir/1.png"] == ("ben", "infrared", "")
    assert json.loads((tmp_path / "people.identities.json").read_text()) == {"anna": 1, "ben": 2}
    other = pictures(tmp_path / "b", [name.replace("_rgb", "/rgb").replace("_nir", "/nir") for name in names])
    assert rows(init_dataset(other))["ben/Cam2/nir/1.png"] == ("ben", "infrared", "2")


def test_a_number_of_a_passage_is_not_taken_for_a_person(tmp_path: Path) -> None:
    two = pictures(
        tmp_path / "two",
        [
            f"{k}/{pid:04d}/{t:04d}/{n}.jpg"
            for k in ("vis", "ir")
            for pid in (1, 2)
            for t in (1, 2, 3)
            for n in (0, 1)
        ],
    )
    told = str(asked(two))
    assert "folder 2: such as 0001, 0002" in told and "folder 3" in told and "--person" in told
    chosen = init_dataset(two, answers=Answers(person="Folder 2", camera="none"))
    assert chosen.people == 2
    # numbers that no modality shares are likely passages
    alone = pictures(
        tmp_path / "alone",
        [f"{k}/{start + t}/{n}.jpg" for k, start in (("vis", 0), ("ir", 90)) for t in (1, 2) for n in (0, 1)],
    )
    assert "--person" in str(asked(alone))
    said = pictures(
        tmp_path / "said",
        [
            f"{k}/p{pid}/tracklet_{t}/{n}.jpg"
            for k in ("vis", "ir")
            for pid in (1, 2)
            for t in (1, 2)
            for n in (0, 1)
        ],
    )
    assert rows(init_dataset(said))["ir/p2/tracklet_1/0.jpg"] == ("p2", "infrared", "")
    # the file's name and its folder name different people
    torn = pictures(
        tmp_path / "torn",
        [
            f"{k}/{f}/{pid:04d}_c{c}_{n}.jpg"
            for k, c in (("vis", 1), ("ir", 2))
            for f in (5, 6)
            for pid in (1, 2)
            for n in (0, 1)
        ],
    )
    assert "--person" in str(asked(torn))


def test_days_are_no_people_and_may_count_them_anew(tmp_path: Path) -> None:
    root = pictures(
        tmp_path,
        [
            f"{k}/{day}/{pid}/{n}.jpg"
            for k in ("rgb", "ir")
            for day in ("2023-05-01", "2023-05-02")
            for pid in (1, 2)
            for n in (0, 1)
        ],
    )
    for given in ({}, {"person": "folder 3"}):
        assert "same: one person, whatever the day" in str(asked(root, **given))
    same = init_dataset(root, answers=Answers(person="folder 3", across_days="same"))
    assert same.people == 2
    apart = init_dataset(root, answers=Answers(person="folder 3", across_days="apart"), overwrite=True)
    assert apart.people == 4 and rows(apart)["ir/2023-05-02/1/0.jpg"][0] == "id-2023-05-02/1"


def test_which_pictures_are_infrared_is_asked_and_checked(tmp_path: Path) -> None:
    root = pictures(
        tmp_path, [f"Person {p}/cam{cam}/{n}.jpg" for p in "AB" for cam in (1, 2, 3) for n in (0, 1)]
    )
    told = str(asked(root))
    assert (
        "Person A/cam1/0.jpg does not tell" in told
        and "there are cam1, cam2, cam3" in told
        and "--infrared" in told
    )
    assert "marks no picture: cam7" in str(asked(root, infrared="cam3,cam7"))
    assert "marks all pictures" in str(asked(root, infrared="1,2,3"))
    made = init_dataset(root, answers=Answers(infrared="CAM3"))
    assert made.modalities == {Modality.VISIBLE: 8, Modality.INFRARED: 4}
    assert rows(made)["Person B/cam3/1.jpg"] == ("Person B", "infrared", "3")
    night = pictures(
        tmp_path / "n", [f"Person {p}/{t}/{n}.jpg" for p in "AB" for t in ("day", "night") for n in (0, 1)]
    )
    assert init_dataset(night, answers=Answers(infrared="night")).people == 2
    only = pictures(tmp_path / "only", [f"rgb/{p}/{n}.jpg" for p in (1, 2) for n in (0, 1)])
    assert "every picture is visible" in str(asked(only))


def test_one_number_of_both_modalities_is_asked_about(tmp_path: Path) -> None:
    root = pictures(
        tmp_path,
        [f"{k}/p{p}/cam{c}/{n}.jpg" for k in ("rgb", "ir") for p in (1, 2) for c in (1, 2) for n in (0, 1)],
    )
    assert "--same-cameras" in str(asked(root))
    shared = init_dataset(root, answers=Answers(same_cameras="shared"))
    assert rows(shared)["ir/p1/cam2/0.jpg"][2] == "2"
    apart = init_dataset(root, answers=Answers(same_cameras="apart"), overwrite=True)
    assert rows(apart)["ir/p1/cam2/0.jpg"][2] == "4" and rows(apart)["rgb/p1/cam2/0.jpg"][2] == "2"


def test_cameras_may_have_names_or_be_unknown_here_and_there(tmp_path: Path) -> None:
    places = (("gate", "rgb"), ("yard", "rgb"), ("lobby", "ir"))
    root = pictures(
        tmp_path / "a", [f"p{p}/{place}/{k}/{n}.jpg" for p in (1, 2) for place, k in places for n in (0, 1)]
    )
    assert "folder 2: such as gate, lobby, yard" in str(asked(root))
    made = init_dataset(root, answers=Answers(camera="folder 2"))
    assert dict(made.cameras) == {"gate": 1, "lobby": 2, "yard": 3} and made.without_camera == 0
    some = pictures(
        tmp_path / "b",
        [
            f"{k}/p{p}/{c}_{n}.jpg"
            for k, c in (("rgb", "cam1"), ("rgb", "x"), ("ir", "cam2"))
            for p in (1, 2)
            for n in (0, 1)
        ],
    )
    made = init_dataset(some)
    assert made.without_camera == 4
    assert rows(made)["rgb/p1/x_0.jpg"][2] == "" and rows(made)["rgb/p1/cam1_0.jpg"][2] == "1"
    assert load_dataset("csv", made.table).has_cameras


def test_splits_that_names_say_are_kept(tmp_path: Path) -> None:
    root = pictures(
        tmp_path,
        [
            f"{s}/{k}/p{p}/{n}.jpg"
            for s, ps in (("bounding_box_train", (1, 2)), ("query", (3,)), ("gallery", (4,)))
            for k in ("rgb", "ir")
            for p in ps
            for n in (0, 1)
        ],
    )
    made = init_dataset(root)
    assert dict(made.splits) == {"train": 2, "test": 2}


def test_tables_with_columns_of_their_own(tmp_path: Path) -> None:
    pictures(tmp_path, [f"shots/{n}.jpg" for n in range(8)])
    lines = ["file;who;sensor;note"]
    lines += [f"shots/{n}.jpg;{('anna', 'ben')[n % 2]};{('RGB', 'Thermal')[n // 4]};n{n}" for n in range(8)]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match="who: such as anna, ben"):
        init_dataset(tmp_path / "list.csv")
    made = init_dataset(tmp_path / "list.csv", answers=Answers(person="who"))
    assert made.table == tmp_path / "list-people.csv"
    assert rows(made)["shots/5.jpg"] == ("ben", "infrared", "")
    (tmp_path / "wrong.csv").write_text("file,pid\nshots/99.jpg,1\n")
    with pytest.raises(DataError, match=r"1 of its 1 pictures are not there, first shots/99\.jpg"):
        init_dataset(tmp_path / "wrong.csv")
    (tmp_path / "out.csv").write_text("file,pid\n../x.jpg,1\n")
    with pytest.raises(DataError, match="leads out of the table's folder"):
        init_dataset(tmp_path / "out.csv")


def test_people_who_would_be_one_are_told(tmp_path: Path) -> None:
    root = pictures(
        tmp_path, [f"{k}/{p}/{n}.jpg" for k in ("rgb", "ir") for p in ("7", "0007") for n in (0, 1)]
    )
    assert "0007 and 7 would be one person" in str(asked(root))
    mixed = pictures(
        tmp_path / "m", [f"{k}/{p}/{n}.jpg" for k in ("rgb", "ir") for p in ("7", "guest") for n in (0, 1)]
    )
    made = init_dataset(mixed)
    assert {person for person, *_ in rows(made).values()} == {"id-7", "guest"}
    assert any("called id-N: 7" in note for note in made.notes)


def test_nothing_is_overwritten_and_known_datasets_need_no_table(tmp_path: Path) -> None:
    root = pictures(
        tmp_path / "p", [f"{k}/p{p}/{n}.jpg" for k in ("rgb", "ir") for p in (1, 2) for n in (0, 1)]
    )
    first = init_dataset(root)
    with pytest.raises(UsageError, match=r"people\.csv is there already"):
        init_dataset(root)
    pictures(root, ["rgb/a0/9.jpg", "ir/a0/9.jpg", "rgb/a0/8.jpg"])
    again = init_dataset(root, overwrite=True)
    assert again.people == 3 and first.people == 2
    assert again.notes == first.notes == ()  # what it wrote itself is nothing that was left out
    (root / "plan.txt").write_text("mine\n")
    assert init_dataset(root, overwrite=True).notes == (
        "left out, no pictures that are read (.txt) (1): plan.txt",
    )
    (root / "plan.txt").unlink()
    numbers = json.loads((root / "people.identities.json").read_text())
    assert numbers == {"p1": 1, "p2": 2, "a0": 3}  # nobody is renumbered
    with pytest.raises(UsageError, match=r"lies in .* or above it"):
        init_dataset(root, out=tmp_path / "elsewhere" / "t.csv")
    above = init_dataset(root, out=tmp_path / "t.csv")
    assert "p/ir/p1/0.jpg" in rows(above) and above.config == tmp_path / "t.yaml"
    (root / "notes.csv").write_text("my own notes\n")
    with pytest.raises(UsageError, match="something else than tables"):
        init_dataset(root, out=root / "notes.csv", overwrite=True)
    from ivreid.datasets import get_reader

    with pytest.raises(UsageError, match="ivreid train regdb"):
        init_dataset(get_reader("regdb").example(tmp_path / "regdb"))
    with pytest.raises(DataError, match="does not exist"):
        init_dataset(tmp_path / "nowhere")


def test_the_configuration_is_one_that_trains(tmp_path: Path) -> None:
    root = pictures(
        tmp_path / "my: people #1",
        [f"{k}/p{p}/{n}.jpg" for k in ("rgb", "ir") for p in (1, 2) for n in (0, 1)],
    )
    made = init_dataset(root)
    config = load_config(made.config)
    assert config.method["pretrained"] == "imagenet"
    small = load_config(init_dataset(root, scratch=True, overwrite=True).config)
    assert (small.method["pretrained"], small.method["backbone"]) == (None, "resnet10t")
    assert config.data.root == made.table and config.data.dataset == "csv"
    assert config.data.size == (96, 48) and config.batch.identities == 4
    assert [one.direction for one in config.evaluation] == ["infrared-to-visible", "visible-to-infrared"]


def test_questions_are_asked_where_somebody_answers(tmp_path: Path) -> None:
    root = pictures(tmp_path, [f"{a}/{b}/cam{c}.jpg" for a in (1, 2) for b in (3, 4) for c in (1, 2)])
    answers = {"infrared": "cam2", "person": "folder 2", "camera": "none"}
    put: list[Question] = []

    def ask(question: Question) -> str:
        put.append(question)
        return answers[question.option]

    assert ivreid.init_dataset(root, ask=ask).people == 2
    assert [question.option for question in put] == ["infrared", "person"]
    with pytest.raises(UsageError, match="no answer here"):
        init_dataset(
            root, ask=lambda question: "folder 9" if question.option == "person" else "cam2", overwrite=True
        )


def test_the_command_says_what_it_understood_or_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = pictures(
        tmp_path,
        [f"{k}/{pid}/{t}/{n}.jpg" for k in ("vis", "ir") for pid in (1, 2) for t in (5, 6) for n in (0, 1)],
    )

    def call(*words: object) -> int:
        with pytest.raises(SystemExit) as leave:
            main([str(word) for word in words])
        return int(leave.value.code or 0)

    assert call("init", root) == 2
    assert "answer it with --person ANSWER (folder 2, folder 3)" in capsys.readouterr().err
    assert call("init", root, "--person", "folder 2", "--camera", "none") == 0
    shown = capsys.readouterr().out
    assert "16 pictures of 2 people: 8 infrared, 8 visible; cameras unknown" in shown
    assert shown.count(": person ") == 3
    assert "training divides the people by identity" in shown and str(root / "people.yaml") in shown
    assert call("data", "check", root) == 0


def test_a_wrong_answer_in_a_terminal_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = pictures(
        tmp_path,
        [f"{k}/{pid}/{t}/{n}.jpg" for k in ("vis", "ir") for pid in (1, 2) for t in (5, 6) for n in (0, 1)],
    )
    answers = iter(["folder 9", "folder 2", "none"])
    monkeypatch.setattr("typer.prompt", lambda _: next(answers))
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    with pytest.raises(SystemExit) as leave:
        main(["init", str(root)])
    assert leave.value.code in (0, None)
    assert "--person 'folder 9' is no answer here" in capsys.readouterr().out
    assert load_dataset("csv", root / "people.csv").pids("test") == (1, 2)


def test_folders_of_days_are_nobody_and_every_part_is_an_answer(tmp_path: Path) -> None:
    names = [
        f"day_2024-03-0{day}/gate{day}_{kind} pic {person:04}-{shot:04}.png"
        for day in (1, 2)
        for kind in ("colour", "thermal")
        for person in (1, 2, 3)
        for shot in (1, 2)
    ]
    root = pictures(tmp_path / "crops", names)
    assert "Which part of a picture's path names the person?" in str(asked(root))
    refused = str(asked(root, person="name 9"))
    assert "'name 9' is no answer here" in refused and "folder 1" in refused and "name 4" in refused
    told = Answers(person="Name 4", camera="name 1", across_days="same", same_cameras="apart")
    made = init_dataset(root, answers=told)
    assert {pid for pid, _, _ in rows(made).values()} == {"1", "2", "3"}
