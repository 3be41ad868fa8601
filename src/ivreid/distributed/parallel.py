"""One network in several processes: the same gradients and the same running statistics everywhere."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from ivreid.distributed.collectives import reduce_mean
from ivreid.distributed.processes import ProcessRank


@torch.no_grad()
def average_buffers(process: ProcessRank, network: nn.Module) -> None:
    """Give all processes the mean of their running statistics, so that they stay one model."""
    if process.is_single:
        return
    found = [
        buffer for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    ]
    if not found:
        return
    mean = reduce_mean(process, torch.cat([buffer.float().reshape(-1) for buffer in found]))
    parts = torch.split(mean, [buffer.numel() for buffer in found])
    for buffer, part in zip(found, parts, strict=True):
        buffer.copy_(part.reshape(buffer.shape))


def data_parallel(process: ProcessRank, network: nn.Module) -> nn.Module:
    """The network behind which every process gets the mean of all gradients; itself with one process."""
    if process.is_single:
        return network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # newer versions of torch rename `broadcast_buffers`
        # rank 0's buffers need not be sent around: all are the same after every step, see `average_buffers`
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)


def accumulate_locally(model: nn.Module, more: bool) -> AbstractContextManager[None]:
    """While more batches add to this step's gradients, processes need not exchange them."""
    if more and isinstance(model, nn.parallel.DistributedDataParallel):
        waiting: AbstractContextManager[None] = model.no_sync()
        return waiting
    return nullcontext()
