"""Identity loss: cross-entropy over identities."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ivreid.tensors import without_autocast


@without_autocast
def identity_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean over rows of -sum_c t_c log softmax(logits)_c, t = 1 at the label unless smoothed.

    Source: Zheng et al., "A Discriminatively Learned CNN Embedding for Person Re-identification" (TOMM 2017);
        smoothing: Szegedy et al., "Rethinking the Inception Architecture" (CVPR 2016), sec. 7.

    In several processes: the mean over each one's rows, where all hold equally many.

    Args:
        logits: (B, C).
        labels: (B,) int64 in 0..C-1.
        smoothing: t is 1 - smoothing + smoothing / C at the label and smoothing / C elsewhere.

    Returns:
        Scalar.
    """
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
