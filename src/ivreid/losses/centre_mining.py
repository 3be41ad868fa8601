"""Centre-guided pair mining of diverse embedding expansion (CPM)."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.losses.pairs import class_means, euclidean, identity_shares, row_distance, same_identity
from ivreid.tensors import without_autocast


@without_autocast
def centre_mining_loss(
    branch: Tensor, other: Tensor, labels: Tensor, infrared: Tensor, *, margin: float = 0.2
) -> Tensor:
    """Centres of two branches of the network: near across modality, apart across identity.

    With A_v, A_r, B_v, B_r the means of an identity's rows of one modality in each branch, u = |A_r - B_v|,
    w = |A_v - B_r|, n(T) the distance to the nearest other identity's centre in T, sg[.] a constant, and
    H(p, q) the mean over identities of (margin + p - q)+:

    1/2 { H(u, sg|A_v - B_v|) + 1/2 [H(u, n(B_v)) + H(u, n(A_v))]
        + H(w, sg|A_r - B_r|) + 1/2 [H(w, n(B_r)) + H(w, n(A_r))] }

    Source: Zhang & Wang, "Diverse Embedding Expansion Network" (CVPR 2023), sec. 3.3, as its code has it.

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        branch: (B, D) rows of the unexpanded branch, A.
        other: (B, D) the same images in an expanded branch, B.
        labels: (B,).
        infrared: (B,) bool.
        margin: See above.

    Returns:
        Scalar; identities without rows of both modalities are left out.
    """
    infrared = infrared.to(labels.device, non_blocking=True)
    (a_v, count_v), (a_r, count_r) = (class_means(branch, labels, rows) for rows in (~infrared, infrared))
    (b_v, _), (b_r, _) = (class_means(other, labels, rows) for rows in (~infrared, infrared))
    whole = (count_v > 0) & (count_r > 0)
    share = identity_shares(labels, branch.dtype, whole)
    blocked = same_identity(labels, labels) | ~whole[None, :]

    def nearest(centres: Tensor) -> Tensor:
        return euclidean(centres, centres).masked_fill(blocked, torch.inf).min(1).values

    def half(across: Tensor, within: Tensor, first: Tensor, second: Tensor) -> Tensor:
        def hinge(bound: Tensor) -> Tensor:
            return (share * (margin + across - bound).relu()).sum()

        return hinge(within.detach()) + (hinge(nearest(first)) + hinge(nearest(second))) / 2

    visible = half(row_distance(a_r, b_v), row_distance(a_v, b_v), b_v, a_v)
    return (visible + half(row_distance(a_v, b_r), row_distance(a_r, b_r), b_r, a_r)) / 2
