"""Part masks that do not overlap (SEP)."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.tensors import without_autocast


@without_autocast
def separation_loss(masks: Tensor) -> Tensor:
    """Mean over images and pairs of masks p < q of the sum over positions of m_p m_q.

    Source: Wu et al., "Discover Cross-Modality Nuances" (CVPR 2021), eq. 3.

    In several processes: the mean over each one's images, where all hold equally many.

    Shape:
        (B, P, h, w), P of 2 or more -> scalar.
    """
    flat = masks.flatten(2)
    products = torch.einsum("bpn,bqn->bpq", flat, flat)
    count = masks.shape[1]
    return products.triu(1).sum((1, 2)).mean() / (count * (count - 1) / 2)
