"""Weighted regularised triplet: every positive and negative counts, by a softmax over distances."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ivreid.losses.pairs import euclidean, own_pairs, same_identity
from ivreid.tensors import without_autocast


@without_autocast
def weighted_triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    candidates: Tensor | None = None,
    candidate_labels: Tensor | None = None,
    first: int = 0,
    with_self: bool = True,
    relative: bool = False,
    published: bool = False,
) -> Tensor:
    """Mean over anchors i of log(1 + exp(a_i - b_i)); for a and b see `weighted_distances`.

    Source: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook" (TPAMI 2021), eq. 9.

    In several processes: the own rows are anchors, the rows of all are candidates.

    Args:
        embeddings: (A, D) anchors, not normalised.
        labels: (A,).
        candidates: (N, D) rows among which positives and negatives are sought; None for the anchors.
        candidate_labels: (N,), given exactly when `candidates` is.
        first: The candidate that the first anchor is; the others follow.
        with_self: Whether an anchor is a positive of its own, at distance 0, as published.
        relative: Divide distances inside the softmaxes by their mean over all candidates, a constant.
        published: The published program's softmax, see `weighted_distances`.

    Returns:
        Scalar; an anchor without a positive or without a negative contributes 0.
    """
    others = embeddings if candidates is None else candidates
    scale: float | Tensor = 1.0
    if relative:
        mean = euclidean(others.detach(), others.detach()).mean()
        scale = 1 / mean.clamp(min=torch.finfo(mean.dtype).tiny)
    positive, negative, usable = weighted_distances(
        embeddings,
        labels,
        candidates,
        candidate_labels,
        first=first,
        with_self=with_self,
        scale=scale,
        published=published,
    )
    return (functional.softplus(positive - negative) * usable).mean()


@without_autocast
def weighted_distances(
    embeddings: Tensor,
    labels: Tensor,
    candidates: Tensor | None,
    candidate_labels: Tensor | None,
    *,
    first: int = 0,
    with_self: bool = True,
    scale: float | Tensor = 1.0,
    published: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """For each anchor the weighted mean distance to its positives, to its negatives, and whether it has both.

    a_i = sum_j softmax_j(scale d_ij) d_ij over the positives, b_i = sum_j softmax_j(-scale d_ij) d_ij over
    the negatives. Gradients pass through the weights too.

    The published program takes the largest value over the whole row, with 0 at what is no member, off the
    exponents, and adds 1e-6 to their sum. For negatives that value is 0 and not the largest member: all
    weights vanish once distances pass about 14, b_i is 0, and nothing pushes negatives away any more.

    Shape:
        (A, D), (A,), (N, D), (N,) -> (A,), (A,), (A,) bool; the other arguments as `weighted_triplet_loss`.
    """
    if (candidates is None) != (candidate_labels is None):
        raise ValueError("candidates and candidate_labels go together")
    others = embeddings if candidates is None else candidates
    same = same_identity(labels, labels if candidate_labels is None else candidate_labels)
    negatives = ~same
    positives = same if with_self else same & ~own_pairs(same, first)
    distance = euclidean(embeddings, others)
    weigh = _published_weights if published else _weights
    a = (weigh(scale * distance, positives) * distance).sum(1)
    b = (weigh(-scale * distance, negatives) * distance).sum(1)
    return a, b, positives.any(1) & negatives.any(1)


def _weights(values: Tensor, members: Tensor) -> Tensor:
    """Softmax over the members of each row; 0 where a row has none."""
    some = members.any(1, keepdim=True)
    return values.masked_fill(~members & some, -torch.inf).softmax(1) * members


def _published_weights(values: Tensor, members: Tensor) -> Tensor:
    largest = (values * members).max(1, keepdim=True).values
    # what is no member may lie far above the largest member, and infinity times 0 is NaN
    powers = (values - largest).masked_fill(~members, -torch.inf).exp()
    return powers / (powers.sum(1, keepdim=True) + 1e-6)
