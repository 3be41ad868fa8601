"""Alignment of what classifiers say, between modalities and between kinds of features (CSA)."""

from __future__ import annotations

from torch import Tensor

from ivreid.losses.mutual import symmetric_mutual_loss
from ivreid.tensors import without_autocast


@without_autocast
def class_alignment_loss(
    shared_visible: Tensor,
    shared_infrared: Tensor,
    specific_visible: Tensor,
    specific_infrared: Tensor,
    *,
    identities: int = 1,
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
        identities: P; the logits of one row of each identity are joined to one of P C, so that a softmax
            goes over a whole batch. Rows must stand identity by identity, N / P of each. 1 leaves rows as
            they are.
        specific_weight: See above.

    Returns:
        Scalar.
    """
    v, r, own_v, own_r = (
        logits if identities == 1 else _joined(logits, identities)
        for logits in (shared_visible, shared_infrared, specific_visible, specific_infrared)
    )
    specific = symmetric_mutual_loss(v, own_v) + symmetric_mutual_loss(r, own_r)
    return symmetric_mutual_loss(v, r) + specific_weight * specific


def _joined(logits: Tensor, identities: int) -> Tensor:
    """(P K, C) -> (K, P C)."""
    return logits.view(identities, -1, logits.shape[1]).transpose(0, 1).flatten(1)
