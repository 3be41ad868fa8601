"""What networks and losses share about tensors: the number format of sums, and the rows of each modality."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
Out = TypeVar("Out")


def without_autocast(function: Callable[P, Out]) -> Callable[P, Out]:
    """Let a function of tensors compute in single precision or better, whatever autocast is around it.

    Cubes, exponentials, distances and divergences need it: 41^3 is infinite in fp16, and bf16 holds three
    digits. Floating arguments of fewer bits are widened; double precision stays.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Out:
        device = next(v.device.type for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
        with torch.autocast(device, enabled=False):
            return function(
                *map(at_least_float32, args), **{key: at_least_float32(v) for key, v in kwargs.items()}
            )

    return run


def at_least_float32(value: Any) -> Any:
    """A floating tensor in at least single precision; anything else as it is."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    return value


def modality_rows(infrared: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The row numbers of the visible and of the infrared images, on `device`.

    Numbers rather than masks: where `infrared` lies on the CPU, a GPU need not be waited for to know how many
    rows there are.

    Shape:
        infrared (B,) bool -> (V,) and (R,) int64, V + R = B.
    """
    visible, other = (mask.nonzero().squeeze(1) for mask in (~infrared, infrared))
    return visible.to(device, non_blocking=True), other.to(device, non_blocking=True)
