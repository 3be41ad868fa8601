"""Random numbers that a network draws in a step, such as dropout's: a pure function of (seed, step, rank)."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def own_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Give back after the block what a step's seeds change: the generators of the CPU and of this card."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed what a network may draw in a step (dropout) by (seed, step, rank): nothing need be saved."""
    torch.manual_seed((seed * 1_000_003 + step) * 4096 + rank)
