"""SYSU-MM01 against what the dataset authors' own program computes, and the counts that are prescribed."""

import json

import pytest

from ivreid.datasets.features import read_features
from ivreid.protocols import Permutations, evaluate, make_protocol, run_trials


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "sysu-mm01-official"


@pytest.fixture(scope="module")
def embeddings(folder):
    return read_features(folder / "features.npz", protocol="sysu-mm01")


@pytest.fixture(scope="module")
def permutations(folder):
    return Permutations.read(folder / "rand_perm_cam.mat")


def test_equals_the_official_program_to_nine_digits(folder, embeddings, permutations):
    expected = json.loads((folder / "expected.json").read_text())
    result = evaluate(embeddings, make_protocol("sysu-mm01", permutations=permutations), metric="euclidean")
    assert (result.queries, result.gallery, len(result.trials)) == (
        expected["queries"],
        expected["gallery"],
        10,
    )
    for trial, want in zip(result.trials, expected["trials"], strict=True):
        assert {name: getattr(trial, name) for name in want} == pytest.approx(want, abs=1e-9, rel=0)


@pytest.mark.parametrize(
    ("mode", "shots", "gallery", "valid"),
    [("all", 1, 301, 3803), ("all", 10, 3010, 3803), ("indoor", 1, 112, 2208), ("indoor", 10, 1120, 2208)],
)
def test_counts(embeddings, permutations, mode, shots, gallery, valid):
    protocol = make_protocol("sysu-mm01", mode=mode, shots=shots, permutations=permutations)
    for trial in protocol.trials(embeddings.images):
        assert (len(trial.query), len(trial.gallery)) == (3803, gallery)
    if shots == 1:
        for one in run_trials(embeddings, protocol):
            assert one.outcomes.valid.sum() == valid


@pytest.mark.parametrize("draw", ["agw", "iv-reid"])
def test_drawn_galleries_have_the_official_size(embeddings, draw):
    trials = make_protocol("sysu-mm01", draw=draw).trials(embeddings.images)
    assert [len(trial.gallery) for trial in trials] == [301] * 10
    assert len({trial.gallery.tobytes() for trial in trials}) == 10


def test_single_precision_agrees_to_a_few_queries(embeddings):
    protocol = make_protocol("sysu-mm01")
    double, single = (evaluate(embeddings, protocol, precision=p).mean for p in ("double", "single"))
    assert single == pytest.approx(double, abs=1e-5)
