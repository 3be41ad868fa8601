import json
from dataclasses import replace

import numpy as np
import pytest

from ivreid.analysis.compare import compare, per_identity, per_identity_json, role_swapped
from ivreid.analysis.comparisons import match_results
from ivreid.errors import DataError, UsageError
from ivreid.metrics.bootstrap import IdentitySums
from ivreid.protocols.result import Result, TrialResult


def trial(rank1=0.5, mean_ap=0.4):
    return TrialResult(rank1, rank1 + 0.1, rank1 + 0.2, rank1 + 0.3, mean_ap, mean_ap / 2, (rank1,))


def result(trials=None, **changes):
    base = Result(
        protocol="llcm",
        title="LLCM visible-to-infrared",
        version=1,
        options={"direction": "visible-to-infrared", "cmc": "identity"},
        queries=40,
        valid_queries=40,
        gallery=30,
        trials=trials or (trial(), trial(0.6, 0.44), trial(0.55, 0.45)),
        fingerprints={"dataset": "d", "split": "s", "model": "m1"},
    )
    return replace(base, **changes)


def with_people(base, hits, pids=None, valid=4.0):
    pids = np.arange(len(hits)) if pids is None else pids
    table = IdentitySums(pids, np.full(len(hits), valid), {"rank1": np.asarray(hits) * valid})
    return replace(base, extra={"per_identity": per_identity_json(table)})


def other(**changes):
    return result(fingerprints={"dataset": "d", "split": "s", "model": "m2"}, **changes)


def test_pairs_identities_and_survives_json():
    rng = np.random.default_rng(0)
    hits = rng.random(30) * 0.8
    a, b = with_people(result(), hits), with_people(other(), hits + 0.1)
    a, b = (Result.from_json(json.loads(json.dumps(r.to_json()))) for r in (a, b))
    comparison = compare(a, b)
    assert comparison.pairing == "identities" and "30 query identities" in comparison.explanation
    assert comparison.warnings == ()
    interval = comparison.differences[0].interval
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.1, 0.1, 0.1))
    assert comparison.differences[0].figure == "rank1" and comparison.differences[0].clear
    assert comparison.differences[4].interval is None
    assert json.loads(json.dumps(comparison.to_json()))["differences"]["rank1"]["interval"]["low"] > 0


def test_without_people_trials_are_paired_by_students_t():
    b = other(trials=(trial(0.52), trial(0.61), trial(0.59)))
    comparison = compare(result(), b)
    assert comparison.pairing == "trials" and "not the people" in comparison.explanation
    gaps = np.array([0.02, 0.01, 0.04])
    half = 4.302653 * gaps.std(ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom, 97.5 percent
    row = comparison.differences[0]
    assert row.difference == pytest.approx(gaps.mean())
    assert (row.interval.low, row.interval.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (with_people(result(), [0.1, 0.2]), other(), "no outcomes per identity"),
        (with_people(result(), [0.1, 0.2]), with_people(other(), [0.1, 0.2], [0, 7]), "identities differ"),
        (with_people(result(), [0.1, 0.2]), with_people(other(), [0.1, 0.2], valid=5.0), "numbers of valid"),
        (with_people(result(), [0.1]), with_people(other(), [0.2]), "single query identity"),
    ],
)
def test_the_fallback_says_why(a, b, reason):
    comparison = compare(a, b)
    assert comparison.pairing == "trials" and reason in comparison.explanation
    single = compare(replace(a, trials=a.trials[:1]), replace(b, trials=b.trials[:1]))
    assert single.pairing == "none" and all(row.interval is None for row in single.differences)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"protocol": "regdb"}, "the protocols differ: llcm and regdb"),
        ({"version": 2}, "version 1 and 2"),
        ({"options": {"direction": "visible-to-infrared"}}, "option cmc differs: identity and none"),
        ({"rerank": "k-reciprocal"}, "re-ranking differs: none and k-reciprocal"),
        ({"tta": "flip"}, "test-time augmentation differs: none and flip"),
        ({"fingerprints": {"dataset": "e", "split": "s"}}, "dataset fingerprints differ: d and e"),
        ({"fingerprints": {"dataset": "d", "split": "t"}}, "split fingerprints differ"),
        ({"fingerprints": {"dataset": "d"}}, "no split fingerprint"),
        ({"fingerprints": {"dataset": "d", "split": "s", "model": "m1"}}, "same model"),
        ({"queries": 41}, "of queries differ: 40 and 41"),
        ({"gallery": 31}, "gallery images differ: 30 and 31"),
        ({"trials": (trial(),)}, "numbers of trials differ: 3 and 1"),
        ({"notes": ("leak allowed",)}, "the second result notes: leak allowed"),
    ],
)
def test_each_reason_for_doubt_is_named_alone(change, warning):
    found = compare(result(), replace(other(), **change)).warnings
    assert len(found) == 1 and warning in found[0]


def test_the_signature_of_the_role_swapped_variant():
    plain = result(trials=(trial(0.50, 0.53),))
    swapped = other(trials=(trial(0.56, 0.43),))
    better = other(trials=(trial(0.56, 0.60),))
    for a, b in ((plain, swapped), (swapped, plain)):
        assert role_swapped(a, b)
        assert any("visible-to-infrared-swapped" in warning for warning in compare(a, b).warnings)
    assert not role_swapped(plain, better)
    assert not role_swapped(plain, other(trials=(trial(0.70, 0.43),)))
    assert not role_swapped(replace(plain, protocol="sysu-mm01"), replace(swapped, protocol="sysu-mm01"))


def test_files_of_many_settings_are_joined_by_setting_not_by_position():
    shots = [result(options={"shots": n}, title=f"{n} shots") for n in (1, 10)]
    turned = [other(options={"shots": n}, title=f"{n} shots") for n in (10, 1, 5)]
    pairs, alone = match_results(shots, turned)
    assert [(a.title, b.title) for a, b in pairs] == [("1 shots", "1 shots"), ("10 shots", "10 shots")]
    assert alone == ["only the second file holds: 5 shots"]
    reranked = [replace(shots[0], rerank="k-reciprocal")]
    with pytest.raises(UsageError, match="share no setting") as told:
        match_results(shots, reranked)
    assert str(told.value).splitlines()[1:] == [
        "only the first file holds: 1 shots",
        "only the first file holds: 10 shots",
        f"only the second file holds: {reranked[0].title}",
    ]
    assert match_results([shots[0]], reranked)[1] == []


@pytest.mark.parametrize(
    "block",
    [[], {"pids": [1]}, {"pids": ["x"], "valid": [1], "sums": {}}, {"pids": [1], "valid": [0], "sums": {}}],
)
def test_a_damaged_block_is_refused(block):
    with pytest.raises(DataError):
        per_identity(result(extra={"per_identity": block}))
