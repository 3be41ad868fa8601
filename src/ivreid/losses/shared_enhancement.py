"""Modality-shared enhancement: distances across modalities as those within (MSEL)."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.losses.pairs import euclidean, mean_where, own_pairs, same_identity
from ivreid.tensors import without_autocast


@without_autocast
def shared_enhancement_loss(embeddings: Tensor, labels: Tensor, infrared: Tensor) -> Tensor:
    """Half of the mean over visible, and of that over infrared rows, of (cross - within)^2.

    For a row, `cross` is its mean distance to its identity's rows of the other modality, `within` that to
    the other rows of its own modality.

    Source: Lu et al., "Learning Progressive Modality-Shared Transformers" (AAAI 2023), eq. 5 to 7.

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        embeddings: (B, D), not normalised.
        labels: (B,).
        infrared: (B,) bool.

    Returns:
        Scalar; rows that lack either kind of partner are left out.
    """
    infrared = infrared.to(labels.device, non_blocking=True)
    distance = euclidean(embeddings, embeddings)
    same, alike = same_identity(labels, labels), infrared[:, None] == infrared[None, :]
    across, beside = same & ~alike, same & alike & ~own_pairs(same)
    squares = (mean_where(distance, across, 1) - mean_where(distance, beside, 1)).square()
    usable = across.any(1) & beside.any(1)
    sides = torch.stack([~infrared & usable, infrared & usable])
    return mean_where(squares.expand(2, -1), sides, 1).mean()
