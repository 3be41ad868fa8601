"""Attention maps of parts that look at different places (DP)."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.losses.pairs import SMALLEST_SQUARE
from ivreid.tensors import without_autocast


@without_autocast
def diversity_loss(attention: Tensor) -> Tensor:
    """Minus the mean over images and pairs of parts p < q of the root mean square of a_p - a_q.

    Source: Fang et al., "Visible-Infrared Person Re-Identification via Semantic Alignment and Affinity
        Inference" (ICCV 2023), as its code has it.

    In several processes: the mean over each one's images, where all hold equally many.

    Shape:
        (B, P, N) over N positions, P of 2 or more -> scalar.
    """
    p, q = torch.triu_indices(attention.shape[1], attention.shape[1], 1, device=attention.device)
    squares = (attention[:, p] - attention[:, q]).square().mean(2)
    return -squares.clamp(min=SMALLEST_SQUARE).sqrt().mean()
