"""What a search says of its hits: the calibrated word with its interval, and the travel time."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pictures import draw, write_model

import ivreid
from ivreid.analysis.decisions import LIKELY_SAME, NOT_CALIBRATED, decide
from ivreid.analysis.search_calibration import fit_search
from ivreid.cli.main import main
from ivreid.datasets.features import write_features
from ivreid.errors import UsageError
from ivreid.gallery.decide import ACROSS, by_calibration
from ivreid.models import read_card
from ivreid.types import Embeddings, ImageTable

TOPOLOGY = (
    "travel:\n  - {between: [gate, yard], least: 60, most: 600}\n  - {between: [gate, roof], least: 5}\n"
)


def crowd(people: int, dimensions: int) -> Embeddings:
    rng = np.random.default_rng(0)
    pids, camids = np.repeat(np.arange(1000, 1000 + people), 4), np.tile([1, 2, 3, 4], people)
    vectors = rng.normal(size=(people, dimensions))[pids - 1000] + 0.3 * rng.normal(
        size=(len(pids), dimensions)
    )
    return Embeddings(vectors, ImageTable(pids, camids, np.ones(len(pids)), camids > 2))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with a calibration for searches."""
    folder = tmp_path_factory.mktemp("model")
    weights = write_model(folder)
    model = ivreid.load(weights, device="cpu")
    write_features(folder / "f.npz", crowd(80, model.embedding_dim))
    ivreid.calibrate(folder / "f.npz", fpir=0.1, searched=50, weights=weights)
    return weights


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path) -> Path:
    """Three crops of the gate at 22:00:00, 22:01:30 and 22:30:00, and one of the query's picture at the hall."""
    monkeypatch.chdir(tmp_path)
    with ivreid.Gallery.create("G", weights) as opened:
        for n, clock in enumerate(("22:00:00", "22:01:30", "22:30:00")):
            draw(tmp_path / f"{n}.png", n)
            opened.add(f"{n}.png", camera="gate", modality="visible", time=f"2026-03-01T{clock}+01:00")
        draw(tmp_path / "night.png", 77)
        opened.add("night.png", camera="hall", modality="visible", time="2026-03-01T22:00:00+01:00")
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    return tmp_path


def search(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict, str]:
    capsys.readouterr()
    try:
        main(["search", "G", "night.png", "--modality", "infrared", *words])
    except SystemExit as left:
        assert not left.code, capsys.readouterr().err
    shown = capsys.readouterr()
    return (json.loads(shown.out) if "--json" in words else {}), shown.out + shown.err


