"""Runs training in double precision, so that two ways to the same sums differ by next to nothing.

In single precision the order of a sum, which is the processor's choice, moves a gradient by about 1e-7 of the
largest terms in it; an optimiser may make more of that than of a real fault. In double precision the same
differences are near 1e-16 and a real fault is as large as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ROUNDING = torch.finfo(torch.float64).eps
SINGLE = torch.finfo(torch.float32).eps
"""The log and the embeddings stay in single precision."""


def use_double_precision(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let this process build its networks with weights in double precision; images become so on their way in."""
    from ivreid import methods

    build = methods.build

    def doubled(*args: Any, **options: Any) -> nn.Module:
        network: nn.Module = build(*args, **options).double()
        for module in network.modules():
            module.register_forward_pre_hook(_double)
        return network

    replace(methods, "build", doubled)


def _double(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
