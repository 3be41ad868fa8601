"""Results files: round trips, and what is refused."""

import json

import numpy as np
import pytest
from slow_evaluation import people

from ivreid.errors import DataError
from ivreid.protocols import FIGURES, Result, evaluate, make_protocol, read_results, write_results


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


WRONG = [
    ({"title": 3}, "title is 3, it must be text"),
    ({"version": "1"}, "version is '1', it must be a count"),
    ({"queries": -1}, "queries is -1, it must be a count"),
    ({"queries": 2**60}, "queries is 1152921504606846976, it must be a count"),
    ({"gallery": True}, "gallery is True, it must be a count"),
    ({"gallery": 1.5}, "gallery is 1.5"),
    ({"options": [1]}, r"options is \[1\], it must be an object of plain values"),
    ({"options": {"mode": {}}}, "options is {'mode': {}}"),
    ({"trials": []}, r"trials is \[\], it must be a list of one object a trial"),
    ({"trials": {}}, "trials is {}"),
    ({"trials": [3]}, r"trials is \[3\]"),
    ({"fingerprints": {"model": 3}}, "an object of texts"),
    ({"rerank": 3}, "rerank is 3, it must be text"),
    ({"tta": ["flip"]}, "tta is"),
    ({"notes": "one"}, "a list of texts"),
    ({"notes": [1]}, "a list of texts"),
]
WRONG_TRIALS = [
    ({"rank1": "nan"}, "rank1 of trial 2 is 'nan', it must be a fraction from 0 to 1"),
    ({"mAP": None}, "mAP of trial 2 is None"),
    ({"mINP": True}, "mINP of trial 2 is True"),
    ({"rank5": 46.3}, "rank5 of trial 2 is 46.3"),
    ({"rank20": -0.1}, "rank20 of trial 2 is -0.1"),
    ({"cmc": []}, "cmc of trial 2 is"),
    ({"cmc": "x" * 1000}, "cmc of trial 2 is 'xxx"),
    ({"cmc": [0.5, "1"]}, "cmc of trial 2 is '1'"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_kinds_are_one_sentence(result, changes, message):
    value = json.loads(json.dumps({**result.to_json(), **changes}))
    with pytest.raises(DataError, match=message) as caught:
        Result.from_json(value, "r.json")
    assert str(caught.value).startswith("r.json is not an ivreid result: ")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("changes", "message"), WRONG_TRIALS)
def test_wrong_figures_are_one_sentence(result, changes, message):
    value = json.loads(json.dumps(result.to_json()))
    value["trials"][1].update(changes)
    with pytest.raises(DataError, match=message) as caught:
        Result.from_json(value)
    assert len(str(caught.value)) < 200


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
