"""The rate of searches that come upon a stranger: exactness, coverage, and what too few people cannot promise."""

import json
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.analysis.decisions import LIKELY_DIFFERENT, LIKELY_SAME, NOT_CALIBRATED, UNCERTAIN, decide
from ivreid.analysis.fpir import StrangerRates, binomial_interval, found_share, people_for
from ivreid.analysis.search_calibration import SearchCalibration, fit_search, sizes_up_to
from ivreid.analysis.search_table import SearchTable
from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.metrics.bootstrap import Interval
from ivreid.types import Embeddings, ImageTable


def test_the_rate_is_that_over_every_gallery_of_that_size():
    rng = np.random.default_rng(0)
    n, distances = 7, rng.random((7, 7))
    np.fill_diagonal(distances, 0)  # a person never meets themself
    rates = StrangerRates([distances])
    for size in range(1, n):
        for threshold in (0.05, 0.2, 0.5):
            found = []
            for q in range(n):
                others = [g for g in range(n) if g != q]
                found += [
                    min(distances[q, g] for g in some) <= threshold for some in combinations(others, size)
                ]
            assert rates.rates(threshold, [size])[0].estimate == pytest.approx(np.mean(found), abs=1e-12)


def test_the_variance_is_the_jackknife_of_leaving_people_out():
    rng = np.random.default_rng(3)
    n, threshold, size = 12, 0.15, 4
    distances = rng.random((n, n))

    def rate(kept):
        inner = distances[np.ix_(kept, kept)]
        near = ((inner <= threshold) & ~np.eye(len(kept), dtype=bool)).sum(axis=1)
        return np.mean(
            [1 - math.comb(len(kept) - 1 - k, size) / math.comb(len(kept) - 1, size) for k in near]
        )

    without = np.array([rate(np.delete(np.arange(n), i)) for i in range(n)])
    variance = (n - 1) / n * ((without - without.mean()) ** 2).sum()
    estimate = rate(np.arange(n))
    searches = min(n, estimate * (1 - estimate) / variance)
    found = StrangerRates([distances]).rates(threshold, [size])[0]
    expected = binomial_interval(estimate, searches)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high), abs=1e-9
    )


@given(st.integers(1, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_the_share_of_galleries_is_that_of_counting(others, data):
    size = data.draw(st.integers(1, others))
    exact = [1 - math.comb(others - k, size) / math.comb(others, size) for k in range(others + 1)]
    np.testing.assert_allclose(found_share(others, size), exact, atol=1e-10)


def test_binomial_intervals_are_those_of_adding_up_probabilities():
    for events, searches in ((0, 20), (3, 20), (20, 20)):
        found = binomial_interval(events / searches, searches)

        def at_least(p, k, n=searches):
            return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))

        if events:
            assert at_least(found.low, events) == pytest.approx(0.025)
        else:
            assert found.low == 0
        if events < searches:
            assert at_least(found.high, events + 1) == pytest.approx(0.975)
        else:
            assert found.high == 1
    for rate in (0.3, 0.05, 0.01):
        needed = people_for(rate)
        assert binomial_interval(0, needed).high <= rate < binomial_interval(0, needed - 1).high


def strangers(people, rng, dimensions=24):
    """(n, n) distances of n people's queries and gallery images, of one kind whatever n."""
    centres = rng.normal(size=(people, dimensions))
    sides = [centres + 0.5 * rng.normal(size=centres.shape) for _ in range(2)]
    query, gallery = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    return 1 - query @ gallery.T


CASES = ((400, 100, 0.05, 60), (1300, 1000, 0.05, 24))


