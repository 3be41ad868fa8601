"""Circle loss: pairs weighted by how far each is from its optimum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ivreid.losses.pairs import own_pairs, same_identity
from ivreid.tensors import without_autocast


@without_autocast
def circle_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.5,
    gamma: float = 64.0,
    candidates: Tensor | None = None,
    candidate_labels: Tensor | None = None,
    first: int = 0,
) -> Tensor:
    """Mean over anchors of log(1 + sum_positives exp(a_ij) sum_negatives exp(b_ij)) over cosines s.

    a_ij = gamma (1 + m - s0)+ (1 - m - s) and b_ij = gamma (m + s0)+ (s - m), where s0 is s as a constant.

    Source: Sun et al., "Circle Loss" (CVPR 2020), eq. 6 and 7, each row an anchor.

    In several processes: the own rows are anchors, the rows of all are candidates.

    Args:
        embeddings: (A, D) anchors; only their directions count.
        labels: (A,).
        margin: m.
        gamma: Scale.
        candidates: (N, D) rows among which pairs are sought; None for the anchors.
        candidate_labels: (N,), given exactly when `candidates` is.
        first: The candidate that the first anchor is; the others follow. No anchor is its own positive.

    Returns:
        Scalar; an anchor without a positive or without a negative contributes 0.
    """
    if (candidates is None) != (candidate_labels is None):
        raise ValueError("candidates and candidate_labels go together")
    others = embeddings if candidates is None else candidates
    same = same_identity(labels, labels if candidate_labels is None else candidate_labels)
    positives, negatives = same & ~own_pairs(same, first), ~same
    s = functional.normalize(embeddings) @ functional.normalize(others).T
    s0 = s.detach()
    a = gamma * (1 + margin - s0).relu() * (1 - margin - s)
    b = gamma * (margin + s0).relu() * (s - margin)
    usable = positives.any(1) & negatives.any(1)
    both = _log_sum(a, positives) + _log_sum(b, negatives)
    return torch.where(usable, functional.softplus(both), torch.zeros_like(both)).mean()


def _log_sum(values: Tensor, members: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials over the members of each row; of all where a row has none."""
    return values.masked_fill(~members & members.any(1, keepdim=True), -torch.inf).logsumexp(1)
