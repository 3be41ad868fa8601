"""Losses of single rows, of masks and of soft targets against loops."""

from __future__ import annotations

import math

import loops
import pytest
import torch
from torch.nn import functional

from ivreid.losses import (
    diversity_loss,
    identity_loss,
    mutual_loss,
    orthogonality_loss,
    reverse_mutual_loss,
    separation_loss,
    soft_identity_loss,
)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_smoothed_identity_equals_loops():
    logits, labels = randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        for c, p in enumerate(loops.softmax(row)):
            total -= (0.1 / 5 + (0.9 if c == label else 0.0)) * math.log(p)
    assert identity_loss(logits, labels, smoothing=0.1).item() == pytest.approx(total / 6, abs=1e-12)


def test_reverse_mutual_equals_loops_and_teaches_the_student_only():
    student, teacher = (randn(4, 3, seed=seed).requires_grad_() for seed in (1, 2))
    total = 0.0
    for own, other in zip(student.tolist(), teacher.tolist(), strict=True):
        for p, q in zip(loops.softmax(own), loops.softmax(other), strict=True):
            total += p * math.log(p / q)
    loss = reverse_mutual_loss(student, teacher)
    assert loss.item() == pytest.approx(total / 4, abs=1e-12)
    loss.backward()
    assert teacher.grad is None
    # d/ds_k of sum_c p_c log(p_c / q_c) is p_k (log(p_k / q_k) - KL)
    p, q = student.detach().softmax(1), teacher.detach().softmax(1)
    logs = (p / q).log()
    torch.testing.assert_close(student.grad, p * (logs - (p * logs).sum(1, keepdim=True)) / 4)


def test_the_two_directions_differ():
    a, b = randn(4, 3, seed=1), randn(4, 3, seed=2)
    assert reverse_mutual_loss(a, b).item() == pytest.approx(mutual_loss(b, a).item(), abs=1e-12)
    assert abs(reverse_mutual_loss(a, b) - mutual_loss(a, b)) > 0.01


def test_a_certain_teacher_leaves_everything_finite():
    for loss in (reverse_mutual_loss, soft_identity_loss):
        student = torch.zeros(1, 2, requires_grad=True)
        value = loss(student, torch.tensor([[1e4, -1e4]]))
        value.backward()
        assert value.isfinite() and student.grad.isfinite().all()


def test_soft_targets_equal_loops_with_the_gradient_of_the_divergence():
    student, teacher = (randn(4, 3, seed=seed).requires_grad_() for seed in (1, 2))
    total = 0.0
    for own, other in zip(student.tolist(), teacher.tolist(), strict=True):
        for p, q in zip(loops.softmax(own), loops.softmax(other), strict=True):
            total -= q * math.log(p)
    loss = soft_identity_loss(student, teacher)
    assert loss.item() == pytest.approx(total / 4, abs=1e-12)
    (found,) = torch.autograd.grad(loss, student)
    (expected,) = torch.autograd.grad(mutual_loss(student, teacher), student)
    torch.testing.assert_close(found, expected)
    soft_identity_loss(student, teacher).backward()
    assert teacher.grad is None


def test_orthogonality_is_signed_and_counts_all_branches():
    a, b = randn(4, 3, seed=1), randn(4, 3, seed=2)
    expected = sum(loops.dot(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)) / 12
    assert orthogonality_loss(a, b).item() == pytest.approx(expected, abs=1e-12)
    assert orthogonality_loss(a, -b).item() == pytest.approx(-expected, abs=1e-12)


def test_separation_equals_loops():
    masks = randn(3, 4, 5, 2).sigmoid()
    assert separation_loss(masks).item() == pytest.approx(loops.separation(masks), abs=1e-12)
    apart = functional.one_hot(torch.arange(6), 6).double().view(1, 6, 3, 2)
    assert separation_loss(apart).item() == 0


def test_diversity_equals_loops():
    attention = randn(3, 4, 10).sigmoid()
    assert diversity_loss(attention).item() == pytest.approx(loops.diversity(attention), abs=1e-12)
    same = torch.ones(2, 3, 4, requires_grad=True)
    diversity_loss(same).backward()
    assert same.grad.isfinite().all()
