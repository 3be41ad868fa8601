"""`ivreid gallery` and `ivreid search`, as people use them."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import draw, write_model
from PIL import Image

import ivreid
from ivreid.cli.main import main
from ivreid.errors import CheckpointError, DataError, ImageError, UsageError
from ivreid.gallery import Where
from ivreid.gallery.vectors import distances, stored

TIME = "2026-03-01T22:00+01:00"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path) -> Path:
    """A folder with a gallery G, six visible pictures of two tracklets and an infrared one."""
    monkeypatch.chdir(tmp_path)
    for n in range(6):
        draw(tmp_path / "day" / f"gate_20260301-22000{n}_t{n // 3}.png", n)
    draw(tmp_path / "night.png", 77)
    main_ok("gallery", "create", "G", "--model", str(weights))
    return tmp_path


def main_ok(*words: str) -> None:
    try:
        main(words)
    except SystemExit as left:
        assert not left.code, words


def failed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code in (1, 2)
    return capsys.readouterr().err


PATTERN = ("--pattern", "{camera}_{time:%Y%m%d-%H%M%S}_{tracklet}.png", "--zone", "Europe/Berlin")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    main_ok("search", "G", *words, "--json")
    return json.loads(capsys.readouterr().out)


def test_add_is_idempotent_and_search_is_what_the_model_says(
    here: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for expected in ("6 new crops", "0 new crops, 6 there already"):
        main_ok("gallery", "add", "G", "day", "--modality", "visible", *PATTERN)
        assert expected in capsys.readouterr().out
    found = answer(
        capsys, "night.png", "--modality", "infrared", "--by", "crop", "--k", "4", "--purpose", "a test"
    )
    assert found.keys() == {"searched", "results"} and found["searched"] == 6
    (result,) = found["results"]
    assert result.keys() == {"query", "hits"} and result["query"] == "night.png"
    keys = {"id", "distance", "camera", "time", "modality", "source", "decision", "interval", "why"}
    assert all(hit.keys() == keys for hit in result["hits"])
    model = ivreid.load(weights, device="cpu")
    files = sorted(here.glob("day/*.png"))
    query = stored(model.embed("night.png", "infrared"))[0]
    gaps = distances(query, stored(model.embed(files, "visible")))
    nearest = np.argsort(gaps)[:4]
    assert [hit["source"] for hit in result["hits"]] == [f"day/{files[i].name}" for i in nearest]
    # another batch may move the last bits of a vector, and so a rounding step of float16
    assert np.allclose([hit["distance"] for hit in result["hits"]], gaps[nearest], atol=2e-5)
    first = result["hits"][0]
    assert (
        first["camera"] == "gate" and first["modality"] == "visible" and first["decision"] == "not calibrated"
    )
    assert first["time"].startswith("2026-03-01T22:00:0") and first["time"].endswith("+01:00")
    main_ok("gallery", "show", "G", "--audit")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["action"] for row in rows] == ["add", "add", "search"]
    assert rows[-1]["purpose"] == "a test" and rows[-1]["searched"] == 6


def test_tracklets_filters_fusion_and_known_crops(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_ok("gallery", "add", "G", "day", "--modality", "visible", *PATTERN)
    main_ok("gallery", "add", "G", "night.png", "--modality", "infrared", "--time", TIME, "--camera", "yard")
    crops = answer(
        capsys, "night.png", "--modality", "infrared", "--gallery-modality", "visible", "--by", "crop"
    )
    assert crops["searched"] == 6
    tracks = answer(capsys, "night.png", "--modality", "infrared", "--gallery-modality", "visible")
    hits = tracks["results"][0]["hits"]
    assert len(hits) == 2 and hits[0] == crops["results"][0]["hits"][0]
    assert {hit["source"].rpartition("_")[2] for hit in hits} == {"t0.png", "t1.png"}
    window = ("--from", "2026-03-01T22:00:01", "--to", "2026-03-01T22:00:03", "--zone", "Europe/Berlin")
    assert answer(capsys, "night.png", "--modality", "infrared", *window)["searched"] == 2
    # the infrared crop itself, by its id: not its own answer, and its camera may be left out
    with ivreid.Gallery.open("G") as gallery:
        (night,) = next(gallery.store.iterate(Where(cameras=frozenset(["yard"]))))[0]
    own = answer(capsys, night.id)
    assert own["searched"] == 7 and night.id not in {hit["id"] for hit in own["results"][0]["hits"]}
    assert answer(capsys, night.id, "--exclude-same-camera")["searched"] == 6
    one, two = (
        answer(capsys, f, "--modality", "visible", "--by", "crop")
        for f in ("day/gate_20260301-220000_t0.png", "night.png")
    )
    both = ("day/gate_20260301-220000_t0.png", "night.png", "--modality", "visible", "--by", "crop", "--fuse")
    best = answer(capsys, *both, "best")["results"]
    assert len(best) == 1
    by_id = [{hit["id"]: hit["distance"] for hit in part["results"][0]["hits"]} for part in (one, two)]
    for hit in best[0]["hits"]:
        assert hit["distance"] == pytest.approx(min(part[hit["id"]] for part in by_id), abs=2e-5)
    assert len(answer(capsys, *both, "mean")["results"][0]["hits"]) == 7


def test_other_outputs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_ok("gallery", "add", "G", "day", "--modality", "visible", "--time", TIME, "--camera", "=gate")
    capsys.readouterr()
    main_ok("search", "G", "night.png", "--modality", "infrared", "--csv", "--k", "2")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["1", "2"] and rows[0]["camera"] == "'=gate"
    main_ok("search", "G", "night.png", "--modality", "infrared", "--html", "out.html", "--k", "2")
    page = Path("out.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3 and "<script" not in page and "not calibrated" in page
    capsys.readouterr()
    main_ok("gallery", "info", "G", "--json")
    info = json.loads(capsys.readouterr().out)
    assert info["crops"] == 6 and info["cameras"] == {"=gate": 6} and len(info["weights_fingerprint"]) == 16
    main_ok("gallery", "show", "G", "--json", "--limit", "1")
    assert json.loads(capsys.readouterr().out)[0]["pid"] is None


def test_an_empty_answer_names_the_filter_that_emptied_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = ("night.png", "--modality", "infrared")
    assert "the gallery G is empty" in answer(capsys, *query)["notes"][0]
    main_ok("gallery", "add", "G", "day", "--modality", "visible", *PATTERN)
    found = answer(capsys, *query, "--camera", "gate", "--gallery-modality", "infrared")
    assert found["results"][0]["hits"] == []
    assert found["notes"] == [
        "nothing was searched: of 6 crops that passed so far, none is left by: modality infrared"
    ]
    found = answer(capsys, *query, "--camera", "gate", "--from", "2027-01-01Z")
    assert found["notes"][0].endswith("none is left by: from 2027-01-01T00:00:00+00:00")


def test_wrong_input_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    add = ("gallery", "add", "G", "day", "--modality", "visible", "--camera", "gate")
    assert "has no zone" in failed(capsys, *add, "--time", "2026-03-01T22:00")
    assert "nothing says its time" in failed(capsys, *add)
    assert "nothing says its camera" in failed(
        capsys, "gallery", "add", "G", "day", "--modality", "visible", "--time", TIME
    )
    assert "no zone 'Europe/Berlyn'" in failed(capsys, *add, "--time", TIME, "--zone", "Europe/Berlyn")
    assert "unknown field 'cam'" in failed(capsys, *add, "--pattern", "{cam}_{time}.png")
    assert "does not fit the pattern" in failed(capsys, *add, "--pattern", "{time}.jpg")
    main_ok(*add, "--time", TIME)
    search = ("search", "G", "night.png")
    assert "did you mean gate" in failed(capsys, *search, "--modality", "infrared", "--camera", "gte")
    assert "say what kind of camera" in failed(capsys, *search)
    assert "needs the pictures' camera" in failed(
        capsys, *search, "--modality", "infrared", "--exclude-same-camera"
    )
    assert "holds nothing" in failed(
        capsys, *search, "--modality", "infrared", "--from", "2026-03-02Z", "--to", "2026-03-01Z"
    )
    assert "is there already" in failed(capsys, "gallery", "create", "G", "--model", "G/weights.safetensors")
    assert "it is no gallery" in failed(capsys, "gallery", "info", "day")
    assert "no kind of gallery mysql://" in failed(capsys, "gallery", "info", "mysql://host/x")
    assert "say what to delete" in failed(capsys, "gallery", "delete", "G")
    assert "nothing says what to erase" in failed(capsys, "gallery", "erase", "G")


def test_another_model_is_refused_and_both_are_named(here: Path) -> None:
    other = write_model(here / "other", other=1)
    with pytest.raises(CheckpointError) as told:
        ivreid.Gallery.open("G", model=other)
    with ivreid.Gallery.open("G") as gallery:
        bound = gallery.store.binding.fingerprint
    assert bound in str(told.value) and ivreid.load(other).fingerprint in str(told.value)
    ivreid.Gallery.create("H", other).close()
    with pytest.raises(CheckpointError, match="they cannot be compared"):
        from ivreid.gallery.move import copy
        from ivreid.gallery.opening import open_store

        copy(open_store("G"), "H")
    # the copy in the folder replaced by hand
    Path("G/weights.safetensors").write_bytes(other.read_bytes())
    with ivreid.Gallery.open("G") as gallery, pytest.raises(CheckpointError, match="cannot be compared"):
        gallery.search("night.png", "infrared")


def test_unreadable_pictures_are_named_and_the_others_added(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "day" / "a_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    add = ("gallery", "add", "G", "day", "--modality", "visible", "--camera", "gate", "--time", TIME)
    assert "a_broken.png" in failed(capsys, *add)
    main_ok(*add, "--skip-bad")
    said = capsys.readouterr()
    assert "0 new crops, 6 there already, 1 skipped" in said.out and "a_broken.png" in said.err
    with ivreid.Gallery.open("G") as gallery:
        skipped = [row for row in gallery.store.audit() if row.action == "skip"]
    assert len(skipped) == 1 and "a_broken.png" in skipped[0].detail["reason"]


def test_tables_exif_and_times_of_files(here: Path) -> None:
    rows = [
        "path,camera,time,modality,pid,quality",
        f"day/gate_20260301-220000_t0.png,north,{TIME},RGB,7,0.5",
    ]
    (here / "list.csv").write_text("\n".join(rows))
    with ivreid.Gallery.open("G") as gallery:
        (name,) = gallery.add("list.csv").added
        crop = gallery.store.get([name])[name]
        assert (crop.camera, crop.pid, crop.quality, crop.modality) == ("north", 7, 0.5, "visible")
        # as `ivreid crop` lists what it has cut out
        draw(here / "cut" / "crops" / "00000001-001.png", 600)
        columns = "path,camera,time,modality,tracklet,quality,source"
        row = "crops/00000001-001.png,gate,2026-03-01T22:00:00.040000+00:00,infrared,12,0.7,film.mp4#1"
        (here / "cut" / "manifest.csv").write_text(f"{columns}\n{row}\n")
        (name,) = gallery.add("cut").added
        crop = gallery.store.get([name])[name]
        assert (crop.tracklet, crop.source, crop.quality) == ("12", "film.mp4#1", 0.7)
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = "2026:05:06 07:08:09"
        draw(here / "e.jpg", 500, exif=exif)
        with pytest.raises(ImageError, match="its EXIF says no zone"):
            gallery.add("e.jpg", camera="a", modality="visible", time="exif")
        exif.get_ifd(0x8769)[0x9011] = "+02:00"
        draw(here / "f.jpg", 501, exif=exif)
        (name,) = gallery.add("f.jpg", camera="a", modality="visible", time="exif").added
        assert gallery.store.get([name])[name].time.isoformat() == "2026-05-06T07:08:09+02:00"
        with pytest.raises(ImageError, match=r"night.png: its EXIF says no time"):
            gallery.add("night.png", camera="a", modality="infrared", time="exif")
        os.utime("night.png", (1_700_000_000, 1_700_000_000))
        (name,) = gallery.add("night.png", camera="a", modality="infrared", time="modified").added
        assert gallery.store.get([name])[name].time.timestamp() == 1_700_000_000
        (here / "bad.csv").write_text("path,kamera\nx.png,y")
        with pytest.raises(DataError, match="did you mean camera"):
            gallery.add("bad.csv")


def test_what_arrives_in_a_folder_is_taken_in_once_it_no_longer_grows(here: Path) -> None:
    from ivreid.gallery.intake import Told
    from ivreid.gallery.watch import watch
    from ivreid.types import Modality

    said: list[str] = []
    Path("in").mkdir()
    steps = iter(range(8))

    def step(_: float) -> None:
        match next(steps):
            case 0:
                draw(here / "in" / "a.png", 1)
            case 1:
                Path("in/b.png").write_bytes(
                    draw(here / "b.png", 2).read_bytes()[:100]
                )  # still being written
            case 2:
                Path("in/b.png").write_bytes(Path("b.png").read_bytes())
            case 4:
                Path("in/c.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")

    told = Told(camera="gate", modality=Modality.VISIBLE, time="modified")
    with ivreid.Gallery.open("G") as gallery:
        asked = iter(range(8))
        taken = watch(
            gallery, Path("in"), told, notice=said.append, stop=lambda: next(asked) == 7, pause=step
        )
        assert gallery.count() == 2
    assert len(taken.added) == 2 and len(taken.bad) == 1
    assert sum("c.png" in line for line in said) == 1 and not any("b.png" in line for line in said)


def test_copy_takes_the_refusals_along_and_export_holds_everything(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main_ok("gallery", "add", "G", "day", "--modality", "visible", *PATTERN)
    main_ok("gallery", "erase", "G", "--tracklet", "t1", "--json")
    main_ok("gallery", "copy", "G", "H")
    main_ok("gallery", "copy", "G", "H")
    assert "0 new crops -> H" in capsys.readouterr().out
    main_ok("gallery", "add", "H", "day", "--modality", "visible", *PATTERN)
    assert "0 new crops, 3 there already, 3 refused, for they were erased" in capsys.readouterr().out
    parquet = pytest.importorskip("pyarrow.parquet")
    main_ok("gallery", "export", "H", "--out", "x.parquet", "--pictures")
    table = parquet.read_table("x.parquet")
    assert table.num_rows == 3 and set(table["camera"].to_pylist()) == {"gate"}
    with ivreid.Gallery.open("H") as gallery:
        crops, rows, pictures = next(gallery.store.iterate())
    assert np.array_equal(np.array(table["vector"].to_pylist(), np.float16), rows)
    assert table["picture"].to_pylist() == list(pictures) and table["id"].to_pylist() == [c.id for c in crops]
    assert table["time"].to_pylist() == [c.time for c in crops]
    Path("night.png").rename("night.parquet")
    assert "would be overwritten" in failed(capsys, "gallery", "export", "H", "--out", "night.parquet")


def test_expire_by_age(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_ok(
        "gallery", "add", "G", "day", "--modality", "visible", "--camera", "gate", "--time", "2020-01-01Z"
    )
    main_ok(
        "gallery", "add", "G", "night.png", "--modality", "infrared", "--camera", "gate", "--time", "modified"
    )
    capsys.readouterr()
    main_ok("gallery", "expire", "G", "--older-than", "30d", "--json")
    assert json.loads(capsys.readouterr().out)["crops"] == 6
    main_ok("gallery", "verify", "G")
    assert "1 crop, 0 problems" in capsys.readouterr().out
    assert "is no time" in failed(capsys, "gallery", "expire", "G", "--older-than", "soon")


def test_fusing_what_is_not_one_camera_is_refused() -> None:
    from ivreid.gallery.searching import Query, search

    one = Query("a", np.ones((1, 8), np.float32), ivreid.Modality.VISIBLE, "x")
    two = Query("b", np.ones((1, 8), np.float32), ivreid.Modality.INFRARED, "x")
    with pytest.raises(UsageError, match="one modality and camera; these are of infrared, visible"):
        search(None, [one, two], Where(), 1, by_tracklet=False, fuse="mean", decide=None)  # type: ignore[arg-type]


def test_the_modality_of_queries_is_what_their_folders_say_as_when_they_are_added(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main_ok("gallery", "add", "G", "day", "--modality", "visible", *PATTERN)
    for folder, seed in (("infrared", 77), ("visible", 3)):
        draw(here / "cctv" / folder / "0001.png", seed)
    asked = ("cctv/infrared/0001.png", "--by", "crop")
    said = answer(capsys, *asked, "--modality", "infrared")["results"][0]["hits"]
    for words in (asked, ("cctv/infrared", "--by", "crop")):
        assert answer(capsys, *words)["results"][0]["hits"] == said
    error = failed(capsys, "search", "G", "cctv")
    assert "one modality at a time" in " ".join(error.split())
    error = failed(capsys, "search", "G", "cctv/infrared", "night.png")
    assert "no folder says it of night.png" in " ".join(error.split())
