"""Losses that align distributions, against loops."""

from __future__ import annotations

import loops
import pytest
import torch
from test_metric_losses import EXACT, batch

from ivreid.losses import (
    class_alignment_loss,
    graph_alignment_loss,
    purification_loss,
    symmetric_mutual_loss,
)


def four(count: int, width: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, width, generator=generator, dtype=torch.float64) for _ in range(4)]


def test_symmetric_divergence_equals_loops_and_teaches_both():
    a, b = (rows.requires_grad_() for rows in four(5, 3)[:2])
    loss = symmetric_mutual_loss(a, b)
    assert loss.item() == pytest.approx(loops.symmetric_mutual(a.tolist(), b.tolist()), **EXACT)
    assert symmetric_mutual_loss(b, a).item() == pytest.approx(loss.item(), **EXACT)
    assert torch.autograd.gradcheck(symmetric_mutual_loss, (a, b))
    certain = torch.tensor([[1e3, -1e3]], requires_grad=True)
    symmetric_mutual_loss(certain, -certain.detach()).backward()
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize("count", [6, 7])
@pytest.mark.parametrize("published", [False, True])
def test_graph_alignment_equals_loops(count, published):
    v, r, own_v, own_r = four(count, 4)
    half = (count + 1) // 2
    if published:
        mixed = v.tolist()[:half] + r.tolist()[: count - half]
    else:
        mixed = [(v if i % 2 == 0 else r)[i].tolist() for i in range(count)]
    value = graph_alignment_loss(v, r, own_v, own_r, specific_weight=0.5, published=published).item()
    assert value == pytest.approx(loops.graph_alignment(v, r, own_v, own_r, 0.5, mixed), **EXACT)


def test_equal_graphs_cost_nothing_unless_the_mixed_rows_are_misplaced():
    v = four(6, 4)[0]
    assert graph_alignment_loss(v, v, v, v).item() == pytest.approx(0, abs=1e-12)
    assert graph_alignment_loss(v, v, v, v, published=True).item() > 0.01
    same = torch.ones(4, 3, requires_grad=True)
    graph_alignment_loss(same, same, same, same).backward()
    assert same.grad.isfinite().all()


def test_class_alignment_equals_loops():
    v, r, own_v, own_r = (rows.tolist() for rows in four(6, 4))
    expected = loops.symmetric_mutual(v, r) + 0.8 * (
        loops.symmetric_mutual(v, own_v) + loops.symmetric_mutual(r, own_r)
    )
    assert class_alignment_loss(*four(6, 4)).item() == pytest.approx(expected, **EXACT)


def test_joined_class_alignment_goes_over_one_row_of_each_identity():
    identities, images = 3, 2
    joined = [
        [[value for p in range(identities) for value in rows.tolist()[p * images + k]] for k in range(images)]
        for rows in four(identities * images, 4)
    ]
    v, r, own_v, own_r = joined
    expected = loops.symmetric_mutual(v, r) + 0.3 * (
        loops.symmetric_mutual(v, own_v) + loops.symmetric_mutual(r, own_r)
    )
    labels = torch.arange(identities).repeat_interleave(images)
    value = class_alignment_loss(*four(6, 4), labels=labels, specific_weight=0.3).item()
    assert value == pytest.approx(expected, **EXACT)
    order = torch.tensor([4, 0, 2, 5, 3, 1])  # the same rows of each identity come first
    rows = [rows[order] for rows in four(6, 4)]
    turned = class_alignment_loss(*rows, labels=labels[order], specific_weight=0.3).item()
    assert turned == pytest.approx(expected, **EXACT)
    shared = four(6, 4)[0].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda rows: class_alignment_loss(rows, *four(6, 4)[1:], labels=labels), (shared,)
    )


def test_purification_equals_loops():
    x, labels, infrared = batch(3)
    masked_logits, logits, masked, _ = four(len(x), 4, seed=5)
    value = purification_loss(masked_logits, logits, masked, 0.5 * masked.flip(0), labels, infrared).item()
    expected = loops.purification(masked_logits, logits, masked, 0.5 * masked.flip(0), labels, infrared)
    assert value == pytest.approx(expected, **EXACT)
    assert purification_loss(logits, logits, x, x, labels, infrared).item() == pytest.approx(0, abs=1e-12)
