"""Several processes as one run: torchrun starts them, this file lets them act together.

Every process holds the same weights, optimiser state and position at the end of every step; what may differ
(clocks, signals, files) is decided once and told to the others. Only rank 0 writes.

Failure: the first process to fail counts itself in the launcher's store and says why. The others then either
lose its connection in their next exchange or see the count, and leave without a word and without any further
exchange, which could only hang.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ivreid.errors import ConfigError, TrainingError, UsageError
from ivreid.inference import choose_device

Value = TypeVar("Value")

FAILURES = "ivreid/failures"
GRACE_SECONDS = 5.0
"""How long a process that is needed no more may take to leave by itself."""


@dataclass(frozen=True)
class Place:
    """Which process of how many this is; one process unless launched otherwise.

    Attributes:
        rank: Number among all processes.
        world_size: How many there are.
        local_rank: Number among the processes of this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world_size == 1

    @property
    def leads(self) -> bool:
        """Whether this process writes, scores and speaks for all."""
        return self.rank == 0


ONE_PROCESS = Place()


class PeerLost(TrainingError):
    """Another process of this run is gone; where it could, it has said why."""


def place_from_environment(environment: Mapping[str, str] = os.environ) -> Place:
    """This process's place as torchrun's environment variables say; alone where there are none.

    Raises:
        ConfigError: Variables that contradict each other.
    """
    try:
        size = int(environment.get("WORLD_SIZE", "1"))
        if size == 1:
            return ONE_PROCESS
        place = Place(int(environment["RANK"]), size, int(environment.get("LOCAL_RANK", environment["RANK"])))
        if not 0 <= place.rank < size:
            raise ValueError(f"RANK is {place.rank} of WORLD_SIZE {size}")
        return place
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"the environment asks for several processes but {error} does not fit; start them with torchrun, "
            "or unset WORLD_SIZE"
        ) from error


def local_device(name: str, place: Place) -> torch.device:
    """The device of this process: with several processes on CUDA, the card of its local number.

    Raises:
        ConfigError: A device that several processes cannot share.
        UsageError: More processes on this machine than cards.
    """
    device = choose_device(name)
    if place.alone or device.type == "cpu":
        return device
    if device.type != "cuda" or ":" in name:
        raise ConfigError(
            f"device = {name} cannot serve {place.world_size} processes; use auto or cuda (a card for "
            "each process), or cpu"
        )
    cards = torch.cuda.device_count()
    if place.local_rank >= cards:
        raise UsageError(
            f"this machine has {cards} CUDA device(s), one process each: start {cards} with "
            f"--nproc-per-node {cards}, or set device to cpu"
        )
    return torch.device("cuda", place.local_rank)


@contextmanager
def join_processes(device: str, place: Place) -> Iterator[None]:
    """Meet the other processes, where torchrun started several, and part from them at the end.

    Args:
        device: The configured device; decides how tensors travel (gloo between CPUs, NCCL between GPUs).
        place: This process.

    Raises:
        PeerLost: Another process is gone, so that this one cannot go on.
        IvreidError: As `local_device`.
    """
    if place.alone:
        yield
        return
    own = local_device(device, place)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    leaving = threading.Event()
    try:
        # what the CPU decides travels by gloo in either case: it neither waits for a GPU nor hangs with it
        backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
        store = dist.PrefixStore("ivreid/group", _store())  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.world_size)
        threading.Thread(target=_leave_when_another_failed, args=(leaving,), daemon=True).start()
        yield
        leaving.set()
        wait_for_all(place)
        dist.destroy_process_group()
    except BaseException as error:
        first_to_fail()
        if _means_lost_peer(error):
            raise PeerLost(
                "another process of this run is gone without a word (killed, or out of memory?), see the "
                f"launcher's summary: {str(error).splitlines()[0]}"
            ) from error
        raise
    finally:
        leaving.set()


# The launcher's store: a few small values all processes can see, also when nothing else works


def _attempt() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def restarted() -> bool:
    """Whether torchrun starts these processes again after a failure (`--max-restarts`)."""
    return _attempt() > 0


def _launcher_keeps_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _connect(timeout: float) -> Any:
    store = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=not _launcher_keeps_store() and not dist.is_initialized() and os.environ["RANK"] == "0",
        timeout=timedelta(seconds=timeout),
        wait_for_workers=False,
    )
    return dist.PrefixStore(f"attempt-{_attempt()}", store)  # type: ignore[attr-defined]


@cache
def _store() -> Any:
    return _connect(timeout=300)


