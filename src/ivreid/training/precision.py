"""The number format of a step: fp32, bf16 or fp16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from ivreid.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]


def choose_precision(name: str, device: torch.device) -> Precision:
    """The number format a name means on this device.

    Args:
        name: A number format; `auto`, bf16 on a CUDA device that has it, else fp32; or `native`, bf16 on a
            processor with instructions for it, too.
        device: Where the network is.

    Raises:
        ConfigError: fp16 on a CPU, where its gradients would underflow unscaled.
    """
    if name == "auto":
        return "bf16" if device.type == "cuda" and multiplies_bf16(device) else "fp32"
    if name == "native":
        return "bf16" if multiplies_bf16(device) else "fp32"
    if name == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"precision = fp16 needs a CUDA device, this is {device.type}; set precision=auto (or bf16, fp32)"
        )
    return name  # type: ignore[return-value]


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bf16; others imitate them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Run the network's convolutions and products in `precision`; losses and weights stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
