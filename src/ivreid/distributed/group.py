"""Several processes as one run: torchrun starts them, they meet here and part here.

Every process holds the same weights, optimiser state and position at the end of every step; what may differ
(clocks, signals, files) is decided once and broadcast. Only rank 0 writes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from ivreid.distributed.collectives import barrier
from ivreid.distributed.failure import (
    PeerLost,
    first_to_fail,
    launcher_store,
    leave_when_another_failed,
    means_lost_peer,
)
from ivreid.distributed.processes import ProcessRank, local_device

_parted: list[Any] = []
"""Groups that this process has left, kept until it ends. A model that outlives its group would otherwise take it
down with itself, and in torch 2.10 that waits for gloo's threads while it holds the lock they wait for."""


@contextmanager
def process_group(device: str, process: ProcessRank) -> Iterator[None]:
    """Meet the other processes, where torchrun started several, and part from them at the end.

    Args:
        device: The configured device; decides how tensors travel (gloo between CPUs, NCCL between GPUs).
        process: This process.

    Raises:
        PeerLost: Another process is gone, so that this one cannot go on.
        IvreidError: As `local_device`.
    """
    if process.is_single:
        yield
        return
    own = local_device(device, process)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    leaving = threading.Event()
    try:
        # what the CPU decides travels by gloo in either case: it neither waits for a GPU nor hangs with it
        backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
        store = dist.PrefixStore("ivreid/group", launcher_store())  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=process.rank, world_size=process.world_size)
        threading.Thread(target=leave_when_another_failed, args=(leaving,), daemon=True).start()
        yield
        leaving.set()
        barrier(process)
        _parted.append(dist.group.WORLD)
        dist.destroy_process_group()
    except BaseException as error:
        first_to_fail()
        if means_lost_peer(error):
            raise PeerLost(
                "another process of this run is gone without a word (killed, or out of memory?), see the "
                f"launcher's summary: {str(error).splitlines()[0]}"
            ) from error
        raise
    finally:
        leaving.set()
