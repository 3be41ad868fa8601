"""Every loss against explicit loops written from its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.distributed.gather import gather_rows
from ivreid.losses import identity_loss, mutual_loss, triplet_loss


def log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = top + math.log(sum(math.exp(x - top) for x in row))
    return [x - total for x in row]


def loop_identity(logits: torch.Tensor, labels: torch.Tensor) -> float:
    rows = [-log_softmax(row)[label] for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    return sum(rows) / len(rows)


def loop_mutual(student: torch.Tensor, teacher: torch.Tensor, divisor: int) -> float:
    total = 0.0
    for own, other in zip(student.tolist(), teacher.tolist(), strict=True):
        for log_q, log_p in zip(log_softmax(own), log_softmax(other), strict=True):
            total += math.exp(log_p) * (log_p - log_q)
    return total / divisor


def loop_triplet(anchors, labels, candidates, candidate_labels, margin: float) -> float:
    total = 0.0
    for a, label in zip(anchors.tolist(), labels.tolist(), strict=True):
        positive, negative = -math.inf, math.inf
        for c, other in zip(candidates.tolist(), candidate_labels.tolist(), strict=True):
            d = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, c, strict=True)))
            if other == label:
                positive = max(positive, d)
            else:
                negative = min(negative, d)
        total += max(0.0, margin + positive - negative)
    return total / len(anchors)


batches = st.tuples(st.integers(1, 9), st.integers(2, 7), st.integers(0, 2**31))


def random_logits(shape, seed: int, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(batches)
def test_identity_equals_loops(batch):
    rows, classes, seed = batch
    logits = random_logits((rows, classes), seed)
    labels = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))
    assert identity_loss(logits, labels).item() == pytest.approx(loop_identity(logits, labels), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(batches)
def test_mutual_equals_loops_in_both_reductions(batch):
    rows, classes, seed = batch
    student, teacher = random_logits((rows, classes), seed), random_logits((rows, classes), seed + 1)
    by_rows = mutual_loss(student, teacher, "batchmean").item()
    by_all = mutual_loss(student, teacher, "mean").item()
    assert by_rows == pytest.approx(loop_mutual(student, teacher, rows), abs=1e-12)
    assert by_all == pytest.approx(loop_mutual(student, teacher, rows * classes), abs=1e-12)


def test_mutual_of_a_hand_worked_case():
    # teacher (1/2, 1/2), student (1/4, 3/4): KL = 1/2 ln 2 + 1/2 ln(2/3)
    student = torch.log(torch.tensor([[0.25, 0.75]], dtype=torch.float64))
    value = mutual_loss(student, torch.zeros(1, 2, dtype=torch.float64)).item()
    assert value == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), abs=1e-12)


def test_mutual_teaches_the_student_only():
    student, teacher = (random_logits((5, 4), seed).requires_grad_() for seed in (1, 2))
    mutual_loss(student, teacher).backward()
    assert teacher.grad is None
    # d/ds of KL(p || softmax s) is softmax(s) - p, over the rows
    expected = (student.softmax(1) - teacher.softmax(1)).detach() / 5
    torch.testing.assert_close(student.grad, expected)


def test_mutual_survives_a_certain_teacher():
    student = torch.tensor([[0.0, 0.0]], requires_grad=True)
    loss = mutual_loss(student, torch.tensor([[1e4, -1e4]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert student.grad.isfinite().all()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([0.0, 0.3, 2.0]))
def test_triplet_equals_loops(rows, dim, seed, margin):
    x = random_logits((rows, dim), seed, scale=1.0)
    labels = torch.randint(3, (rows,), generator=torch.Generator().manual_seed(seed))
    value = triplet_loss(x, labels, margin=margin).item()
    assert value == pytest.approx(loop_triplet(x, labels, x, labels, margin), abs=1e-9)


def test_triplet_seeks_among_other_candidates():
    x, labels = random_logits((12, 3), 7, scale=1.0), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    some = slice(3, 9)
    value = triplet_loss(x[some], labels[some], margin=0.3, candidates=x, candidate_labels=labels).item()
    assert value == pytest.approx(loop_triplet(x[some], labels[some], x, labels, 0.3), abs=1e-12)
    assert value != pytest.approx(triplet_loss(x[some], labels[some], margin=0.3).item())


def test_triplet_of_a_hand_worked_case():
    # on a line: 0 and 3 are one person, 4 another; anchors give 0.3+3-4 < 0, 0.3+3-1, 0.3+0-1 < 0
    x = torch.tensor([[0.0], [3.0], [4.0]])
    assert triplet_loss(x, torch.tensor([5, 5, 9]), margin=0.3).item() == pytest.approx(2.3 / 3)


def test_triplet_does_not_normalise():
    x, labels = random_logits((8, 4), 3).float(), torch.arange(8) // 4
    small = triplet_loss(x, labels, margin=0.0).item()
    assert triplet_loss(10 * x, labels, margin=0.0).item() == pytest.approx(10 * small, rel=1e-5)
    assert small > 0


def test_triplet_agrees_with_pytorch_metric_learning():
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = distances.LpDistance(normalize_embeddings=False)
    oracle = TripletMarginLoss(margin=0.3, distance=distance, reducer=MeanReducer())
    x, labels = random_logits((24, 16), 11, scale=1.0).requires_grad_(), torch.arange(24) // 4
    expected = oracle(x, labels, BatchHardMiner(distance=distance)(x, labels))
    (wanted,) = torch.autograd.grad(expected, x)
    value = triplet_loss(x, labels, margin=0.3)
    (found,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_triplet_gradient_by_finite_differences():
    x, labels = random_logits((6, 3), 5, scale=1.0).requires_grad_(), torch.arange(6) // 2
    assert torch.autograd.gradcheck(lambda v: triplet_loss(v, labels, margin=0.5), (x,))


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]], ids=["no negatives", "no positives"])
def test_triplet_stays_finite_where_a_side_is_missing(labels):
    x = random_logits((4, 3), 1).float().requires_grad_()
    loss = triplet_loss(x, torch.tensor(labels), margin=0.3)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()
    if len(set(labels)) == 1:
        assert loss.item() == 0


def test_triplet_of_equal_embeddings_is_the_margin_with_finite_gradients():
    x = torch.ones(6, 4, requires_grad=True)
    loss = triplet_loss(x, torch.arange(6) // 2, margin=0.3)
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert x.grad.isfinite().all()


def test_triplet_keeps_near_pairs_exact_far_from_the_origin():
    x = torch.tensor([[0.0, 0.0], [0.25, 0.0], [0.0, 0.5], [0.0, 0.75]]) + 4096  # exact in float32
    assert triplet_loss(x, torch.tensor([0, 0, 1, 1]), margin=1.0).item() == pytest.approx(
        loop_triplet(x, torch.tensor([0, 0, 1, 1]), x, torch.tensor([0, 0, 1, 1]), 1.0), abs=1e-6
    )


def test_candidates_need_their_labels():
    with pytest.raises(ValueError, match="go together"):
        triplet_loss(torch.ones(2, 2), torch.zeros(2), margin=0.3, candidates=torch.ones(2, 2))


def test_gather_rows_is_the_tensor_itself_with_one_process():
    x = torch.ones(3, 2, requires_grad=True)
    assert gather_rows(x) is x
