"""Alignment of who is near whom, between modalities and between kinds of features (TGSA)."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.losses.mutual import symmetric_mutual_loss
from ivreid.losses.pairs import euclidean
from ivreid.tensors import without_autocast


@without_autocast
def graph_alignment_loss(
    shared_visible: Tensor,
    shared_infrared: Tensor,
    specific_visible: Tensor,
    specific_infrared: Tensor,
    *,
    specific_weight: float = 0.6,
    published: bool = False,
) -> Tensor:
    """Symmetric divergences between rows of distances, each row as a distribution over the other rows.

    J(V, R) + J(V, M) + J(M, R) + weight [J(V, V') + J(R, R')], where V, R are the rows of distances among
    shared features of a modality, V', R' those of specific ones, and M those among shared features of both: row
    i is visible where i is even, else infrared, so that it stands for the same identity as row i of V and R.

    Source: Ren & Zhang, "Implicit Discriminative Knowledge Learning" (CVPR 2024), as its code has it.

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        shared_visible: (N, D); row i of all four shows one identity.
        shared_infrared: (N, D).
        specific_visible: (N, D).
        specific_infrared: (N, D).
        specific_weight: See above.
        published: M as in the published program, the first half of the visible and of the infrared rows, whose
            identities are not those of the other graphs' rows.

    Returns:
        Scalar.
    """
    count = len(shared_visible)
    if published:
        half = count - count // 2
        mixed = torch.cat([shared_visible[:half], shared_infrared[: count - half]])
    else:
        even = torch.arange(count, device=shared_visible.device)[:, None] % 2 == 0
        mixed = torch.where(even, shared_visible, shared_infrared)
    v, r, m, own_v, own_r = (
        _distances(rows)
        for rows in (shared_visible, shared_infrared, mixed, specific_visible, specific_infrared)
    )
    shared = symmetric_mutual_loss(v, r) + symmetric_mutual_loss(v, m) + symmetric_mutual_loss(m, r)
    specific = symmetric_mutual_loss(v, own_v) + symmetric_mutual_loss(r, own_r)
    return shared + specific_weight * specific


def _distances(rows: Tensor) -> Tensor:
    """(N, D) -> (N, N - 1): distances to the other rows."""
    # columns by number: a mask would have a GPU say how many entries it holds
    place = torch.arange(len(rows), device=rows.device)
    others = place[:-1] + (place[:-1] >= place[:, None])
    return euclidean(rows, rows).gather(1, others).clamp(min=1e-6)
