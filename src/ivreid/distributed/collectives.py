"""Exchanges between the processes of a run; with one process each of them is the value itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ivreid.distributed.processes import ProcessRank

Value = TypeVar("Value")


def reduce_max(process: ProcessRank, value: int) -> int:
    """The largest of all processes' values; returns when every process has called it."""
    if process.is_single:
        return value
    box = torch.tensor(value)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box)


def barrier(process: ProcessRank) -> None:
    """Return when every process has come here."""
    reduce_max(process, 0)


@contextmanager
def local_rank_0_first(process: ProcessRank) -> Iterator[None]:
    """Let the first process of every machine through the block before its other processes."""
    if process.local_rank != 0:
        barrier(process)
    yield
    if process.local_rank == 0:
        barrier(process)


def broadcast(process: ProcessRank, value: Value) -> Value:
    """Rank 0's value, on every process; what the others pass is ignored."""
    if process.is_single:
        return value
    box: list[Any] = [value if process.is_main else None]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    told: Value = box[0]
    return told


def broadcast_tensors(process: ProcessRank, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank 0's named CPU tensors, on every process."""
    if process.is_single:
        return dict(tensors)
    shapes = broadcast(process, {name: (value.shape, value.dtype) for name, value in tensors.items()})
    out = {}
    for name, (shape, dtype) in shapes.items():
        out[name] = tensors[name].contiguous() if process.is_main else torch.empty(shape, dtype=dtype)
        dist.broadcast(out[name], src=0)
    return out


def gather(process: ProcessRank, value: Value) -> list[Value]:
    """All processes' values in the order of their ranks, on rank 0; an empty list on the others."""
    if process.is_single:
        return [value]
    box: list[Any] | None = [None] * process.world_size if process.is_main else None
    dist.gather_object(value, box)
    return box or []


@torch.no_grad()
def reduce_mean(process: ProcessRank, values: Tensor) -> Tensor:
    """The mean of all processes' tensors."""
    if process.is_single:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / process.world_size
