"""Batch normalisation over the batch of all processes.

On CUDA it is torch's `SyncBatchNorm`, which runs nowhere else. Here is one for CPUs: two processes equal one
on the joined batch, in loss, gradient and running statistics.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ivreid.errors import TrainingError

Network = TypeVar("Network", bound=nn.Module)


def synchronise_norms(network: Network, device: torch.device) -> Network:
    """The network with every batch norm using the batch of all processes in training.

    Names, parameters, buffers and evaluation stay as they are, and so does what a timm norm does after it.
    """
    if device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm

        made: Network = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return made
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        if not isinstance(norm, SyncedNorm):
            norm.__class__ = _synced(type(norm))  # type: ignore[assignment, arg-type]
    return network


@cache
def _synced(kind: type) -> type[nn.Module]:
    return type(f"Synced{kind.__name__}", (SyncedNorm, kind), {})


class SyncedNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm whose statistics in training are those of all processes' rows together."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape; N may differ between processes."""
        if not self.training:
            return super().forward(x)
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._follow(mean, variance, count)
        for name in ("drop", "act"):  # what timm's norms carry
            after = getattr(self, name, None)
            y = after(y) if isinstance(after, nn.Module) else y
        out: Tensor = y
        return out

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics; like torch's, with the variance divided by count - 1."""
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)
        step = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), step)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), step)


class _Normalise(torch.autograd.Function):
    """y = w (x - m) / sqrt(v + eps) + b with mean m and variance v over all processes' rows and positions.

    With u = (x - m) / sqrt(v + eps) and g the gradient of the sum of all processes' losses by y,
    dx = w / sqrt(v + eps) (g - mean(g) - u mean(g u)), means over all processes; dw = sum g u and db = sum g
    are this process's part, which the average over processes completes, as for any other parameter.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        dims, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        wide = torch.promote_types(x.dtype, torch.float32)
        values = x.to(wide)
        mean, variance, count = _joint_moments(values, dims)
        if float(count) < 2:
            raise TrainingError("a batch norm needs two or more values per channel in training")
        inverse = torch.rsqrt(variance + eps)
        scale = inverse if weight is None else inverse * weight.to(wide)
        shift = -mean * scale if bias is None else bias.to(wide) - mean * scale
        y = torch.addcmul(shift.view(shape), values, scale.view(shape)).to(x.dtype)
        ctx.save_for_backward(x, weight, mean, inverse, count)
        ctx.has_bias = bias is not None
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, mean, inverse, count = ctx.saved_tensors
        dims, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        g = gradients[0].to(mean.dtype)
        unit = (x.to(mean.dtype) - mean.view(shape)) * inverse.view(shape)
        own = torch.stack([g.sum(dims), (g * unit).sum(dims)])
        total = own.clone()
        dist.all_reduce(total)
        mean_g, mean_gu = total / count
        scale = inverse if weight is None else inverse * weight.to(mean.dtype)
        dx = (g - mean_g.view(shape) - unit * mean_gu.view(shape)) * scale.view(shape)
        dw = None if weight is None else own[1].to(weight.dtype)
        db = own[0].to(weight.dtype if weight is not None else mean.dtype) if ctx.has_bias else None
        return dx.to(x.dtype), dw, db, None


def _joint_moments(x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance (C,) and number of values per channel over all processes.

    Each process's own mean and sum of squares about it are joined: sums of x and x^2 would lose a small
    variance beside a large mean to rounding.
    """
    own = x.new_tensor([x.numel() / x.shape[1]])
    if x.numel():
        variance, mean = torch.var_mean(x, dims, correction=0)
    else:
        variance = mean = x.new_zeros(x.shape[1])
    packed = torch.cat([own, mean, variance * own])
    parts = [torch.empty_like(packed) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, packed)
    rows = torch.stack(parts)
    channels = x.shape[1]
    counts, means, squares = rows[:, :1], rows[:, 1 : 1 + channels], rows[:, 1 + channels :]
    count = counts.sum()
    joint = (counts * means).sum(0) / count
    spread = squares.sum(0) + (counts * (means - joint) ** 2).sum(0)
    return joint, spread / count, count
