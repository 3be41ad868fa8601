"""Cross-modality retrieval loss: soft ranks of the other modality's rows, in closed form (CMR)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ivreid.errors import TrainingError
from ivreid.losses.pairs import mean_where, same_identity
from ivreid.tensors import modality_rows, without_autocast

SMALLEST_GALLERY = 4
"""Rows of each modality from which on the closed form is the soft ranks'."""


@without_autocast
def cross_retrieval_loss(embeddings: Tensor, labels: Tensor, infrared: Tensor) -> Tensor:
    """How far the soft ranks of a query's candidates are from 1 (its identity) and n (the others).

    Queries are the rows of one modality, candidates the n rows of the other, d = (1 - cosine) / 2. The loss
    is the mean absolute difference over all pairs of a modality's queries, averaged over both modalities.

    No ranks need be computed. An l2 soft rank of strength 1/2 projects d / (1/2) onto the permutahedron of
    (1..n). Values between 0 and 2 fall into one block whenever n >= 4, as the mean of the k largest less the
    mean of the rest is at most 2 <= n / 2; so rank_j = 2 (d_j - mean d) + (n + 1) / 2, which lies between 1
    and n, and for a query with m positives the mean absolute difference is
    (n - 1) / 2 + 4 m (n - m) / n^2 (mean positive d - mean negative d).

    Source: Liang et al., "Bridging the Gap: Multi-Level Cross-Modality Joint Alignment" (TCSVT 2024), sec.
        III-C; soft ranks: Blondel et al., "Fast Differentiable Sorting and Ranking" (ICML 2020).

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        embeddings: (B, D); only their directions count.
        labels: (B,).
        infrared: (B,) bool.

    Returns:
        Scalar; queries without a positive or without a negative are left out.

    Raises:
        TrainingError: Fewer than 4 rows of a modality.
    """
    v, r = modality_rows(infrared, embeddings.device)
    if min(len(v), len(r)) < SMALLEST_GALLERY:
        raise TrainingError(
            f"the cross-modality retrieval loss needs {SMALLEST_GALLERY} or more images of each modality in a "
            f"batch, got {len(v)} visible and {len(r)} infrared; make batches larger"
        )
    unit = functional.normalize(embeddings)
    distance = (1 - unit[v] @ unit[r].T) / 2
    same = same_identity(labels[v], labels[r])
    return (_queries(distance, same) + _queries(distance.T, same.T)) / 2


def _queries(distance: Tensor, same: Tensor) -> Tensor:
    """One modality's rows (Q, n) as queries."""
    n = distance.shape[1]
    m = same.sum(1).to(distance.dtype)
    contrast = mean_where(distance, same, 1) - mean_where(distance, ~same, 1)
    values = (n - 1) / 2 + 4 * m * (n - m) / n**2 * contrast
    return mean_where(values, same.any(1) & ~same.all(1), 0)
