import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import DataError, UsageError
from ivreid.metrics.bootstrap import draw_counts
from ivreid.metrics.verification import Pairs, bootstrap_threshold, roc, threshold_at_fpr

distances = st.lists(st.integers(0, 12).map(lambda x: x / 8), min_size=1, max_size=25)


@settings(max_examples=80, deadline=None)
@given(distances, distances)
def test_roc_counts_pairs_at_every_threshold(genuine, impostor):
    curve = roc(np.array(genuine), np.array(impostor))
    for threshold, fpr, tpr in zip(curve.thresholds, curve.fpr, curve.tpr, strict=True):
        assert fpr == sum(d <= threshold for d in impostor) / len(impostor)
        assert tpr == sum(d <= threshold for d in genuine) / len(genuine)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    wins = sum((g < i) + (g == i) / 2 for g in genuine for i in impostor)
    assert curve.area == pytest.approx(wins / len(genuine) / len(impostor))


@settings(max_examples=80, deadline=None)
@given(distances, distances, st.floats(0, 1))
def test_the_threshold_is_the_largest_that_keeps_the_rate(genuine, impostor, fpr):
    threshold = threshold_at_fpr(np.array(impostor), fpr)
    allowed = fpr * len(impostor) + 1e-9
    assert sum(d <= threshold for d in impostor) <= allowed
    above = np.nextafter(threshold, np.inf)
    assert threshold == max(impostor) or sum(d <= above for d in impostor) > allowed
    curve = roc(np.array(genuine), np.array(impostor))
    if threshold < max(impostor):  # with every impostor accepted the curve goes on to accept all
        assert curve.tpr_at(fpr) == pytest.approx(sum(d <= threshold for d in genuine) / len(genuine))


def test_worked_case():
    """Genuine 1 2 3 6, impostor 4 5 6 7: accepting up to 4 errs on 1/4 of both sides."""
    curve = roc(np.array([1.0, 2, 3, 6]), np.array([4.0, 5, 6, 7]))
    assert curve.equal_error_rate == 0.25
    assert curve.tpr_at(0) == 0.75 and curve.tpr_at(0.75) == 1.0
    assert curve.area == pytest.approx((16 - 2 - 0.5) / 16)
    assert threshold_at_fpr(np.array([4.0, 5, 6, 7]), 0.25) == np.nextafter(5, 0)


def test_equal_error_rate_of_known_laws():
    """Gaussians two deviations apart cross at 1 - Phi(1); perfect and reversed separation give 0 and 1."""
    rng = np.random.default_rng(0)
    curve = roc(rng.normal(0, 1, 200_000), rng.normal(2, 1, 200_000))
    assert curve.equal_error_rate == pytest.approx(0.158655, abs=2e-3)
    assert roc(np.array([0.0, 1]), np.array([2.0, 3])).equal_error_rate == 0
    assert roc(np.array([2.0, 3]), np.array([0.0, 1])).equal_error_rate == 1
    assert roc(np.ones(3), np.ones(5)).equal_error_rate == 0.5


def test_thinning_keeps_points_of_the_curve_and_both_ends():
    rng = np.random.default_rng(1)
    curve = roc(rng.normal(0, 1, 3000), rng.normal(1, 1, 3000))
    thin = curve.thinned(100)
    assert len(thin.fpr) <= 102 and thin.fpr[0] == 0 and thin.fpr[-1] == 1
    whole = set(zip(curve.fpr, curve.tpr, strict=True))
    assert whole >= set(zip(thin.fpr, thin.tpr, strict=True))


def test_a_target_that_binary_fractions_miss_is_counted_exactly():
    impostor = np.arange(30.0)
    assert sum(impostor <= threshold_at_fpr(impostor, 0.1)) == 3
    assert sum(impostor <= threshold_at_fpr(impostor, 0.7)) == 21


@pytest.mark.parametrize("fpr", [0.02, 0.2, 1.0])
def test_bootstrap_equals_copying_every_drawn_person(fpr):
    """Repeat each pair as often as its people were drawn, and take the plain threshold and TPR."""
    rng = np.random.default_rng(3)
    q_pids, g_pids = rng.integers(0, 7, 14), rng.integers(0, 8, 18)
    matrix = rng.random((14, 18)) + (q_pids[:, None] != g_pids) * 0.4
    excluded = rng.random((14, 18)) < 0.1
    pairs = Pairs.of_matrix(matrix, q_pids, g_pids, excluded)
    known = np.union1d(q_pids, g_pids)
    drawn, rates = [], []
    for counts in draw_counts(len(known), 60, np.random.default_rng(11)):
        times = dict(zip(known.tolist(), counts.astype(int), strict=True))
        genuine, impostor = [], []
        for i in range(14):
            for j in range(18):
                a, b = int(q_pids[i]), int(g_pids[j])
                if not excluded[i, j]:
                    copies = times[a] if a == b else times[a] * times[b]
                    (genuine if a == b else impostor).extend([matrix[i, j]] * copies)
        threshold = threshold_at_fpr(np.array(impostor), fpr)
        drawn.append(threshold)
        rates.append(np.mean(np.array(genuine) <= threshold))
    threshold, tpr = bootstrap_threshold(pairs, fpr, rng=np.random.default_rng(11), resamples=60)
    assert (threshold.low, threshold.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert (tpr.low, tpr.high) == pytest.approx(tuple(np.quantile(rates, [0.025, 0.975])))
    assert threshold.estimate == threshold_at_fpr(pairs.impostor, fpr)


def test_only_the_small_end_is_kept_and_it_is_enough():
    """With many pairs the kept end gives the same interval as keeping all of them would."""
    rng = np.random.default_rng(5)
    pids = np.repeat(np.arange(30), 12)
    matrix = rng.random((360, 360)) + (pids[:, None] != pids)
    pairs = Pairs.of_matrix(matrix, pids, pids, np.eye(360, dtype=bool))
    threshold, _ = bootstrap_threshold(pairs, 0.01, rng=np.random.default_rng(1), resamples=20)
    expected = []
    grid = matrix[pids[:, None] != pids]
    order = np.argsort(grid)
    for counts in draw_counts(30, 20, np.random.default_rng(1)):
        weights = np.outer(counts[pids], counts[pids])[pids[:, None] != pids][order]
        cumulative = np.cumsum(weights)
        expected.append(grid[order][np.argmax(cumulative > 0.01 * cumulative[-1])])
    assert (threshold.low, threshold.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))


def test_bad_input():
    with pytest.raises(DataError, match="no genuine pairs"):
        roc(np.array([]), np.ones(2))
    with pytest.raises(DataError, match="1 impostor distance"):
        roc(np.ones(2), np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="got 1"):
        threshold_at_fpr(np.ones(3), 1.5)
    with pytest.raises(DataError, match="at least 2"):
        bootstrap_threshold(
            Pairs(np.ones(2), np.ones(2, int), np.ones(2, int)), 0.1, rng=np.random.default_rng(0)
        )
