"""Centre cluster loss: rows near their identity's centre, centres apart."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.losses.pairs import class_means, euclidean, identity_shares, row_distance, same_identity
from ivreid.tensors import without_autocast


@without_autocast
def centre_cluster_loss(
    embeddings: Tensor, labels: Tensor, *, centre_margin: float = 0.7, inner_margin: float = 0.0
) -> Tensor:
    """Mean over rows of (|x - c_y| - inner)+ plus mean over pairs of identities of (centre - |c_i - c_j|)+.

    c_i is the mean of all rows of identity i, of both modalities.

    Source: Wu et al., "Discover Cross-Modality Nuances" (CVPR 2021), eq. 8, without an inner margin; Fang et
        al., "Visible-Infrared Person Re-Identification via Semantic Alignment" (ICCV 2023), with one.

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        embeddings: (B, D), not normalised.
        labels: (B,).
        centre_margin: Distance that centres shall have.
        inner_margin: Distance to its centre that a row may have.

    Returns:
        Scalar; with one identity the second mean is 0.
    """
    centres, _ = class_means(embeddings, labels)
    inner = (row_distance(embeddings, centres) - inner_margin).relu().mean()
    share = identity_shares(labels, embeddings.dtype)
    pairs = share[:, None] * share[None, :] * ~same_identity(labels, labels)
    near = (centre_margin - euclidean(centres, centres)).relu()
    return inner + (pairs * near).sum() / pairs.sum().clamp(min=torch.finfo(pairs.dtype).tiny)
