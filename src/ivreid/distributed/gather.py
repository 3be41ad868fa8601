"""Rows of all processes, with gradients: what lets a loss see the whole batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of every process, joined in the order of their ranks.

    Outside `torch.distributed`, or with one process, it is the tensor itself.

    Why a loss over gathered rows needs no rescaling: let process r compute L_r, the mean over its own anchors
    against all rows, so that the loss of the joined batch is L = (1/W) sum_r L_r. The backward pass here
    gives each row the sum over processes of its gradients, sum_s dL_s/df, and DistributedDataParallel
    averages the parameters' gradients over the W processes: together (1/W) sum_s dL_s = dL. Plain means over
    local rows need the same average only.

    Args:
        rows: (B, ...), with the same shape on every process.

    Returns:
        (W * B, ...), differentiable where `rows` is.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def first_row(count: int) -> int:
    """The place of this process's first row among the gathered ones, where every process has `count`."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0
    return dist.get_rank() * count


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [
            torch.empty_like(rows, memory_format=torch.contiguous_format)
            for _ in range(dist.get_world_size())
        ]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # a sum over processes, then this process's part: gloo has no reduce_scatter
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.count
        return total[first : first + ctx.count]
