"""Losses over pairs, centres and ranks against loops, and where each may break."""

from __future__ import annotations

import math

import loops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import TrainingError
from ivreid.losses import (
    adaptive_triplet_loss,
    centre_cluster_loss,
    centre_mining_loss,
    circle_loss,
    cross_retrieval_loss,
    discriminative_centre_loss,
    mmd_loss,
    shared_enhancement_loss,
    triplet_loss,
    weighted_distances,
    weighted_triplet_loss,
)
from ivreid.losses.adaptive_triplet import triplet_gap

EXACT = {"abs": 1e-9, "rel": 1e-9}


def batch(seed: int = 0, identities: int = 4, images: int = 2, width: int = 5, scale: float = 1.0):
    """Rows in random order, each identity with as many infrared as visible images."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(identities).repeat_interleave(2 * images)
    infrared = (torch.arange(len(labels)) // images) % 2 == 0
    order = torch.randperm(len(labels), generator=generator)
    x = scale * torch.randn(len(labels), width, generator=generator, dtype=torch.float64)
    return x, labels[order], infrared[order]


batches = st.builds(
    batch,
    seed=st.integers(0, 2**31),
    identities=st.integers(2, 4),
    images=st.integers(2, 3),
    width=st.integers(2, 6),
    scale=st.sampled_from([0.05, 1.0, 8.0]),
)
few = settings(max_examples=20, deadline=None)


# Weighted triplet and its square


@few
@given(batches, st.booleans(), st.booleans())
def test_weighted_triplet_equals_loops(made, with_self, published):
    x, labels, _ = made
    value = weighted_triplet_loss(x, labels, with_self=with_self, published=published).item()
    expected = loops.weighted_triplet(x, labels, with_self=with_self, published=published)
    assert value == pytest.approx(expected, **EXACT)


@few
@given(batches, st.booleans(), st.booleans(), st.sampled_from([0.5, 1.0, 2.0]))
def test_adaptive_triplet_equals_loops(made, square, published, factor):
    x, labels, _ = made
    options = {"gamma": factor, "alpha": 1 / factor, "square": square, "published": published}
    value = adaptive_triplet_loss(x, labels, **options).item()
    assert value == pytest.approx(loops.adaptive_triplet(x, labels, **options), **EXACT)


@few
@given(batches, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_gap_is_the_mean_of_the_loops_differences(made, factor):
    x, labels, _ = made
    found = triplet_gap(x.requires_grad_(), labels, alpha=factor)
    assert not found.requires_grad
    pairs = loops.gaps(x, labels, alpha=factor)
    assert found.item() == pytest.approx(loops.mean([b - a for a, b in pairs]), **EXACT)


def test_a_network_that_maps_all_images_to_one_point_has_no_gap():
    same, labels = torch.ones(8, 3), torch.arange(8) // 2
    assert triplet_gap(same, labels).item() == pytest.approx(0, abs=1e-4)
    assert triplet_gap(same, torch.zeros(8)).item() == 0  # nobody has a negative


def test_relative_distances_make_the_weights_independent_of_scale():
    x, labels, _ = batch(3)
    mean = torch.cdist(x, x).mean().item()
    value = weighted_triplet_loss(x, labels, relative=True).item()
    assert value == pytest.approx(loops.weighted_triplet(x, labels, alpha=1 / mean), **EXACT)
    gaps = [weighted_distances(s * x, labels, None, None, scale=1 / (s * mean))[0] / s for s in (1.0, 50.0)]
    torch.testing.assert_close(*gaps)


def at_mean_distance(wanted: float) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(64, 2048, generator=torch.Generator().manual_seed(0))
    return x * (wanted / torch.cdist(x, x).sum() * (64 * 63)), torch.arange(64) // 8


@pytest.mark.parametrize("wanted", [1.0, 20.0, 60.0])
def test_the_weighted_triplet_pushes_every_negative_at_any_distance(wanted):
    x, labels = at_mean_distance(wanted)
    a, b, usable = weighted_distances(x, labels, None, None)
    assert usable.all()
    assert (a < 1.1 * wanted).all() and (b > 0.9 * wanted).all()
    leaf = x.requires_grad_()
    loss = weighted_triplet_loss(leaf, labels)
    loss.backward()
    assert loss.isfinite() and leaf.grad.isfinite().all()
    # the gradient by each single distance to a negative
    distance = torch.cdist(x.detach(), x.detach()).requires_grad_()
    negatives = labels[:, None] != labels[None, :]
    weights = (-distance).masked_fill(~negatives, -torch.inf).softmax(1)
    (by_distance,) = torch.autograd.grad((weights * distance).sum(), distance)
    assert (by_distance[negatives] != 0).all()


@pytest.mark.parametrize(("wanted", "correct", "published"), [(6.4, 0.698, 0.698), (19.3, 0.761, 15.2)])
def test_the_published_softmax_loses_its_negatives(wanted, correct, published):
    x, labels = at_mean_distance(wanted)
    assert weighted_triplet_loss(x, labels).item() == pytest.approx(correct, abs=0.02)
    assert weighted_triplet_loss(x, labels, published=True).item() == pytest.approx(published, rel=0.1)


def test_the_published_softmax_leaves_only_positives_at_large_distances():
    x, labels = at_mean_distance(60.0)
    _, b, usable = weighted_distances(x, labels, None, None, published=True)
    assert usable.all()
    assert (b < 1e-6).all()


def test_the_published_square_ends_at_88_with_no_gradient():
    x, labels = at_mean_distance(25.0)
    x.requires_grad_()
    for published in (True, False):
        loss = adaptive_triplet_loss(x, labels, published=published)
        (gradient,) = torch.autograd.grad(loss, x)
        assert gradient.isfinite().all()
        assert (gradient == 0).all() == published
        assert (loss.item() == pytest.approx(88.0)) == published


def test_equal_features_are_stationary_for_the_square():
    x = torch.ones(6, 4, requires_grad=True)
    loss = adaptive_triplet_loss(x, torch.arange(6) // 2)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert (x.grad == 0).all()


@pytest.mark.parametrize("loss", [weighted_triplet_loss, adaptive_triplet_loss, circle_loss])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]], ids=["no negatives", "no positives"])
def test_a_missing_side_contributes_nothing_and_stays_finite(loss, labels):
    x = batch(1)[0][:4].clone().requires_grad_()
    options = {"with_self": False} if loss is weighted_triplet_loss else {}
    value = loss(x, torch.tensor(labels), **options)
    value.backward()
    assert x.grad.isfinite().all()
    if labels[1] == 0 or loss is not adaptive_triplet_loss:  # which takes an anchor as its own positive
        assert value.item() == 0


@pytest.mark.parametrize("loss", [weighted_triplet_loss, adaptive_triplet_loss, circle_loss])
def test_anchors_may_be_some_of_the_candidates(loss):
    x, labels, _ = batch(5)
    options = {} if loss is adaptive_triplet_loss else {"first": 4}
    if loss is weighted_triplet_loss:
        options["with_self"] = False
    parts = []
    for first in (0, 4, 8, 12):
        rows = slice(first, first + 4)
        if "first" in options:
            options["first"] = first
        parts.append(loss(x[rows], labels[rows], candidates=x, candidate_labels=labels, **options))
    whole = {k: v for k, v in options.items() if k != "first"}
    torch.testing.assert_close(torch.stack(parts).mean(), loss(x, labels, **whole))
    with pytest.raises(ValueError, match="go together"):
        loss(x, labels, candidates=x)


def test_batch_hard_within_and_across_modalities():
    x, labels, infrared = batch(2)
    v, r = x[~infrared], x[infrared]
    y_v, y_r = labels[~infrared], labels[infrared]
    for anchors, ids, others, other_ids in ((v, y_v, v, y_v), (r, y_r, v, y_v)):
        value = triplet_loss(anchors, ids, margin=0.1, candidates=others, candidate_labels=other_ids).item()
        total = []
        for row, label in zip(anchors.tolist(), ids.tolist(), strict=True):
            pairs = [
                (loops.distance(row, o), i == label)
                for o, i in zip(others.tolist(), other_ids.tolist(), strict=True)
            ]
            total.append(
                max(0.1 + max(d for d, same in pairs if same) - min(d for d, same in pairs if not same), 0)
            )
        assert value == pytest.approx(loops.mean(total), **EXACT)


# Circle


@few
@given(batches, st.sampled_from([(0.5, 64.0), (0.25, 8.0)]))
def test_circle_equals_loops(made, options):
    x, labels, _ = made
    value = circle_loss(x, labels, margin=options[0], gamma=options[1]).item()
    assert value == pytest.approx(loops.circle(x, labels, *options), **EXACT)


def test_circle_as_published_when_nothing_is_said():
    x, labels, _ = batch(4)
    assert circle_loss(x, labels).item() == pytest.approx(loops.circle(x, labels, 0.5, 64.0), **EXACT)


def test_circle_weights_are_constants():
    x, labels, _ = batch(4)
    x.requires_grad_()
    (found,) = torch.autograd.grad(circle_loss(x, labels, gamma=4.0), x)
    unit = torch.nn.functional.normalize(x)
    s, fixed = unit @ unit.T, (unit @ unit.T).detach()
    same, eye = labels[:, None] == labels[None, :], torch.eye(len(x)).bool()
    a = (4 * (1.5 - fixed).clamp(min=0) * (0.5 - s)).masked_fill(~same | eye, -torch.inf).logsumexp(1)
    b = (4 * (0.5 + fixed).clamp(min=0) * (s - 0.5)).masked_fill(same, -torch.inf).logsumexp(1)
    (expected,) = torch.autograd.grad((1 + (a + b).exp()).log().mean(), x)
    torch.testing.assert_close(found, expected)


# Centres


@few
@given(batches, st.sampled_from([(0.7, 0.0), (0.7, 0.01), (6.0, 1.0)]))
def test_centre_cluster_equals_loops(made, margins):
    x, labels, _ = made
    value = centre_cluster_loss(x, labels, centre_margin=margins[0], inner_margin=margins[1]).item()
    assert value == pytest.approx(loops.centre_cluster(x, labels, *margins), **EXACT)


def test_centre_cluster_counts_identities_and_not_rows():
    x, labels, _ = batch(6, identities=3)
    keep = torch.ones(len(x), dtype=torch.bool)
    keep[(labels == 0).nonzero()[:3, 0]] = False  # one row of identity 0 is left, four of each other
    x, labels = x[keep], labels[keep]
    value = centre_cluster_loss(x, labels, centre_margin=5.0).item()
    assert value == pytest.approx(loops.centre_cluster(x, labels, 5.0, 0.0), abs=2e-6)


def test_rows_on_their_centre_have_no_gradient_and_no_nan():
    x = torch.zeros(4, 3, requires_grad=True)
    loss = centre_cluster_loss(x, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.7, abs=1e-5)
    assert (x.grad == 0).all()
    assert centre_cluster_loss(x, torch.zeros(4, dtype=torch.int64)).item() == pytest.approx(0, abs=1e-5)


@few
@given(batches, st.sampled_from([0.2, 3.0]))
def test_centre_mining_equals_loops(made, margin):
    x, labels, infrared = made
    other = 0.5 * x.flip(0) + x
    value = centre_mining_loss(x, other, labels, infrared, margin=margin).item()
    assert value == pytest.approx(loops.centre_mining(x, other, labels, infrared, margin), **EXACT)


def test_centre_mining_takes_the_distance_within_a_modality_as_a_bound_only():
    x, labels, infrared = batch(8, identities=2)
    x.requires_grad_()
    # far identities: only the bounds within a modality are active, and they must not be pushed apart
    far = x + 100.0 * labels[:, None]
    (gradient,) = torch.autograd.grad(centre_mining_loss(far, far + 1.0, labels, infrared, margin=5.0), x)
    value = centre_mining_loss(far, far + 1.0, labels, infrared, margin=5.0)
    step = 1e-4 * gradient / gradient.norm()
    assert gradient.norm() > 0.01
    assert centre_mining_loss(far - step, far + 1 - step, labels, infrared, margin=5.0) < value
    rows = (labels == 0) & ~infrared
    torch.testing.assert_close(gradient[rows][0], gradient[rows][1])  # centres only


def test_centre_mining_leaves_out_identities_of_one_modality():
    x, labels, infrared = batch(9, identities=3)
    alone = (labels == 1) & infrared
    kept = labels != 1
    value = centre_mining_loss(x[~alone], x[~alone] + 1, labels[~alone], infrared[~alone], margin=2.0)
    expected = centre_mining_loss(x[kept], x[kept] + 1, labels[kept], infrared[kept], margin=2.0)
    torch.testing.assert_close(value, expected)
    one = labels == 0
    assert centre_mining_loss(x[one], x[one], labels[one], infrared[one]).isfinite()


@few
@given(batches)
def test_discriminative_centre_equals_loops(made):
    x, labels, _ = made
    value = discriminative_centre_loss(x, labels).item()
    assert value == pytest.approx(loops.discriminative_centre(x, labels), **EXACT)


def test_equally_far_negatives_are_all_near():
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0], [2.0, 1.0], [2.0, -1.0]], requires_grad=True)
    loss = discriminative_centre_loss(x, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(1 / math.sqrt(5))
    assert x.grad.isfinite().all()


@few
@given(batches)
def test_shared_enhancement_equals_loops(made):
    x, labels, infrared = made
    value = shared_enhancement_loss(x, labels, infrared).item()
    assert value == pytest.approx(loops.shared_enhancement(x, labels, infrared), **EXACT)


def test_shared_enhancement_leaves_out_rows_without_partners():
    x, labels, infrared = batch(3)
    lone_x, lone_label = x[:1] + 9, torch.tensor([99])
    value = shared_enhancement_loss(
        torch.cat([x, lone_x]), torch.cat([labels, lone_label]), torch.cat([infrared, torch.tensor([True])])
    )
    torch.testing.assert_close(value, shared_enhancement_loss(x, labels, infrared))


# Cross-modality retrieval


def test_the_soft_rank_of_these_tests_sorts():
    assert loops.soft_rank([0.3, 90.0, -50.0, 40.0], 0.01) == pytest.approx([2, 4, 1, 3])
    ties = loops.soft_rank([1.0, 1.0, 1.0, 5.0], 0.1)
    assert ties == pytest.approx([2, 2, 2, 4])


@few
@given(batches)
def test_cross_retrieval_equals_soft_ranks(made):
    x, labels, infrared = made
    value = cross_retrieval_loss(x, labels, infrared).item()
    assert value == pytest.approx(loops.cross_retrieval(x, labels, infrared), **EXACT)


@pytest.mark.parametrize("rows", [(4, 9), (5, 4)])
def test_cross_retrieval_of_unequal_modalities_and_lone_queries(rows):
    count = sum(rows)
    x = batch(1, identities=4, images=3)[0][:count]
    infrared = torch.arange(count) >= rows[0]
    labels = torch.tensor([0, 1, 2, 0, 1, 1, 0, 5, 6, 0, 1, 2, 0])[:count]
    value = cross_retrieval_loss(x, labels, infrared).item()
    assert value == pytest.approx(loops.cross_retrieval(x, labels, infrared), **EXACT)


def test_opposite_cosines_stay_within_one_block():
    # the extreme case of the closed form: distances of 0 and 1 only, at the smallest n
    x = torch.tensor([[1.0, 0.0]] * 4 + [[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]).double()
    labels, infrared = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]), torch.arange(8) >= 4
    value = cross_retrieval_loss(x, labels, infrared).item()
    assert value == pytest.approx(loops.cross_retrieval(x, labels, infrared), **EXACT)


def test_cross_retrieval_refuses_fewer_than_four():
    x, labels, infrared = batch(1)
    few_rows = torch.cat([(~infrared).nonzero()[:3, 0], infrared.nonzero()[:, 0]])
    with pytest.raises(TrainingError, match=r"got 3 visible and 8 infrared; make batches larger"):
        cross_retrieval_loss(x[few_rows], labels[few_rows], infrared[few_rows])


# Discrepancy


@few
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_discrepancy_equals_loops(first, second, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (first, second))
    assert mmd_loss(x, y).item() == pytest.approx(loops.mmd(x, y), **EXACT)


def test_discrepancy_of_equal_sets_is_nothing_with_finite_gradients():
    x = batch(1)[0].requires_grad_()
    assert mmd_loss(x, x.detach().flip(0)).item() == pytest.approx(0, abs=1e-12)
    same = torch.ones(4, 3, requires_grad=True)
    mmd_loss(same, same).backward()
    assert same.grad.isfinite().all()


@pytest.mark.parametrize(
    "loss",
    [
        weighted_triplet_loss,
        lambda x, y, r: adaptive_triplet_loss(x, y),
        lambda x, y, r: centre_cluster_loss(x, y, centre_margin=3.0, inner_margin=0.1),
        lambda x, y, r: discriminative_centre_loss(x, y),
        shared_enhancement_loss,
        cross_retrieval_loss,
    ],
)
def test_gradients_by_finite_differences(loss):
    x, labels, infrared = batch(7, width=3)
    x.requires_grad_()

    def value(rows):
        return loss(rows, labels) if loss is weighted_triplet_loss else loss(rows, labels, infrared)

    assert torch.autograd.gradcheck(value, (x,))
