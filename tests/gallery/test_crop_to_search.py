"""From frames and a tracker's boxes to the person in a search, by the commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import write_model
from PIL import Image

import ivreid
from ivreid.cli.main import main
from ivreid.errors import DataError
from ivreid.gallery.sightings import sightings

TOPOLOGY = "travel: [{from: gate, to: yard, least: 24, most: 26}]"


def person(kind: str, rng: np.random.Generator) -> np.ndarray:
    """40 x 20 pixels: A is bright above and dark below, B is striped; the colours fade by night."""
    rows, columns = np.mgrid[:40, :20]
    bright = (rows < 20) if kind == "A" else (columns // 5) % 2 == 0
    pixels = np.where(bright[:, :, None], (250, 180, 200), (10, 70, 40))
    return np.clip(pixels + rng.integers(-10, 11, pixels.shape), 0, 255)


def film(folder: Path, order: str, *, infrared: bool) -> None:
    """Six frames with two people side by side, and the boxes of a tracker that counts from 1."""
    rng, lines = np.random.default_rng(int(infrared)), []
    (folder / "frames").mkdir(parents=True)
    for frame in range(1, 7):
        pixels = rng.integers(90, 140, (80, 100, 3))
        for track, (kind, left) in enumerate(zip(order, (10, 60), strict=True), start=1):
            pixels[20:60, left : left + 20] = person(kind, rng)
            lines.append(f"{frame},{track},{left},20,20,40,0.9,-1,-1,-1\n")
        if infrared:
            pixels = np.repeat(pixels.mean(2, keepdims=True), 3, axis=2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "frames" / f"{frame:06d}.png")
    (folder / "boxes.txt").write_text("".join(lines))


def call(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras filmed, cropped and in a gallery: the gate by day from 22:00:00 to :05, the yard by night from :30."""
    root = tmp_path_factory.mktemp("place")
    weights = write_model(root / "model")
    call("gallery", "create", str(root / "G"), "--model", str(weights))
    for camera, order, start, modality in (
        ("gate", "AB", "2026-03-01T22:00:00+01:00", "visible"),
        ("yard", "BA", "2026-03-01T22:00:30+01:00", "infrared"),
    ):
        film(root / camera, order, infrared=modality == "infrared")
        given = ("--fps", "1", "--camera", camera, "--start", start, "--modality", modality)
        files = (str(root / camera / "frames"), str(root / camera / "boxes.txt"))
        call("crop", *files, *given, "--out", str(root / camera / "crops"))
        call("gallery", "add", str(root / "G"), str(root / camera / "crops"))
    (root / "topology.yaml").write_text(TOPOLOGY)
    return root


def crops(place: Path, camera: str, track: str) -> list[ivreid.gallery.Crop]:
    with ivreid.Gallery.open(place / "G") as opened:
        found = [crop for part, _, _ in opened.store.iterate() for crop in part if crop.camera == camera]
    return sorted(
        (crop for crop in found if (crop.tracklet or "").endswith(f"/{track}")), key=lambda crop: crop.time
    )


def search(place: Path, capsys: pytest.CaptureFixture[str], query: str, *words: str) -> dict:
    capsys.readouterr()
    call("search", str(place / "G"), query, "--topology", str(place / "topology.yaml"), *words, "--json")
    return json.loads(capsys.readouterr().out)


def test_a_night_crop_finds_its_person_by_day_and_the_way_between_their_tracklets(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = crops(place, "yard", "2")  # the second box of the yard is A
    assert len(night) == 6 and {crop.modality.value for crop in night} == {"infrared"}
    for query in (night[0], night[-1]):
        found = search(place, capsys, query.id, "--gallery-modality", "visible")
        first, second = found["results"][0]["hits"]  # a hit a tracklet
        assert found["searched"] == 12
        assert "xywh=10,20,20,40" in first["source"] and "xywh=60,20,20,40" in second["source"]
        # from the gate's last crop to the yard's first, whichever crops are most alike
        assert first["travel"]["seconds"] == second["travel"]["seconds"] == 25
        assert first["travel"]["verdict"] == "plausible"


def test_whichever_came_first_the_way_is_from_its_end_to_the_others_start(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = crops(place, "gate", "1")[2]
    found = search(place, capsys, day.id, "--gallery-modality", "infrared", "--by", "crop", "--k", "12")
    hits = found["results"][0]["hits"]
    assert len(hits) == 12 and {hit["travel"]["seconds"] for hit in hits} == {25}
    best = [hit["source"].rpartition("=")[2] for hit in hits[:6]]
    assert best == ["60,20,20,40"] * 6  # A's


def test_times_filter_crops_and_a_tracklet_is_found_by_those_within(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, late = crops(place, "yard", "2")[0], "2026-03-01T22:00:04+01:00"
    found = search(place, capsys, query.id, "--gallery-modality", "visible", "--from", late)
    assert found["searched"] == 4
    assert all(hit["time"] >= late and hit["travel"]["seconds"] == 25 for hit in found["results"][0]["hits"])


def test_what_cannot_be_read_of_a_tracklet_is_said(place: Path) -> None:
    crop = crops(place, "gate", "1")[3]

    class Broken:
        def iterate(self, where: object) -> object:
            raise DataError("shard 2 does not answer")

    found, note = sightings(Broken(), [crop])  # type: ignore[arg-type]
    assert found[crop.id].time == crop.time and found[crop.id].until is None
    assert note == "travel times may miss the start or end of a tracklet: shard 2 does not answer"
