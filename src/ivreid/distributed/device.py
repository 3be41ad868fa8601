"""Which device computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ivreid.errors import UsageError


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is CUDA, else MPS, else the CPU.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: An unknown name, or a device this machine has not.
    """
    if str(name) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {str(name)!r}; use auto, cpu, cuda, cuda:N or mps") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    have = {"cpu": True, "cuda": 0 <= (device.index or 0) < count, "mps": torch.backends.mps.is_available()}
    if not have.get(device.type, False):
        detail = f"it has {count} CUDA device(s)" if device.type == "cuda" else "use auto or cpu"
        raise UsageError(f"this machine has no device {str(name)!r}; {detail}")
    return device


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Convolutions in true float32, the same at every run; on CUDA, cuDNN would else round to TF32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
