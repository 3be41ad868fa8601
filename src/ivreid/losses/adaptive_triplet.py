"""Squared weighted triplet of channel augmented joint learning (ADP)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ivreid.losses.pairs import mean_where
from ivreid.losses.weighted_triplet import weighted_distances
from ivreid.tensors import without_autocast

PUBLISHED_CLAMP = 88.0
"""Where the published program cuts gamma D^2, and with it the gradient."""


@without_autocast
def adaptive_triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    candidates: Tensor | None = None,
    candidate_labels: Tensor | None = None,
    gamma: float = 1.0,
    alpha: float = 1.0,
    square: bool = True,
    published: bool = False,
) -> Tensor:
    """Mean over anchors of log(1 + exp(sign(D) gamma D^2)), D = a - b of `weighted_distances`, sign(0) = -1.

    Source: Ye et al., "Channel Augmented Joint Learning for Visible-Infrared Recognition" (ICCV 2021), eq. 8.

    At D = 0 the loss is ln 2 and its gradient 0, so a network that maps all images to one point stays there;
    a loss that hovers at 0.69 is a sign of it, and `triplet_gap` shows it.

    In several processes: the own rows are anchors, the rows of all are candidates.

    Args:
        embeddings: (A, D) anchors, not normalised.
        labels: (A,).
        candidates: (N, D) rows among which positives and negatives are sought; None for the anchors.
        candidate_labels: (N,), given exactly when `candidates` is.
        gamma: Factor of D^2, or of D.
        alpha: Factor of distances inside the softmaxes.
        square: False takes gamma D in place of sign(D) gamma D^2, the weighted triplet with a factor.
        published: The published program's softmax (see `weighted_distances`), and gamma D^2 cut at 88, where
            the gradient ends; the logarithm is linear there, so nothing needs cutting.

    Returns:
        Scalar; an anchor without a positive or without a negative contributes 0.
    """
    positive, negative, usable = weighted_distances(
        embeddings, labels, candidates, candidate_labels, scale=alpha, published=published
    )
    gap = positive - negative
    if square:
        size = gamma * gap.square()
        if published:
            size = size.clamp(max=PUBLISHED_CLAMP)
        exponent = size * (2.0 * (gap > 0) - 1.0)
    else:
        exponent = gamma * gap
    return (functional.softplus(exponent) * usable).mean()


@torch.no_grad()
@without_autocast
def triplet_gap(
    embeddings: Tensor,
    labels: Tensor,
    *,
    candidates: Tensor | None = None,
    candidate_labels: Tensor | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """How much farther negatives lie than positives: the mean of b - a of `weighted_distances`, without gradient.

    0 says that the network maps all images to one point, where `adaptive_triplet_loss` has no gradient.

    Args:
        embeddings: (A, D) anchors, not normalised.
        labels: (A,).
        candidates: (N, D) rows among which positives and negatives are sought; None for the anchors.
        candidate_labels: (N,), given exactly when `candidates` is.
        alpha: Factor of distances inside the softmaxes.

    Returns:
        Scalar; anchors without a positive or without a negative are left out.
    """
    positive, negative, usable = weighted_distances(
        embeddings, labels, candidates, candidate_labels, scale=alpha
    )
    return mean_where(negative - positive, usable, 0)