def test_hits_carry_the_calibrations_word_and_interval(
    gallery: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = search(capsys, "--json")
    calibration = ivreid.load(weights, device="cpu").search_calibration()
    assert found["searched"] == 4
    for hit in found["results"][0]["hits"]:
        said = decide(calibration, hit["distance"], "infrared", "visible", rows=4)
        assert (hit["decision"], hit["why"]) == (said.decision, said.why)
        assert hit["interval"] == {"low": said.low, "high": said.high, "confidence": 0.95}
        assert "searches of 4 rows" in hit["why"]
    _, text = search(capsys)
    assert f"{found['results'][0]['hits'][0]['decision']} (0." in " ".join(text.split())


def test_several_crops_of_a_query_each_have_their_chance_and_a_mean_has_no_calibration(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = search(capsys, "--json")
    best, _ = search(capsys, "night.png", "0.png", "--fuse", "best", "--json")
    for hit in best["results"][0]["hits"]:
        single = decide(_calibration(gallery), hit["distance"], "infrared", "visible", rows=4)
        assert hit["interval"]["high"] == pytest.approx(min(1, 3 * single.high))
        assert "by 3 crops" in hit["why"]
    mean, _ = search(capsys, "0.png", "--fuse", "mean", "--json")
    assert {hit["decision"] for hit in mean["results"][0]["hits"]} == {NOT_CALIBRATED}
    assert "this is the mean of 2" in mean["results"][0]["hits"][0]["why"]
    alone, _ = search(capsys, "--fuse", "mean", "--json")  # the mean of one is that one
    assert [hit["interval"] for hit in alone["results"][0]["hits"]] == [
        hit["interval"] for hit in one["results"][0]["hits"]
    ]
    with pytest.raises(UsageError, match="at least one crop"):
        decide(None, 0.1, "visible", "visible", rows=3, crops=0)


def _calibration(gallery: Path):
    with ivreid.Gallery.open("G") as opened:
        return opened.model.search_calibration()


def test_more_crops_never_make_a_decision_surer() -> None:
    calibration = fit_search(crowd(80, 12), searched=50, fpir=0.1)
    distance = calibration.tables["across", "row"].same
    assert decide(calibration, distance, "infrared", "visible", rows=50).decision == LIKELY_SAME
    highs = [
        decide(calibration, distance, "infrared", "visible", rows=50, crops=n).high for n in range(1, 40)
    ]
    assert (np.diff(highs) >= 0).all() and highs[-1] == 1

    class Model:
        def search_calibration(self):
            return calibration

    said = by_calibration(Model(), False)([distance], 50, ACROSS, 4)
    assert said[0].high == pytest.approx(highs[3])


def test_travel_times_stand_beside_each_hit_or_before_it(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (
        "--topology",
        "topology.yaml",
        "--query-camera",
        "yard",
        "--query-time",
        "2026-03-01T22:00:00+01:00",
    )
    found, text = search(capsys, *given, "--json")
    verdicts = {hit["source"]: hit["travel"]["verdict"] for hit in found["results"][0]["hits"]}
    assert verdicts == {
        "0.png": "too soon",
        "1.png": "plausible",
        "2.png": "too late",
        "night.png": "unknown",
    }
    assert any("roof" in note for note in found["notes"])  # a camera that the gallery does not have
    _, text = search(capsys, *given)
    assert "0 s from yard to gate: too soon, it takes at least 1 min" in " ".join(text.split())
    gated, text = search(capsys, *given, "--travel-gate", "--json")
    assert {hit["source"] for hit in gated["results"][0]["hits"]} == {"1.png", "night.png"}
    assert any(
        "left out 2 of 4 hits (1 too soon, 1 too late); 1 could not be judged" in one
        for one in gated["notes"]
    )
    blind, _ = search(capsys, *given[:2], "--json")  # nothing is known of the query: said, not silent
    assert {hit["travel"]["verdict"] for hit in blind["results"][0]["hits"]} == {"unknown"}
    plain, _ = search(capsys, "--json")
    assert all("travel" not in hit for hit in plain["results"][0]["hits"])


def test_a_crop_of_the_gallery_knows_where_and_when_it_was(gallery: Path) -> None:
    from ivreid.gallery.topology import parse_topology

    with ivreid.Gallery.open("G") as opened:
        crops = {crop.source: crop for part in opened.store.iterate() for crop in part[0]}
        (query,) = opened.known_queries([crops["0.png"].id])
        assert query.sighting.camera == "gate"
        assert query.sighting.time == datetime(2026, 3, 1, 21, tzinfo=UTC)
        topology = parse_topology("travel: [{from: gate, to: hall, least: 0, most: 10}]")
        answer = opened.search_vectors([query], topology=topology)
    found = {hit.crop.source: hit.travel for hit in answer.results[0].hits}
    assert found["night.png"].verdict == "plausible" and found["night.png"].seconds == 0
    assert found["1.png"].seconds == timedelta(seconds=90).total_seconds()


def test_a_gate_without_times_and_a_time_without_a_zone_are_refused(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (("--travel-gate",), "--topology FILE.yaml"),
        (("--topology", "none.yaml"), "none.yaml"),
        (
            ("--topology", "topology.yaml", "--query-camera", "yard", "--query-time", "2026-03-01T22:00"),
            "no zone",
        ),
    ):
        with pytest.raises(SystemExit) as left:
            main(["search", "G", "night.png", "--modality", "infrared", *words])
        assert left.value.code == 2 and said in capsys.readouterr().err


def test_drawn_people_mark_the_calibration_and_every_decision(
    gallery: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = shutil.copy(weights, gallery / "drawn.safetensors")
    dimensions = ivreid.load(weights, device="cpu").embedding_dim
    write_features(gallery / "f.npz", crowd(80, dimensions), synthetic=True)
    for how in (["--fpir", "0.1", "--searched", "50"], ["--fpr", "0.1"]):
        with pytest.raises(SystemExit) as left:
            main(["calibrate", "f.npz", "--weights", drawn, *how])
        assert left.value.code == 0
        assert "SYNTHETIC people, drawn by ivreid" in capsys.readouterr().out
    blocks = read_card(drawn)["calibrations"]
    assert blocks["search"]["synthetic"] is blocks["default"]["synthetic"] is True
    found, shown = search(capsys, "--json", "--model", drawn)
    assert "80 SYNTHETIC people" in found["results"][0]["hits"][0]["why"]
    assert [note for note in found["notes"] if "SYNTHETIC" in note] and "decisions rest on SYNTHETIC" in shown
    assert "synthetic" not in read_card(weights)["calibrations"]["search"]
    assert "SYNTHETIC" not in search(capsys)[1]
