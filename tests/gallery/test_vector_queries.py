"""Searches by embeddings that are there already: those of other weights are refused, and nobody's, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import draw, write_model

import ivreid
from ivreid.cli.main import main
from ivreid.datasets.features import read_features, read_marks, write_features
from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.gallery.vector_queries import feature_queries


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of six visible crops, and two night pictures embedded by its weights."""
    root = tmp_path_factory.mktemp("place")
    weights = write_model(root / "model")
    for number in range(6):
        draw(root / "day" / f"{number}.png", number)
    for number in (3, 77):
        draw(root / "night" / f"{number}.png", number)
    with ivreid.Gallery.create(root / "G", weights, device="cpu") as gallery:
        gallery.add(root / "day", camera="gate", modality="visible", time="2026-03-01T22:00+01:00")
    call("embed", str(weights), str(root / "night"), "--modality", "infrared", "--out", str(root / "f.npz"))
    return root


def call(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code in (1, 2)
    return " ".join(capsys.readouterr().err.split())


def search(place: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    capsys.readouterr()
    call("search", str(place / "G"), *words, "--json")
    return json.loads(capsys.readouterr().out)["results"]


def test_embeddings_find_what_their_pictures_find(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = search(place, capsys, "--features", str(place / "f.npz"))
    pictures = search(place, capsys, str(place / "night"), "--modality", "infrared")
    assert [one["query"] for one in given] == ["f.npz row 0, 3.png", "f.npz row 1, 77.png"]
    for ours, theirs in zip(given, pictures, strict=True):
        assert [hit["source"] for hit in ours["hits"]] == [hit["source"] for hit in theirs["hits"]]
        # float16 keeps 11 bits of each number, and a batch of another size moves the last bit before
        gaps = [a["distance"] - b["distance"] for a, b in zip(ours["hits"], theirs["hits"], strict=True)]
        assert max(map(abs, gaps)) < 2**-10
    assert Path(given[0]["hits"][0]["source"]).name == "3.png"


def test_embeddings_in_half_precision_find_the_same(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = str(next((place / "model").rglob("*.safetensors"))), tmp_path / "f.npz"
    call(
        *("embed", weights, str(place / "night"), "--modality", "infrared", "--out", str(out)),
        *("--device", "cpu", "--half"),
    )
    with np.load(out, allow_pickle=False) as file:
        assert file["embeddings"].dtype == np.float16
    vectors = read_features(place / "f.npz").vectors
    assert np.abs(read_features(out).vectors - vectors).max() <= 2**-11 + 1e-6
    given = search(place, capsys, "--features", str(out))
    whole = search(place, capsys, "--features", str(place / "f.npz"))
    for ours, theirs in zip(given, whole, strict=True):
        assert ours["query"] == theirs["query"]
        distances = [{hit["source"]: hit["distance"] for hit in one["hits"]} for one in (ours, theirs)]
        assert distances[0].keys() == distances[1].keys()
        # the eleventh bit of each number moves a vector of length 1 by 2^-11 at most
        assert all(abs(distances[0][key] - distances[1][key]) < 2**-10 for key in distances[0])


def test_rows_are_chosen_and_wrong_ones_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = str(place / "f.npz")
    (one,) = search(place, capsys, "--features", features, "--rows", "1")
    assert one["query"].startswith("f.npz row 1")
    assert len(search(place, capsys, "--features", features, "--rows", "1,0-1")) == 2
    (both,) = search(place, capsys, "--features", features, "--fuse", "best")
    assert both["query"].count("row") == 2
    gallery = str(place / "G")
    for rows, said in (("2", "has the rows 0 to 1"), ("1-0", "has the rows"), ("x", "write 0,3,7-9")):
        assert said in refused(capsys, "search", gallery, "--features", features, "--rows", rows)
    assert "none of the 2 rows" in refused(
        capsys, "search", gallery, "--features", features, "--modality", "visible"
    )
    assert "--features F.npz" in refused(capsys, "search", gallery)
    assert "--features F.npz" in refused(capsys, "search", gallery, "x.png", "--rows", "1")
    assert "--query-camera" in refused(
        capsys, "search", gallery, "--features", features, "--exclude-same-camera"
    )


def test_embeddings_of_other_weights_or_of_nobody_knows_which_are_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embeddings, marks = read_features(place / "f.npz"), read_marks(place / "f.npz")
    with ivreid.Gallery.open(place / "G", device="cpu") as gallery:
        binding = gallery.store.binding
    assert marks.weights == binding.fingerprint
    write_features(tmp_path / "nobody.npz", embeddings)
    write_features(tmp_path / "other.npz", embeddings, weights="0123456789abcdef")
    with pytest.raises(CheckpointError, match=r"do not say which weights .* embed the pictures"):
        feature_queries(tmp_path / "nobody.npz", binding)
    said = refused(capsys, "search", str(place / "G"), "--features", str(tmp_path / "other.npz"))
    assert "0123456789abcdef" in said and binding.fingerprint in said


def test_shards_say_which_weights_made_them_too(place: Path, tmp_path: Path) -> None:
    model, out = str(place / "model" / "weights.safetensors"), tmp_path / "s.npz"
    call("embed", model, str(place / "night"), "--modality", "infrared", "--out", str(out), "--shards", "2")
    for file in (out, *(tmp_path / "s.npz.shards").glob("*.npz")):
        assert read_marks(file).weights == read_marks(place / "f.npz").weights


def test_a_vector_in_python(place: Path) -> None:
    vectors = read_features(place / "f.npz").vectors
    with ivreid.Gallery.open(place / "G", device="cpu") as gallery:
        one = gallery.search(vector=vectors[0], modality="infrared", k=1)
        assert Path(one.results[0].hits[0].crop.source).name == "3.png" and one.results[0].query == "0"
        two = gallery.search(vector=vectors, modality="infrared", names=["a", "b"], k=2)
        assert [result.query for result in two.results] == ["a", "b"]
        with pytest.raises(DataError, match=rf"shape \(3,\); the gallery holds {vectors.shape[1]} numbers"):
            gallery.search(vector=[1, 2, 3], modality="visible")
        for bad in (np.zeros(vectors.shape[1]), vectors[0] * np.nan):
            with pytest.raises(DataError, match="zero, infinite or not a number"):
                gallery.search(vector=bad, modality="visible")
        with pytest.raises(DataError, match="no matrix of numbers"):
            gallery.search(vector=["x"], modality="visible")
        with pytest.raises(UsageError, match="what kind of camera"):
            gallery.search(vector=vectors[0])
        for words in ({}, {"queries": place / "night" / "3.png", "vector": vectors[0]}):
            with pytest.raises(UsageError, match="either pictures"):
                gallery.search(modality="infrared", **words)
