"""From a feature map to a vector."""

from __future__ import annotations

import torch
from torch import Tensor

from ivreid.tensors import without_autocast

EMPTY = 1e-12
"""What an empty channel's mean power counts as under a generalised mean's root."""


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
        clamp: Raise smaller values to this; None adds `EMPTY` under the root instead (the published form of
            the AGW family), so that the gradient of an empty channel is 0 and not NaN.
    """
    if clamp is not None:
        features = features.clamp(min=clamp)
    # a product of two is many times faster than a power, on a CPU above all
    powers = features * features * features if p == 3 else features.pow(p)
    mean = powers.mean((2, 3))
    if clamp is not None:
        return mean.pow(1 / p)
    mean = mean.clamp(min=0)
    if torch.compiler.is_exporting():  # the ONNX exporter takes an addition of less than 1e-8 for none
        return (mean / EMPTY + 1).pow(1 / p) * float(EMPTY ** (1 / p))
    return (mean + EMPTY).pow(1 / p)
