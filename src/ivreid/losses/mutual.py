"""Mutual loss: one classifier learns from what another says about the same rows."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

Reduction = Literal["batchmean", "mean"]


def mutual_loss(student: Tensor, teacher: Tensor, reduction: Reduction = "batchmean") -> Tensor:
    """KL(softmax(teacher) || softmax(student)); the teacher is a constant and receives no gradient.

    Source: Zhang et al., "Deep Mutual Learning" (CVPR 2018), eq. 4, with the gradient of the teacher stopped.

    Args:
        student: (B, C) logits that learn.
        teacher: (B, C) logits of the same rows.
        reduction: "batchmean" divides the sum by B; "mean" divides it by B * C, which makes it C times
            weaker.

    Returns:
        Scalar, at least 0.
    """
    log_p = functional.log_softmax(teacher.detach(), dim=1)
    log_q = functional.log_softmax(student, dim=1)
    divisor = len(student) if reduction == "batchmean" else student.numel()
    return functional.kl_div(log_q, log_p, reduction="sum", log_target=True) / divisor
