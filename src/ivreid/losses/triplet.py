"""Triplet loss with batch-hard mining."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float,
    candidates: Tensor | None = None,
    candidate_labels: Tensor | None = None,
) -> Tensor:
    """Mean over anchors of max(0, margin + d(farthest positive) - d(nearest negative)), d Euclidean.

    Source: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification" (2017), eq. 5, as
        the mean. The embeddings are taken as they are, not normalised; every anchor counts in the mean, also
        with a loss of 0. An anchor without a negative, or with neither itself nor another positive among the
        candidates, contributes 0.

    Args:
        embeddings: (A, D) anchors.
        labels: (A,) identity of each anchor.
        margin: Distance by which a negative must be farther than a positive, in the embedding's unit.
        candidates: (N, D) rows among which positives and negatives are sought, e.g. the batch of all
            processes (`gather_rows`); None for the anchors themselves.
        candidate_labels: (N,) their identities; given exactly when `candidates` is.

    Returns:
        Scalar.
    """
    if (candidates is None) != (candidate_labels is None):
        raise ValueError("candidates and candidate_labels go together")
    others = embeddings if candidates is None else candidates
    other_labels = labels if candidate_labels is None else candidate_labels
    same = labels[:, None] == other_labels[None, :]
    # differences first: |x|^2 + |y|^2 - 2xy loses the near pairs, which are the ones that matter, to rounding
    distance = torch.cdist(embeddings, others, compute_mode="donot_use_mm_for_euclid_dist")
    # max and min over an index, not amax and amin: among equally hard pairs the gradient goes to one
    positive = distance.masked_fill(~same, -torch.inf).max(dim=1).values
    negative = distance.masked_fill(same, torch.inf).min(dim=1).values
    return functional.relu(margin + positive - negative).mean()
