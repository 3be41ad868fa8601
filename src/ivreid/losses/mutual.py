"""Mutual loss: one classifier learns from what another says about the same rows."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from ivreid.tensors import without_autocast

Reduction = Literal["batchmean", "mean"]


@without_autocast
def mutual_loss(student: Tensor, teacher: Tensor, reduction: Reduction = "batchmean") -> Tensor:
    """KL(softmax(teacher) || softmax(student)); the teacher is a constant and receives no gradient.

    Source: Zhang et al., "Deep Mutual Learning" (CVPR 2018), eq. 4, with the gradient of the teacher stopped.

    In several processes: the mean over each one's rows, where all hold equally many; so all of this file.

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


@without_autocast
def reverse_mutual_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(student) || softmax(teacher)), the other direction; the teacher receives no gradient.

    Source: what the code of Wu et al. (CVPR 2021, MPANet) and of Jiang et al. (ECCV 2024, DNS) computes.

    Args:
        student: (B, C) logits that learn.
        teacher: (B, C) logits of the same rows.

    Returns:
        Scalar, at least 0: the sum over classes, the mean over rows.
    """
    log_p = functional.log_softmax(student, dim=1)
    log_q = functional.log_softmax(teacher.detach(), dim=1)
    return functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@without_autocast
def soft_identity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy with soft targets, mean over rows of -sum_c q_c log p_c; no gradient for the teacher.

    It has the gradient of `mutual_loss`, and differs in value by the teacher's entropy.

    Source: Fang et al. (ICCV 2023, SAAI), the modality consistency term; Ye et al. (TPAMI 2023, CAJ+).

    Args:
        student: (B, C) logits that learn, p = softmax.
        teacher: (B, C) logits of the same rows, q = softmax.

    Returns:
        Scalar.
    """
    return functional.cross_entropy(student, teacher.detach().softmax(1))


@without_autocast
def symmetric_mutual_loss(one: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(one) || softmax(other)) + KL(softmax(other) || softmax(one)), both with their gradient.

    Source: Jeffreys' divergence; Ren & Zhang (CVPR 2024, IDKL) align features by it.

    Args:
        one: (B, C) logits.
        other: (B, C) logits.

    Returns:
        Scalar, at least 0: the sum over classes, the mean over rows.
    """
    log_p, log_q = functional.log_softmax(one, dim=1), functional.log_softmax(other, dim=1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1).mean()