@cache
def first_to_fail() -> bool:
    """Count this process as failed; whether it is the first, which speaks while the others stay silent."""
    if not _launcher_keeps_store() and not dist.is_initialized():
        return os.environ.get("RANK") == "0"  # nothing is shared yet
    try:
        return int(_store().add(FAILURES, 1)) == 1
    except (RuntimeError, KeyError, ValueError):  # no launcher, or it is gone: better twice than never
        return True


def _leave_when_another_failed(leaving: threading.Event) -> None:
    """End a process that waits for one that will never answer, e.g. within an exchange between GPUs."""
    try:
        store = _connect(timeout=30)
        while not leaving.wait(1.0):
            if store.check([FAILURES]):
                break
    except RuntimeError:  # the launcher is gone
        pass
    if not leaving.wait(GRACE_SECONDS):
        os._exit(1)


_PEER = re.compile(r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Socket", re.IGNORECASE)


def _means_lost_peer(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and bool(_PEER.search(str(error)))
    )


@contextmanager
def one_voice(place: Place, say: Callable[[BaseException], None]) -> Iterator[None]:
    """Let the first process that fails say why, and end every failing process at once, silent or not.

    With one process it does nothing. It does not return after an error: leaving by the usual way would wait
    for exchanges with processes that are gone.

    Args:
        place: This process.
        say: Shows an error to people.
    """
    try:
        yield
    except BaseException as error:
        if place.alone:
            raise
        if first_to_fail():
            say(error)
        _leave(getattr(error, "exit_status", 1))


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


# Acting together; with one process each of these is the value itself


def largest(place: Place, value: int) -> int:
    """The largest of all processes' values; returns when every process has called it."""
    if place.alone:
        return value
    box = torch.tensor(value)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box)


def wait_for_all(place: Place) -> None:
    """Return when every process has come here."""
    largest(place, 0)


@contextmanager
def machine_leader_first(place: Place) -> Iterator[None]:
    """Let the first process of every machine through the block before its other processes."""
    if place.local_rank != 0:
        wait_for_all(place)
    yield
    if place.local_rank == 0:
        wait_for_all(place)


def tell(place: Place, value: Value) -> Value:
    """Rank 0's value, on every process; what the others pass is ignored."""
    if place.alone:
        return value
    box: list[Any] = [value if place.leads else None]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    told: Value = box[0]
    return told


def tell_tensors(place: Place, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank 0's named CPU tensors, on every process."""
    if place.alone:
        return dict(tensors)
    shapes = tell(place, {name: (value.shape, value.dtype) for name, value in tensors.items()})
    out = {}
    for name, (shape, dtype) in shapes.items():
        out[name] = tensors[name].contiguous() if place.leads else torch.empty(shape, dtype=dtype)
        dist.broadcast(out[name], src=0)
    return out


def gather(place: Place, value: Value) -> list[Value]:
    """All processes' values in the order of their ranks, on rank 0; an empty list on the others."""
    if place.alone:
        return [value]
    box: list[Any] | None = [None] * place.world_size if place.leads else None
    dist.gather_object(value, box)
    return box or []


@torch.no_grad()
def mean_over_processes(place: Place, values: Tensor) -> Tensor:
    """The mean of all processes' tensors."""
    if place.alone:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / place.world_size


@torch.no_grad()
def average_buffers(place: Place, network: nn.Module) -> None:
    """Give all processes the mean of their running statistics, so that they stay one model."""
    if place.alone:
        return
    found = [
        buffer for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    ]
    if not found:
        return
    mean = mean_over_processes(place, torch.cat([buffer.float().reshape(-1) for buffer in found]))
    parts = torch.split(mean, [buffer.numel() for buffer in found])
    for buffer, part in zip(found, parts, strict=True):
        buffer.copy_(part.reshape(buffer.shape))


def share_gradients(place: Place, network: nn.Module) -> nn.Module:
    """The network behind which every process gets the mean of all gradients; itself with one process."""
    if place.alone:
        return network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # newer versions of torch rename `broadcast_buffers`
        # rank 0's buffers need not be sent around: all are the same after every step, see `average_buffers`
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)


def accumulating(model: nn.Module, more: bool) -> AbstractContextManager[None]:
    """While more batches add to this step's gradients, processes need not exchange them."""
    if more and isinstance(model, nn.parallel.DistributedDataParallel):
        waiting: AbstractContextManager[None] = model.no_sync()
        return waiting
    return nullcontext()
