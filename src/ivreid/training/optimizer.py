"""The optimiser over a method's parameter groups, and their rates."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from ivreid.config.schema import OptimizerSection, ScheduleSection
from ivreid.training.schedule import scaled_rate


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
