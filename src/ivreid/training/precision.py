"""The number format of a step: fp32, bf16 or fp16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from ivreid.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]


def choose_precision(name: str, device: torch.device) -> Precision:
    """The number format a name means on this device; `auto` is bf16 on a CUDA device that has it, else fp32.

    Raises:
        ConfigError: fp16 on a CPU, where its gradients would underflow unscaled.
    """
    if name == "auto":
        return (
            "bf16"
            if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            else "fp32"
        )
    if name == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"precision = fp16 needs a CUDA device, this is {device.type}; use bf16, fp32 or auto"
        )
    return name  # type: ignore[return-value]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Run the network's convolutions and products in `precision`; losses and weights stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
