"""CMC curves and means: hand-worked values and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ivreid.errors import UsageError
from ivreid.metrics import CMC_LENGTH, cmc_curve, figures, rank_queries


def test_hand_worked_curve():
    np.testing.assert_array_equal(cmc_curve(np.array([1, 3, 3, 9]), 5), [0.25, 0.25, 0.75, 0.75, 0.75])


@settings(max_examples=100, deadline=None, database=None)
@given(arrays(np.int64, st.integers(1, 40), elements=st.integers(1, 80)), st.integers(1, 60))
def test_curve_is_the_share_of_queries_at_each_rank_and_never_falls(first, length):
    curve = cmc_curve(first, length)
    assert curve.tolist() == pytest.approx([np.mean(first <= k) for k in range(1, length + 1)])
    assert (np.diff(curve) >= 0).all()


def test_invalid_queries_leave_the_denominator():
    # queries of 1 and 2 are answered at rank 1; the query of 7 has no match
    outcomes = rank_queries(1 - np.eye(3), np.array([1, 2, 7]), np.array([1, 2, 3]))
    result = figures(outcomes, "image")
    assert result.valid_queries == 2
    assert (result.mean_ap, result.mean_inp, result.cmc[0]) == (1.0, 1.0, 1.0)


def test_rules_differ_beyond_rank_one():
    # two images of 5 stand before the match: image rank 3, identity rank 2
    outcomes = rank_queries(np.array([[1.0, 2.0, 3.0]]), np.array([6]), np.array([5, 5, 6]))
    assert figures(outcomes, "image").cmc[:3].tolist() == [0, 0, 1]
    assert figures(outcomes, "identity").cmc[:3].tolist() == [0, 1, 1]


def test_the_curve_repeats_its_last_value_beyond_the_gallery():
    curve = figures(rank_queries(np.eye(2), np.array([1, 2]), np.array([1, 2])), "image").cmc
    assert len(curve) == CMC_LENGTH
    assert curve[0] == 0
    assert (curve[1:] == 1).all()


def test_wrong_use_is_refused():
    outcomes = rank_queries(np.eye(2), np.array([1, 2]), np.array([8, 9]))
    with pytest.raises(UsageError, match="no query has a true match"):
        figures(outcomes, "image")
    with pytest.raises(UsageError, match="known rules: image, identity"):
        figures(outcomes, "people")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="ranks from 1 on"):
        cmc_curve(np.array([0, 1]))
