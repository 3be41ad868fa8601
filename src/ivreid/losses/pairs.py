"""What losses over pairs of rows and over identities share."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_SQUARE = 1e-12
"""Under a square root: its gradient at 0 is infinite."""


def euclidean(rows: Tensor, others: Tensor) -> Tensor:
    """All distances: (A, D), (N, D) -> (A, N); the gradient of a distance of 0 is 0."""
    # differences first: |x|^2 + |y|^2 - 2xy loses the near pairs, which are the ones that matter, to rounding
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


def row_distance(rows: Tensor, others: Tensor) -> Tensor:
    """Distance of each row to its partner: (B, D), (B, D) -> (B,), at least 1e-6."""
    return (rows - others).square().sum(1).clamp(min=SMALLEST_SQUARE).sqrt()


def same_identity(labels: Tensor, others: Tensor) -> Tensor:
    """Whether row and other show one identity: (A,), (N,) -> (A, N) bool."""
    return labels[:, None] == others[None, :]


def own_pairs(pairs: Tensor, first: int = 0) -> Tensor:
    """Whether a candidate is the anchor itself, anchor i being candidate first + i; shaped as `pairs` (A, N)."""
    anchors, candidates = pairs.shape
    places = torch.arange(first, first + anchors, device=pairs.device)
    return places[:, None] == torch.arange(candidates, device=pairs.device)[None, :]


def class_means(rows: Tensor, labels: Tensor, counted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """For each row the mean of its identity's rows, and how many there are.

    Sums over a mask, so that no figure of the batch need come to the host.

    Args:
        rows: (B, D).
        labels: (B,).
        counted: (B,) bool, the rows that enter the means; None for all.

    Returns:
        (B, D), 0 where an identity has none of the counted rows, and (B,) counts.
    """
    same = same_identity(labels, labels)
    if counted is not None:
        same = same & counted.to(same.device, non_blocking=True)[None, :]
    count = same.sum(1)
    return (same.to(rows.dtype) / count.clamp(min=1)[:, None].to(rows.dtype)) @ rows, count


def mean_where(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean over the masked entries of a dimension, 0 where there is none."""
    total = torch.where(mask, values, torch.zeros_like(values)).sum(dim)
    return total / mask.sum(dim).clamp(min=1).to(values.dtype)


def identity_shares(labels: Tensor, dtype: torch.dtype, counted: Tensor | None = None) -> Tensor:
    """Weights (B,) with which a sum over rows is a mean over identities.

    Args:
        labels: (B,).
        dtype: Of the weights.
        counted: (B,) bool, equal within an identity: the identities that enter the mean; None for all.
    """
    share = 1 / same_identity(labels, labels).sum(1).to(dtype)
    if counted is not None:
        share = share * counted
    return share / share.sum().clamp(min=torch.finfo(dtype).tiny)
