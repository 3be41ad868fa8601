"""Triplet loss with batch-hard mining."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ivreid.losses.pairs import euclidean, same_identity
from ivreid.tensors import without_autocast


@without_autocast
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

    In several processes: the own rows are anchors, the rows of all are candidates.

    Within a modality: give its rows alone. Across: one modality's rows as anchors, the other's as candidates.

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
    same = same_identity(labels, other_labels)
    distance = euclidean(embeddings, others)
    # max and min over an index, not amax and amin: among equally hard pairs the gradient goes to one
    positive = distance.masked_fill(~same, -torch.inf).max(dim=1).values
    negative = distance.masked_fill(same, torch.inf).min(dim=1).values
    return functional.relu(margin + positive - negative).mean()