@pytest.mark.parametrize(("people", "searched", "rate", "splits"), CASES)
def test_intervals_cover_the_rate_seen_on_other_people(people, searched, rate, splits):
    """95% is claimed. If it were true, fewer than `bound` of the splits would cover once in 1,000 runs.

    The people it is seen on are many (6,000, the same for all splits), so that their own scatter, about 0.002, is a
    small part of the intervals' width.
    """
    rng = np.random.default_rng(7)
    others = [np.sort(strangers(3000, rng) + 9 * np.eye(3000), axis=1)[:, :400] for _ in range(2)]
    share = found_share(2999, searched)

    def seen(threshold):
        return np.mean([share[(nearest <= threshold).sum(axis=1)].mean() for nearest in others])

    covered = kept = 0
    for split in range(splits):
        rates = StrangerRates([strangers(people, np.random.default_rng([split, people]))])
        threshold = rates.keeping(rate, searched)
        found, truth = rates.rates(threshold, [searched])[0], seen(threshold)
        covered += found.low <= truth <= found.high
        kept += truth <= rate
    bound = next(
        k
        for k in range(splits + 1)
        if sum(math.comb(splits, i) * 0.95**i * 0.05 ** (splits - i) for i in range(k + 1)) > 0.001
    )
    assert covered >= bound and kept >= bound


def crowd(people, images=2, seed=0, noise=0.25, dimensions=32, first=1):
    """Each person `images` times before two visible and two infrared cameras."""
    rng = np.random.default_rng(seed)
    rows = [(p, c, f) for p in range(people) for c in (1, 2, 3, 4) for f in range(1, images + 1)]
    pids, camids, frames = np.array(rows).T
    infrared = camids > 2
    centres, shift = rng.normal(size=(people, dimensions)), rng.normal(size=dimensions)
    vectors = (
        centres[pids] + noise * rng.normal(size=(len(pids), dimensions)) + 0.5 * infrared[:, None] * shift
    )
    return Embeddings(vectors, ImageTable(pids + first, camids, frames, infrared))


@pytest.fixture(scope="module")
def fitted():
    return fit_search(crowd(120), searched=100, fpir=0.05)


def test_a_fit_holds_each_comparison_by_row_and_by_tracklet(fitted):
    assert {key[0] for key in fitted.tables} == {"visible-visible", "infrared-infrared", "across"}
    for comparison, unit in fitted.tables:
        table = fitted.tables[comparison, unit]
        assert table.people == 120 and table.most == 119 and 100 in table.sizes
        assert table.fpir.high <= 0.05 and table.same > 0
        assert table.found is not None and table.found.low <= table.found.estimate <= table.found.high
        # the nearest of several images is nearer than one of them
        assert fitted.tables[comparison, "tracklet"].same <= fitted.tables[comparison, "row"].same
    again = fit_search(crowd(120), searched=100, fpir=0.05)
    assert again.to_json() == fitted.to_json()


def test_a_card_gives_the_calibration_back_and_widens_nothing_but_the_last_digits(fitted):
    read = SearchCalibration.from_json(json.loads(json.dumps(fitted.to_json())))
    assert (read.fpir, read.searched, read.date) == (0.05, 100, fitted.date)
    for key, table in fitted.tables.items():
        for distance in np.linspace(0, 1, 23):
            for size in (1, 7, 40, 100, 119):
                low, high = table.interval(distance, size)
                kept = read.tables[key].interval(distance, size)
                assert kept[0] <= low <= high <= kept[1]
                assert kept == pytest.approx((low, high), rel=2e-3)
    assert (
        decide(read, fitted.tables["across", "row"].same, "infrared", "visible", rows=100).decision
        == LIKELY_SAME
    )


def test_intervals_grow_with_the_distance_and_with_the_search(fitted):
    table = fitted.tables["across", "row"]
    distances = np.r_[-1, table.thresholds, (table.thresholds[1:] + table.thresholds[:-1]) / 2, 2]
    for size in range(1, 120, 9):
        ends = np.array([table.interval(d, size) for d in np.sort(distances)])
        assert (np.diff(ends, axis=0) >= 0).all() and (ends[:, 0] <= ends[:, 1]).all()
    for distance in distances:
        ends = np.array([table.interval(distance, size) for size in range(1, 120)])
        assert (np.diff(ends, axis=0) >= -1e-12).all()


