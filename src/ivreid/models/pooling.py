"""From a feature map to a vector."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.tensors import without_autocast


def global_average(features: Tensor) -> Tensor:
    """Global average pooling (B, C, h, w) -> (B, C), in at least single precision under any autocast."""
    return features.mean((2, 3), dtype=torch.promote_types(features.dtype, torch.float32))


@without_autocast
def gem(features: Tensor, p: float = 3.0, clamp: float | None = None) -> Tensor:
    """Generalised mean over positions, (mean t^p)^(1/p): (B, C, h, w) -> (B, C), in single precision.

    Source: Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation" (TPAMI 2019), eq. 4,
        with a fixed p.

    Args:
        features: Values of at least 0 where p is no odd whole number. A channel whose mean power is below 0, as
            after a SiLU, counts as empty: it has no root.
        p: 1 is the average; the larger, the nearer to the maximum.
        clamp: Raise smaller values to this; None adds 1e-12 under the root instead (the published form of
            the AGW family), so that the gradient of an empty channel is 0 and not NaN.
    """
    if clamp is not None:
        features = features.clamp(min=clamp)
    # a product of two is many times faster than a power, on a CPU above all
    powers = features * features * features if p == 3 else features.pow(p)
    mean = powers.mean((2, 3))
    return (mean if clamp is not None else mean.clamp(min=0) + 1e-12).pow(1 / p)
