"""Identity loss: cross-entropy over identities."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def identity_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of -log softmax(logits)[label].

    Source: Zheng et al., "A Discriminatively Learned CNN Embedding for Person Re-identification" (TOMM 2017).

    Shape:
        logits (B, C), labels (B,) int64 in 0..C-1 -> scalar.
    """
    return functional.cross_entropy(logits, labels)