def test_decisions_follow_the_intervals(fitted):
    table = fitted.tables["across", "row"]
    near = decide(fitted, table.same, "infrared", "visible", rows=100)
    assert near.decision == LIKELY_SAME and near.high <= 0.05 and "100 rows" in near.why
    far = decide(fitted, 1.5, "infrared", "visible", rows=100)
    assert far.decision == LIKELY_DIFFERENT and far.high == 1
    assert decide(fitted, table.same, "visible", "infrared", rows=100) == near
    beyond = table.thresholds[np.searchsorted(table.thresholds, table.same) + 1]
    word = decide(fitted, beyond, "infrared", "visible", rows=100).decision
    assert word == (LIKELY_DIFFERENT if beyond > table.apart.high else UNCERTAIN)
    few, many = (decide(fitted, 0.4, "infrared", "visible", rows=rows) for rows in (10, 100))
    assert few.high < many.high and few.low < many.low  # a filter makes it surer
    by_track = decide(fitted, 0.01, "visible", "visible", rows=4000, tracklets=80)
    assert by_track.decision == LIKELY_SAME and by_track.searched == 80 and "80 tracklets" in by_track.why
    assert json.loads(json.dumps(near.to_json()))["fpir"]["high"] == near.high


def test_what_is_not_promised_is_not_calibrated(fitted):
    large = decide(fitted, 0.01, "infrared", "visible", rows=120)
    assert large.decision == NOT_CALIBRATED and large.low is None and "beyond searches of 119" in large.why
    assert large.to_json()["fpir"] is None
    assert decide(None, 0.1, "visible", "visible", rows=5).decision == NOT_CALIBRATED
    one = crowd(120)
    visible = fit_search(one.take(~one.images.infrared), searched=100, fpir=0.05)
    assert "0 people" in visible.refused["across"]
    assert "0 people" in decide(visible, 0.1, "infrared", "visible", rows=5).why
    with pytest.raises(UsageError, match="at least one row"):
        decide(fitted, 0.1, "visible", "visible", rows=0)


def test_too_few_people_promise_nothing():
    with pytest.raises(
        DataError, match=r"not enough people to promise that .*120 people.*takes? 10,001|at most 5,000"
    ):
        fit_search(crowd(120), searched=10_000)
    with pytest.raises(DataError, match=r"120 people, and searches of 120 rows take 121"):
        fit_search(crowd(120), searched=120, fpir=0.05)
    with pytest.raises(DataError, match=r"120 people, and a rate of 0\.01 takes 368"):
        fit_search(crowd(120), searched=100, fpir=0.01)
    with pytest.raises(DataError, match="COLLAPSED"):
        fit_search(Embeddings(np.ones((8, 3)), crowd(1).images), searched=2)
    for bad in ({"searched": 0}, {"searched": 5, "fpir": 0.0}, {"searched": 5, "fpir": 1.0}):
        with pytest.raises(UsageError):
            fit_search(crowd(5), **bad)


def test_unknown_people_take_no_part():
    embeddings = crowd(90)
    ids = embeddings.images
    pids = np.where(ids.pids <= 10, -1, ids.pids)
    images = ImageTable(pids, ids.camids, np.arange(1, len(pids) + 1), ids.infrared)
    found = fit_search(Embeddings(embeddings.vectors, images), searched=70, fpir=0.1)
    assert found.tables["across", "row"].people == 80


@pytest.mark.parametrize(
    "change",
    [
        {"fpir": 2},
        {"searched": "many"},
        {"comparisons": 3},
        {"comparisons": {"across": {"row": {"people": 3}}}},
        {"confidence": None},
    ],
)
def test_a_damaged_block_is_named(fitted, change):
    with pytest.raises(CheckpointError, match="'search' of x is no usable search calibration"):
        SearchCalibration.from_json({**fitted.to_json(), **change}, "'search' of x")


@pytest.mark.parametrize("key", ["low", "high", "thresholds", "sizes"])
def test_a_damaged_table_is_refused(fitted, key):
    table = fitted.tables["across", "row"].to_json()
    for bad in (table[key][::-1], table[key][:-1], [float("nan")] * len(table[key])):
        with pytest.raises((ValueError, TypeError)):
            SearchTable.from_json({**table, key: bad})


