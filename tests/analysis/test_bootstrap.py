import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import DataError
from ivreid.metrics.bootstrap import (
    IdentitySums,
    bootstrap,
    draw_counts,
    identity_sums,
    paired_bootstrap,
    percentile_interval,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_identity_sums_equal_explicit_loops():
    generator = rng(1)
    pids, valid = generator.integers(0, 6, 80), generator.random(80) < 0.6
    valid[pids == 3] = False
    ap = generator.random(80)
    ap[~valid] = np.nan
    table = identity_sums(pids, valid, {"mAP": ap})
    expected = {}
    for pid, ok, value in zip(pids, valid, ap, strict=True):
        if ok:
            count, total = expected.get(pid, (0, 0.0))
            expected[pid] = (count + 1, total + value)
    assert 3 not in expected and table.pids.tolist() == sorted(expected)
    assert table.counts.tolist() == [expected[p][0] for p in sorted(expected)]
    np.testing.assert_allclose(table.sums["mAP"], [expected[p][1] for p in sorted(expected)])
    assert table.figures()["mAP"] == pytest.approx(ap[valid].mean())


def test_bootstrap_equals_drawing_people_one_by_one():
    """The multinomial weights give the ratio that copying each drawn person's rows would give."""
    generator = rng(2)
    counts, hits = generator.integers(1, 9, 12).astype(float), generator.random(12)
    table = IdentitySums(np.arange(12), counts, {"rank1": counts * hits})
    drawn = draw_counts(12, 50, rng(7))
    assert (drawn.sum(axis=1) == 12).all()
    ratios = []
    for row in drawn:
        people = [i for i, times in enumerate(row) for _ in range(int(times))]
        ratios.append(sum(counts[i] * hits[i] for i in people) / sum(counts[i] for i in people))
    interval = bootstrap(table, rng=rng(7), resamples=50)["rank1"]
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.estimate == pytest.approx((counts * hits).sum() / counts.sum())


def test_width_matches_the_normal_theory_of_a_mean():
    """With one query a person the ratio is a mean, whose standard error is known."""
    values = rng(3).random(400)
    table = IdentitySums(np.arange(400), np.ones(400), {"mAP": values})
    interval = bootstrap(table, rng=rng(4), resamples=4000)["mAP"]
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.06)


def test_resampling_people_is_wider_than_resampling_their_images():
    """Twenty images a person that all succeed or all fail carry the information of one."""
    hits = (rng(5).random(50) < 0.6).astype(float)
    people = IdentitySums(np.arange(50), np.full(50, 20.0), {"rank1": 20 * hits})
    images = IdentitySums(np.arange(1000), np.ones(1000), {"rank1": np.repeat(hits, 20)})
    wide, narrow = (bootstrap(t, rng=rng(6))["rank1"] for t in (people, images))
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(math.sqrt(20), rel=0.15)


def test_pairing_sees_a_small_steady_difference_that_separate_intervals_miss():
    generator = rng(8)
    hard = generator.random(100)
    first = IdentitySums(np.arange(100), np.ones(100), {"mAP": hard})
    second = IdentitySums(np.arange(100), np.ones(100), {"mAP": hard + 0.01 + 0.005 * generator.random(100)})
    difference = paired_bootstrap(first, second, rng=rng(9))["mAP"]
    assert 0.01 <= difference.low < difference.estimate < difference.high <= 0.015
    a, b = (bootstrap(t, rng=rng(9))["mAP"] for t in (first, second))
    assert a.high > b.low


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_laws(seed, people):
    generator = rng(seed)
    table = IdentitySums(
        np.arange(people), generator.integers(1, 5, people).astype(float), {"mAP": generator.random(people)}
    )
    again = bootstrap(table, rng=rng(1), resamples=200)["mAP"]
    assert again == bootstrap(table, rng=rng(1), resamples=200)["mAP"]
    assert again.low <= again.high
    shares = table.sums["mAP"] / table.counts
    assert shares.min() - 1e-12 <= again.low and again.high <= shares.max() + 1e-12
    same = paired_bootstrap(table, table, rng=rng(1), resamples=200)["mAP"]
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    wider = percentile_interval(0.0, generator.random(99), 0.99)
    narrow = percentile_interval(0.0, generator.random(99) * 0 + 0.5, 0.5)
    assert wider.high > wider.low and narrow.low == narrow.high == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IdentitySums(np.array([1, 1]), np.ones(2), {}), "once, in ascending"),
        (lambda: IdentitySums(np.array([1, 2]), np.ones(3), {}), "unequal lengths"),
        (lambda: IdentitySums(np.array([1, 2]), np.array([1.0, 0.0]), {}), "positive number"),
        (lambda: IdentitySums(np.array([1]), np.ones(1), {"mAP": np.array([np.nan])}), "finite"),
        (lambda: bootstrap(IdentitySums(np.array([1]), np.ones(1), {}), rng=rng()), "at least 2"),
        (
            lambda: paired_bootstrap(
                IdentitySums(np.array([1, 2]), np.ones(2), {}),
                IdentitySums(np.array([1, 3]), np.ones(2), {}),
                rng=rng(),
            ),
            "2 differ, first 2",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(DataError, match=message):
        make()
