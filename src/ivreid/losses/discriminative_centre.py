"""Discriminative centre loss: distances to the own centre over distances to near other centres (DCL)."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.losses.pairs import class_means, euclidean, identity_shares, mean_where, same_identity
from ivreid.tensors import without_autocast


@without_autocast
def discriminative_centre_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Mean distance of rows to their own centre, over the mean over centres of the distance to near negatives.

    A centre is the mean of an identity's rows of both modalities, with its gradient. Its near negatives are
    the rows of others that lie nearer than they do on average; where all lie equally far, all of them.

    Source: Lu et al., "Learning Progressive Modality-Shared Transformers" (AAAI 2023), eq. 8 to 10.

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        embeddings: (B, D), not normalised, of two identities or more.
        labels: (B,).

    Returns:
        Scalar.
    """
    centres, _ = class_means(embeddings, labels)
    distance = euclidean(centres, embeddings)
    other = ~same_identity(labels, labels)
    mean = mean_where(distance, other, 1)
    near = other & (distance < mean[:, None])
    negative = torch.where(near.any(1), mean_where(distance, near, 1), mean)
    positive = distance.diagonal().mean()
    return positive / (identity_shares(labels, distance.dtype) * negative).sum()
