"""Ranks, AP, INP and first ranks against the definitions, spelled out one query and one image at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import DataError, UsageError
from ivreid.metrics import Outcomes, outcomes, rank_queries

FIELDS = ("valid", "ap", "inp", "first_image", "first_identity")


def by_definition(distances, query_pids, gallery_pids, excluded=None):
    """Every outcome from a sorted Python list of (distance, gallery position)."""
    found = []
    for q, pid in enumerate(query_pids):
        ranked = sorted(
            (float(distances[q][g]), g)
            for g in range(len(gallery_pids))
            if excluded is None or not excluded[q][g]
        )
        people = [int(gallery_pids[g]) for _, g in ranked]
        hits = [rank for rank, person in enumerate(people, start=1) if person == pid]
        if not hits:
            found.append((False, np.nan, np.nan, 0, 0))
            continue
        ap = sum(n / rank for n, rank in enumerate(hits, start=1)) / len(hits)
        once = list(dict.fromkeys(people))
        found.append((True, ap, len(hits) / hits[-1], hits[0], once.index(pid) + 1))
    return [np.array(column) for column in zip(*found, strict=True)]


def assert_equal(outcomes, expected):
    for name, column in zip(FIELDS, expected, strict=True):
        np.testing.assert_allclose(getattr(outcomes, name), column, rtol=0, atol=1e-12, err_msg=name)


TIES = st.sampled_from([1, 2, 5, 1000])


@st.composite
def rankings(draw, levels=TIES):
    """Distances with many or few ties, missing identities, unequal image counts, and any exclusion."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, images, people = draw(st.integers(1, 12)), draw(st.integers(1, 60)), draw(st.integers(1, 8))
    distances = rng.integers(0, draw(levels), (queries, images)) / 7 - 1
    excluded = rng.random((queries, images)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    query_pids = rng.integers(0, people + 2, queries)
    return distances.astype(dtype), query_pids, rng.integers(0, people, images), excluded


@pytest.fixture(params=[0, 10, 1000], ids=["sorting", "as chosen", "counting"])
def engine(request, monkeypatch):
    """Each engine alone, and the choice between them."""
    monkeypatch.setattr(outcomes, "_FEW_MATCHES", request.param)


@pytest.mark.usefixtures("engine")
def test_outcomes_equal_the_definition():
    @settings(max_examples=120, deadline=None, database=None)
    @given(rankings())
    def check(case):
        assert_equal(rank_queries(*case), by_definition(*case))
        assert_equal(rank_queries(*case[:3]), by_definition(*case[:3]))

    check()


def test_hand_worked_list():
    # the list, nearest first: 7 8 7 9 8 7, with the image of 9 excluded: matches of 8 stand at ranks 2 and 4
    gallery = np.array([7, 8, 7, 9, 8, 7])
    distances = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    excluded = gallery[None] == 9
    one = rank_queries(distances, np.array([8]), gallery, excluded)
    assert one.ap[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert one.inp[0] == pytest.approx(2 / 4)
    assert (one.first_image[0], one.first_identity[0]) == (2, 2)
    # 7 is first; before 9 stand two identities in three images
    assert rank_queries(distances, np.array([7]), gallery).inp[0] == pytest.approx(3 / 6)
    nine = rank_queries(distances, np.array([9]), gallery)
    assert (nine.first_image[0], nine.first_identity[0]) == (4, 3)


@pytest.mark.usefixtures("engine")
def test_ties_fall_in_gallery_order():
    gallery = np.array([1, 2, 3, 3, 2, 1])
    outcomes = rank_queries(np.zeros((3, 6)), np.array([1, 2, 3]), gallery)
    assert outcomes.first_image.tolist() == [1, 2, 3]
    assert outcomes.first_identity.tolist() == [1, 2, 3]
    assert outcomes.inp.tolist() == [2 / 6, 2 / 5, 2 / 4]


def test_a_query_without_matches_is_not_valid():
    outcomes = rank_queries(
        np.ones((2, 2)), np.array([1, 5]), np.array([1, 2]), np.array([[1, 0], [0, 0]], bool)
    )
    assert not outcomes.valid.any()
    assert np.isnan(outcomes.ap).all()
    assert np.isnan(outcomes.inp).all()
    assert not outcomes.first_image.any()
    assert not outcomes.first_identity.any()


def test_an_empty_gallery_leaves_no_valid_query():
    outcomes = rank_queries(np.ones((3, 0)), np.array([1, 2, 3]), np.array([], dtype=np.int64))
    assert len(outcomes) == 3
    assert not outcomes.valid.any()


@pytest.mark.usefixtures("engine")
def test_blocks_threads_layout_and_id_types_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    distances = rng.integers(0, 300, (700, 90)).astype(np.float32)
    pids, gallery = rng.integers(0, 30, 700), rng.integers(0, 30, 90)
    excluded = rng.random((700, 90)) < 0.2
    expected = by_definition(distances, pids, gallery, excluded)
    assert_equal(rank_queries(distances, pids, gallery, excluded), expected)
    assert_equal(rank_queries(np.asfortranarray(distances), pids, gallery, excluded), expected)
    assert_equal(
        rank_queries(distances.astype(np.int64), pids.astype(np.uint8), gallery.astype(np.int16), excluded),
        expected,
    )
    for name in ("_COUNT_BLOCK", "_SORT_BLOCK"):
        monkeypatch.setattr(outcomes, name, 1)
    assert_equal(rank_queries(distances, pids, gallery, excluded, threads=3), expected)


@pytest.mark.usefixtures("engine")
def test_laws():
    @settings(max_examples=60, deadline=None, database=None)
    @given(rankings(levels=st.just(10**6)), st.integers(0, 2**32 - 1))
    def check(case, seed):
        distances, query_pids, gallery_pids, excluded = case
        rng = np.random.default_rng(seed)
        # distances without ties: the order of the gallery cannot matter
        distances = distances + np.arange(distances.size).reshape(distances.shape) * 1e-3
        plain = rank_queries(distances, query_pids, gallery_pids, excluded)
        fields = [getattr(plain, name) for name in FIELDS]
        order = rng.permutation(len(gallery_pids))
        assert_equal(
            rank_queries(distances[:, order], query_pids, gallery_pids[order], excluded[:, order]), fields
        )
        # permuted queries permute their outcomes
        order = rng.permutation(len(query_pids))
        assert_equal(
            rank_queries(distances[order], query_pids[order], gallery_pids, excluded[order]),
            [field[order] for field in fields],
        )
        # names of identities mean nothing
        names = rng.permutation(1000)
        assert_equal(rank_queries(distances, names[query_pids], names[gallery_pids], excluded), fields)
        # excluded images may as well not be there
        more = np.concatenate([distances, rng.normal(size=(len(query_pids), 5)) * 1e6], axis=1)
        people = np.concatenate([gallery_pids, rng.integers(0, 10, 5)])
        forbidden = np.concatenate([excluded, np.ones((len(query_pids), 5), bool)], axis=1)
        assert_equal(rank_queries(more, query_pids, people, forbidden), fields)
        # a farther distractor changes no earlier rank
        far = np.concatenate([distances, np.full((len(query_pids), 1), distances.max() + 1)], axis=1)
        allowed = np.concatenate([excluded, np.zeros((len(query_pids), 1), bool)], axis=1)
        assert_equal(rank_queries(far, query_pids, np.append(gallery_pids, 999), allowed), fields)

    check()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("images", [255, 256, 257, 511, 512, 700])
def test_galleries_of_more_images_than_a_byte_counts(images):
    rng = np.random.default_rng(images)
    pids = np.arange(images)  # one image each, so that identities are as many
    distances = np.stack(
        [
            np.arange(images) / 7,  # the match last: all others are nearer
            np.zeros(images),  # all at one distance, the match last in gallery order
            np.where(pids == images - 1, 1, rng.integers(0, 2, images)),
            rng.permutation(images) / 7,
        ]
    )
    query_pids = np.full(4, images - 1)
    assert_equal(rank_queries(distances, query_pids, pids), by_definition(distances, query_pids, pids))
    three = pids // 3  # and three images each
    query_pids = np.full(4, three[-1])
    excluded = rng.random((4, images)) < 0.1
    expected = by_definition(distances, query_pids, three, excluded)
    assert_equal(rank_queries(distances, query_pids, three, excluded), expected)


def test_inputs_are_left_alone():
    rng = np.random.default_rng(0)
    for order in "CF":
        distances = np.asarray(rng.random((20, 30)), order=order)
        kept = distances.copy()
        rank_queries(distances, rng.integers(0, 4, 20), rng.integers(0, 4, 30), rng.random((20, 30)) < 0.5)
        np.testing.assert_array_equal(distances, kept)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_distances_that_are_not_finite_are_refused(bad):
    distances = np.zeros((2, 3))
    distances[1, 2] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        rank_queries(distances, np.array([1, 2]), np.array([1, 2, 3]))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(
        UsageError, match=r"distances have shape \(2, 3\); 2 queries and 4 images need \(2, 4\)"
    ):
        rank_queries(np.zeros((2, 3)), np.zeros(2, int), np.zeros(4, int))
    with pytest.raises(UsageError, match="excluded have shape"):
        rank_queries(np.zeros((2, 3)), np.zeros(2, int), np.zeros(3, int), np.zeros((3, 2), bool))


def test_outcomes_check_and_protect_themselves():
    outcomes = rank_queries(np.zeros((4, 2)), np.array([1, 2, 1, 9]), np.array([1, 2]))
    with pytest.raises(ValueError, match="read-only"):
        outcomes.ap[0] = 1
    assert outcomes.take(outcomes.valid).valid.all()
    assert len(Outcomes.concatenate([outcomes, outcomes.take([0])])) == 5
    with pytest.raises(DataError, match="one value per query"):
        Outcomes(outcomes.valid, outcomes.ap[:2], outcomes.inp, outcomes.first_image, outcomes.first_identity)