def test_one_table_for_two_directions_holds_for_both(fitted):
    one = fitted.tables["visible-visible", "row"]
    other = fitted.tables["infrared-infrared", "row"]
    both = SearchTable.worst([one, other])
    for distance in np.linspace(0, 1, 31):
        for size in (1, 3, 50, 119):
            ends = [table.interval(distance, size) for table in (one, other, both)]
            assert ends[2][0] <= min(ends[0][0], ends[1][0]) + 1e-12
            assert ends[2][1] >= max(ends[0][1], ends[1][1]) - 1e-12
    assert both.same == min(one.same, other.same) and isinstance(both.fpir, Interval)


def test_sizes_hold_the_one_asked_for():
    assert sizes_up_to(10, 4) == [1, 2, 3, 4, 5, 7, 10]
    for most, asked in ((1, 1), (119, 100), (4999, 1000)):
        sizes = sizes_up_to(most, asked)
        assert sizes[0] == 1 and sizes[-1] == most and asked in sizes


@pytest.mark.parametrize("unit", ["row", "tracklet"])
def test_searches_that_were_really_made_end_in_likely_same_as_rarely_as_promised(unit):
    """Each search is for somebody absent among 100 others, by the nearest image, without any formula."""
    found = fit_search(crowd(300, noise=0.6), searched=100, fpir=0.05)
    fresh, rng = crowd(600, seed=5, noise=0.6, first=1000), np.random.default_rng(2)
    ids, vectors = fresh.images, fresh.vectors.astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = 0
    for query in rng.choice(np.flatnonzero(ids.infrared), 400, replace=False):
        others = rng.choice(np.unique(ids.pids[ids.pids != ids.pids[query]]), 100, replace=False)
        rows = np.flatnonzero(np.isin(ids.pids, others) & (ids.camids == 1))
        if unit == "row":
            rows = rows[::2]  # one of the two images of each
        nearest = float((1 - vectors[rows] @ vectors[query]).min())
        tracklets = None if unit == "row" else 100
        wrong += (
            decide(found, nearest, "infrared", "visible", rows=len(rows), tracklets=tracklets).decision
            == LIKELY_SAME
        )
    # 400 independent searches at 5% exceed 34 once in a thousand runs; these are at most as many
    assert wrong <= 34
    assert found.tables["across", unit].found.estimate > 0.05  # and yet something is found


def test_the_command_fits_stores_and_says_it(tmp_path, capsys):
    from ivreid import load, methods
    from ivreid.cli.main import main
    from ivreid.datasets.features import write_features
    from ivreid.models.weights import read_card, write_weights

    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 3)
    write_weights(tmp_path / "w.safetensors", method.state_dict(), {**method.card(), "train_pids": [5000]})
    write_features(tmp_path / "f.npz", crowd(80))

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["calibrate", str(tmp_path / "f.npz"), *map(str, arguments)])
        return left.value.code

    weights = ("--weights", tmp_path / "w.safetensors")
    assert call("--fpir", 0.1, "--searched", 50, *weights, "--json", tmp_path / "c.json") == 0
    out = capsys.readouterr().out
    assert "across, by row: likely same up to cosine distance" in out and "as 'search'" in out
    assert call("--fpr", 0.1, *weights) == 0
    model = load(tmp_path / "w.safetensors", device="cpu")
    calibration = model.search_calibration()
    assert list(model.thresholds) == ["default"] and calibration.searched == 50
    block = read_card(tmp_path / "w.safetensors")["calibrations"]["search"]
    assert json.loads((tmp_path / "c.json").read_text()) == block
    assert decide(calibration, 0.0, "infrared", "visible", rows=50).decision == LIKELY_SAME
    capsys.readouterr()
    assert call("--fpir", 0.1, *weights) == 2 and "--searched N" in capsys.readouterr().err
    assert call("--searched", 9, "--metric", "euclidean") == 2 and "cosine" in capsys.readouterr().err
    assert (
        call("--searched", 80, *weights) == 2
        and "not enough people to promise that" in capsys.readouterr().err
    )
    half = crowd(80)
    write_features(tmp_path / "f.npz", half.take(~half.images.infrared))
    assert call("--fpir", 0.1, "--searched", 50) == 0
    assert "across: not enough people to promise that: 0 people" in capsys.readouterr().out
