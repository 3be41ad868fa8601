"""Alignment of what classifiers say, between modalities and between kinds of features (CSA)."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.losses.mutual import symmetric_mutual_loss
from ivreid.losses.pairs import same_identity
from ivreid.tensors import without_autocast


@without_autocast
def class_alignment_loss(
    shared_visible: Tensor,
    shared_infrared: Tensor,
    specific_visible: Tensor,
    specific_infrared: Tensor,
    *,
    labels: Tensor | None = None,
    specific_weight: float = 0.8,
) -> Tensor:
    """J(V, R) + weight [J(V, V') + J(R, R')] of logits, J the symmetric divergence of their softmaxes.

    Source: Ren & Zhang, "Implicit Discriminative Knowledge Learning" (CVPR 2024), as its code has it.

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        shared_visible: (N, C) logits of shared features, V; row i of all four shows one identity.
        shared_infrared: (N, C), R.
        specific_visible: (N, C) logits of specific features, V'.
        specific_infrared: (N, C), R'.
        labels: (N,) identities: the first row of each is joined to one of P C logits, so that a softmax goes
            over a whole batch, and so are the second rows, the third... None leaves rows as they are.
        specific_weight: See above.

    Returns:
        Scalar.
    """
    turn = None if labels is None else _turn(labels)

    def divergence(one: Tensor, other: Tensor) -> Tensor:
        return symmetric_mutual_loss(one, other) if turn is None else _joined_divergence(one, other, turn)

    v, r = shared_visible, shared_infrared
    specific = divergence(v, specific_visible) + divergence(r, specific_infrared)
    return divergence(v, r) + specific_weight * specific


def _turn(labels: Tensor) -> Tensor:
    """How many rows of its identity stand before each row: (N,) -> (N,)."""
    return same_identity(labels, labels).tril(-1).sum(1)


def _joined_divergence(one: Tensor, other: Tensor, turn: Tensor) -> Tensor:
    """The symmetric divergence where a softmax goes over all rows of one turn, the mean over turns."""
    # masks, not a view of another shape: a GPU would have to say how many identities there are
    apart = turn[:, None] != turn[None, :]
    log_p, log_q = (
        logits
        - logits.logsumexp(1).expand_as(apart).masked_fill(apart, -torch.inf).logsumexp(1, keepdim=True)
        for logits in (one, other)
    )
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum() / (turn.max() + 1)
