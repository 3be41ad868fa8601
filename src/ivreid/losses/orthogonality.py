"""Orthogonality of the branches of diverse embedding expansion (ORT)."""

from __future__ import annotations

from torch import Tensor

from ivreid.tensors import without_autocast


@without_autocast
def orthogonality_loss(first: Tensor, second: Tensor, *, branches: int = 3) -> Tensor:
    """Sum over images of <x_1, x_2>, divided by the rows of all branches; signed and not normalised.

    Source: Zhang & Wang, "Diverse Embedding Expansion Network" (CVPR 2023), eq. 8, as its code has it: the
        unexpanded branch takes no part but is counted.

    In several processes: the mean over each one's rows, where all hold equally many.

    Args:
        first: (B, D) the first expanded branch.
        second: (B, D) the second.
        branches: Branches counted.

    Returns:
        Scalar.
    """
    return (first * second).sum() / (branches * len(first))
