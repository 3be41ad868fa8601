"""Results files: round trips, and what is refused."""

import json

import numpy as np
import pytest
from slow_evaluation import people

from ivreid.errors import DataError
from ivreid.protocols import FIGURES, evaluate, make_protocol, read_results, write_results


@pytest.fixture
def result():
    embeddings = people(np.random.default_rng(0), range(1, 7), (3, 6))
    return evaluate(
        embeddings,
        make_protocol("sysu-mm01"),
        fingerprints={"dataset": "abc"},
        tta="flip",
        notes=["leak allowed"],
    )


def test_round_trip_of_one_and_of_several(result, tmp_path):
    write_results(tmp_path / "one.json", result)
    assert isinstance(json.loads((tmp_path / "one.json").read_text()), dict)
    assert read_results(tmp_path / "one.json") == [result]
    write_results(tmp_path / "many.json", [result, result])
    assert read_results(tmp_path / "many.json") == [result, result]


def test_the_file_holds_the_promised_keys_in_fractions(result, tmp_path):
    write_results(tmp_path / "one.json", result)
    value = json.loads((tmp_path / "one.json").read_text())
    assert {
        "protocol",
        "options",
        "queries",
        "valid_queries",
        "gallery",
        "trials",
        "mean",
        "std",
    } <= value.keys()
    assert value["fingerprints"].keys() == {"dataset", "split"}
    assert value["notes"][-1] == "leak allowed"
    assert set(value["trials"][0]) == {*FIGURES, "cmc"}
    rank1 = [trial["rank1"] for trial in value["trials"]]
    assert value["mean"]["rank1"] == pytest.approx(sum(rank1) / 10)
    assert value["std"]["rank1"] == pytest.approx(np.std(rank1))
    assert max(rank1) <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no results"),
        ("[1, 2]", "result 1 is not an ivreid result"),
        ("{", "not valid JSON"),
        ('{"protocol": "regdb"}', "it lacks gallery, options"),
    ],
)
def test_other_files_are_refused(text, message, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_results(path)
