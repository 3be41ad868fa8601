"""What a step runs on: the device, the number format, the optimiser."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from ivreid.config.schema import OptimizerSection, ScheduleSection
from ivreid.errors import ConfigError
from ivreid.training.schedule import scaled_rate

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


def make_optimizer(
    settings: OptimizerSection, groups: list[dict[str, Any]], device: torch.device
) -> Optimizer:
    """The optimiser over a method's parameter groups, fused where the device has it."""
    fused = device.type in ("cpu", "cuda")
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": fused}
    if settings.name == "sgd":
        return SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov, **common)
    return (Adam if settings.name == "adam" else AdamW)(groups, betas=settings.betas, **common)


def set_rates(optimizer: Optimizer, schedule: ScheduleSection, factor: float) -> dict[str, float]:
    """Set each group's rate to the schedule's factor of its own base rate; returns the rates by group name."""
    rates = {}
    for index, group in enumerate(optimizer.param_groups):
        group["lr"] = scaled_rate(schedule, factor, group.setdefault("base_lr", group["lr"]))
        rates[str(group.get("name", index))] = float(group["lr"])
    return rates


def own_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Give back after the block what a step's seeds change: the generators of the CPU and of this card."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed what a network may draw in a step (dropout) by (seed, step, rank): nothing need be saved."""
    torch.manual_seed((seed * 1_000_003 + step) * 4096 + rank)


def memory_gib(device: torch.device) -> float:
    """Peak memory so far: the GPU's, or else this process's own now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import psutil

    return float(psutil.Process().memory_info().rss / 2**30)
