"""Merging the results of a study's runs, by hand-worked cases."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivreid.analysis.merge import format_numbers, merge_results, parse_numbers
from ivreid.errors import ProtocolError, UsageError
from ivreid.protocols import FIGURES, Result, TrialResult


def trial_result(value: float) -> TrialResult:
    """Figures that grow with `value`, in steps that tell them apart."""
    figures = {name: value + 0.01 * place for place, name in enumerate(FIGURES)}
    return TrialResult(**figures, cmc=(value, value + 0.05, value + 0.1))


def result(trial: int | None, *values: float, model: str = "m", **changes: Any) -> Result:
    split = "split unknown" if trial is None else f"split {trial}"
    made = Result(
        protocol="regdb",
        title=f"RegDB, infrared-to-visible, {split}, image CMC, cosine distance",
        version=1,
        options={"direction": "infrared-to-visible", "trial": trial, "cmc": "image", "metric": "cosine"},
        queries=20,
        valid_queries=20,
        gallery=20,
        trials=tuple(trial_result(value) for value in values),
        fingerprints={"dataset": f"d{trial}", "split": f"s{trial}", "model": f"{model}{trial}"},
        notes=("small gallery",),
    )
    return replace(made, **changes)


def test_ten_splits_become_ten_trials_with_the_mean_and_spread_of_the_ten():
    values = [0.5, 0.55, 0.6, 0.52, 0.58, 0.61, 0.49, 0.57, 0.53, 0.6]
    merged = merge_results({f"trial-{n:02d}": result(n, v) for n, v in enumerate(values, start=1)})
    assert [trial.rank1 for trial in merged.trials] == values
    assert merged.mean["rank1"] == pytest.approx(sum(values) / 10)
    assert merged.std["rank1"] == pytest.approx(statistics.pstdev(values))
    assert merged.options["trial"] == "1-10"
    assert merged.title == "RegDB, infrared-to-visible, splits 1-10, image CMC, cosine distance, 10 runs"
    assert merged.notes == ("small gallery",)
    assert [run["name"] for run in merged.extra["runs"]] == [f"trial-{n:02d}" for n in range(1, 11)]
    assert Result.from_json(merged.to_json()) == merged


def test_a_run_with_several_draws_counts_once_by_its_mean():
    merged = merge_results(
        {"seed-0": result(1, 0.2, 0.4, model="a"), "seed-1": result(1, 0.6, 0.8, model="b")}
    )
    assert [trial.rank1 for trial in merged.trials] == pytest.approx([0.3, 0.7])
    assert merged.trials[0].cmc == pytest.approx((0.3, 0.35, 0.4))
    assert merged.std["mAP"] == pytest.approx(0.2)  # of 0.3 and 0.7, not of the four draws
    assert any("averaged over its 2 trials" in note for note in merged.notes)
    assert merged.options["trial"] == 1


def test_fingerprints_stay_where_shared_and_are_joined_where_not():
    seeds = {"seed-0": result(1, 0.5, model="a"), "seed-1": result(1, 0.6, model="b")}
    merged = merge_results(seeds)
    assert merged.fingerprints["split"] == "s1" and merged.fingerprints["dataset"] == "d1"
    assert merged.fingerprints["model"] not in ("a1", "b1")
    swapped = merge_results(dict(reversed(list(seeds.items()))))
    assert swapped.fingerprints == merged.fingerprints
    one, two = (merge_results({"a": result(1, 0.5), "b": result(n, 0.5)}) for n in (2, 3))
    assert one.fingerprints["split"] != two.fingerprints["split"]
    unknown = merge_results({"a": result(1, 0.5), "b": result(2, 0.5, fingerprints={"model": "x"})})
    assert unknown.fingerprints.keys() == {"model"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"protocol": "llcm"}, "protocol is regdb and llcm"),
        ({"version": 2}, "version is 1 and 2"),
        ({"rerank": "k-reciprocal"}, "re-ranking is None and k-reciprocal"),
        ({"tta": "flip"}, "augmentation is None and flip"),
        ({"options": {**result(2, 0.5).options, "direction": "visible-to-infrared"}}, "option direction"),
        (
            {"options": {**result(2, 0.5).options, "precision": "single"}},
            "option precision is None and single",
        ),
    ],
)
def test_results_of_different_settings_are_refused_by_name(change: dict[str, Any], named: str):
    with pytest.raises(ProtocolError, match=named) as refused:
        merge_results({"trial-01": result(1, 0.5), "trial-02": replace(result(2, 0.5), **change)})
    assert "trial-01 and trial-02" in str(refused.value)


def test_different_images_of_one_split_and_a_model_counted_twice_are_refused():
    other = replace(result(1, 0.6, model="b"), fingerprints={"split": "else", "model": "b1"})
    with pytest.raises(ProtocolError, match=r"different images.*s1 and else"):
        merge_results({"seed-0": result(1, 0.5), "seed-1": other})
    with pytest.raises(ProtocolError, match="seed-0 and seed-1 hold the same model"):
        merge_results({"seed-0": result(1, 0.5), "seed-1": result(1, 0.5)})
    with pytest.raises(UsageError, match="no results"):
        merge_results({})


def test_differing_counts_are_told():
    merged = merge_results({"a": result(1, 0.5), "b": result(2, 0.5, queries=18)})
    assert merged.queries == 20
    assert any(note.startswith("queries differ between runs, 18 to 20") for note in merged.notes)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_numbers_read_back_as_they_were_written(numbers: set[int]):
    assert parse_numbers(format_numbers(numbers), "--trials") == tuple(sorted(numbers))


def test_numbers_as_people_write_them():
    assert parse_numbers("1-3,5", "--trials") == (1, 2, 3, 5)
    assert parse_numbers(" 7 , 2-4", "--trials") == (2, 3, 4, 7)
    assert format_numbers([5, 1, 2, 3]) == "1-3,5"


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "1.5", "1-2-3", "²", "0-99999"])
def test_what_is_no_list_of_numbers_is_refused(text: str):
    with pytest.raises(UsageError, match="--seeds"):
        parse_numbers(text, "--seeds")


def test_a_number_named_twice_is_refused():
    with pytest.raises(UsageError, match="2-3 named twice"):
        parse_numbers("1-3,2-4", "--trials")
