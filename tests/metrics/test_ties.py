"""Expectations over the order of tied images, against every order there is and against exact fractions."""

from fractions import Fraction
from itertools import permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.metrics import rank_queries
from ivreid.metrics.identities import Identities
from ivreid.metrics.ties import RANKS, expect_ties, expect_ties_of_matrix, expected_figures

NAMES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


def one_order(ranked, pid):
    """AP, INP, image ranks and identity ranks within RANKS, of the pids of one ranked list."""
    hits = [rank for rank, person in enumerate(ranked, start=1) if person == pid]
    ap = sum(n / rank for n, rank in enumerate(hits, start=1)) / len(hits)
    apart = [(rank, "?") if person < 0 else person for rank, person in enumerate(ranked)]
    identity = list(dict.fromkeys(apart)).index(pid) + 1
    return [ap, len(hits) / hits[-1], *(hits[0] <= k for k in RANKS), *(identity <= k for k in RANKS)]


def over_every_order(distances, pid, pids):
    """The mean over every order of the gallery under a stable sort: every order of each tied group alike."""
    found = []
    for order in permutations(range(len(pids))):
        ranked = sorted(order, key=lambda g: distances[g])
        found.append(one_order([pids[g] for g in ranked], pid))
    return np.mean(found, axis=0)


@settings(max_examples=40, deadline=None, database=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([1, 2, 3]))
def test_expectations_equal_the_mean_over_every_order(seed, images, levels):
    rng = np.random.default_rng(seed)
    query_pids, gallery_pids = rng.integers(0, 3, 3), rng.integers(-1, 3, images)
    distances = rng.integers(0, levels, (3, images)) / 7
    excluded = rng.random((3, images)) < 0.2
    outcomes = rank_queries(distances, query_pids, gallery_pids, excluded)
    ties = expect_ties_of_matrix(distances, query_pids, gallery_pids, excluded, outcomes)
    told = dict(zip(ties.rows.tolist(), range(len(ties)), strict=True))
    for q in np.flatnonzero(outcomes.valid):
        allowed = ~excluded[q]
        wanted = over_every_order(distances[q][allowed], int(query_pids[q]), gallery_pids[allowed].tolist())
        if q in told:
            t = told[q]
            found = [ties.ap[t], ties.inp[t], *ties.image[t], *ties.identity[t]]
        else:  # no other person's image lies at the distance of a match: the order of ties moves nothing
            ranks = outcomes.first_image[q], outcomes.first_identity[q]
            found = [outcomes.ap[q], outcomes.inp[q], *(rank <= k for rank in ranks for k in RANKS)]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
    assert not outcomes.tied[~outcomes.valid].any()


@pytest.mark.parametrize("rule", ["image", "identity"])
def test_expected_figures_of_a_trial_are_means_over_every_order(rule):
    rng = np.random.default_rng(5)
    query_pids, gallery_pids = np.array([0, 1, 2, 9]), np.array([0, 1, 1, 2, 0, 2])
    distances = rng.integers(0, 2, (4, 6)).astype(float)
    distances[2] = np.arange(6)  # a query without ties stays as it is
    outcomes = rank_queries(distances, query_pids, gallery_pids)
    ties = expect_ties_of_matrix(distances, query_pids, gallery_pids, None, outcomes)
    assert outcomes.tied.tolist() == [True, True, False, False]
    rows = [over_every_order(distances[q], int(query_pids[q]), gallery_pids.tolist()) for q in range(3)]
    ap, inp, *curves = np.mean(rows, axis=0)
    curve = curves[:4] if rule == "image" else curves[4:]
    found = expected_figures(outcomes, ties, rule)
    assert list(found) == list(NAMES)
    assert list(found.values()) == pytest.approx([*curve, ap, inp], abs=1e-13)


def exact(nearer, before, matches, others):
    """The same for one group of ties, in fractions: (images, identities) by number of images in `others`."""
    size = matches + sum(count * people for count, people in others)
    ap = sum(
        Fraction(matches, size)
        * (before + 1 + Fraction((j - 1) * (matches - 1), max(size - 1, 1)))
        / (nearer + j)
        for j in range(1, size + 1)
    ) / (before + matches)
    inp = (before + matches) * sum(
        Fraction(comb(j - 1, matches - 1), comb(size, matches)) / (nearer + j)
        for j in range(matches, size + 1)
    )
    image = [
        1 - Fraction(comb(max(size - max(k - nearer, 0), 0), matches), comb(size, matches)) for k in RANKS
    ]
    return float(ap), float(inp), [float(x) for x in image], ahead(matches, others)


def ahead(matches, others):
    """Chance of at most k = 0..19 identities before the first match: the product of (s^c + z (1 - s^c)) over
    the identities, expanded in whole numbers and integrated against m s^(m - 1) over 0..1."""
    powers = [{0: 1}]
    for count in (count for count, people in others for _ in range(people)):
        longer = [{} for _ in range(min(len(powers) + 1, 20))]
        for k, polynomial in enumerate(powers):
            for power, factor in polynomial.items():
                longer[k][power + count] = longer[k].get(power + count, 0) + factor
                if k + 1 < len(longer):
                    longer[k + 1][power] = longer[k + 1].get(power, 0) + factor
                    longer[k + 1][power + count] = longer[k + 1].get(power + count, 0) - factor
        powers = longer
    chances = [
        sum(factor * Fraction(matches, matches + power) for power, factor in p.items()) for p in powers
    ]
    return np.cumsum([float(x) for x in chances] + [0.0] * (20 - len(chances)))


@pytest.mark.parametrize(
    ("nearer", "matches", "others"),
    [
        (0, 1, [(1, 40)]),
        (0, 4, [(1, 10), (2, 7), (4, 20)]),
        (3, 2, [(3, 25)]),
        (12, 10, [(10, 20)]),
        (0, 50, [(1, 3)]),
        (0, 1, [(60, 2), (1, 1)]),
        (25, 2, [(2, 30)]),
    ],
)
def test_groups_of_many_images_equal_exact_fractions(nearer, matches, others):
    # `nearer` images of one other person, then the group
    counts = [matches, *(count for count, people in others for _ in range(people))]
    pids = np.concatenate([np.full(nearer, 999), np.repeat(np.arange(len(counts)), counts)])
    distances = np.r_[np.zeros(nearer), np.ones(len(pids) - nearer)][None]
    outcomes = rank_queries(distances, np.array([0]), pids)
    ties = expect_ties_of_matrix(distances, np.array([0]), pids, None, outcomes)
    ap, inp, image, identities = exact(nearer, 0, matches, others)
    assert (ties.ap[0], ties.inp[0]) == pytest.approx((ap, inp), rel=1e-12)
    np.testing.assert_allclose(ties.image[0], image, rtol=1e-12, atol=1e-15)
    places = [k - 1 - bool(nearer) for k in RANKS]
    wanted = [identities[place] if place >= 0 else 0 for place in places]
    np.testing.assert_allclose(ties.identity[0], wanted, rtol=1e-12)


def test_only_ties_with_other_people_count():
    pids = np.array([1, 1, 2, 2])
    outcomes = rank_queries(np.array([[0, 0, 1, 1], [0, 1, 0, 1.0]]), np.array([1, 1]), pids)
    assert outcomes.tied.tolist() == [False, True]
    gallery = Identities.of(pids)
    ties = expect_ties(np.array([[0, 0, 1, 1.0]]), gallery.find(np.array([1])), gallery, outcomes.take([0]))
    assert len(ties) == 0 and ties.image.shape == (0, 4)
