"""Which process of how many this is, and on which device it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ivreid.distributed.device import choose_device
from ivreid.errors import ConfigError, UsageError


@dataclass(frozen=True)
class ProcessRank:
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
    def is_single(self) -> bool:
        """Whether there is no other process."""
        return self.world_size == 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes, scores and speaks for all."""
        return self.rank == 0


SINGLE_PROCESS = ProcessRank()


def process_from_environment(environment: Mapping[str, str] = os.environ) -> ProcessRank:
    """This process as torchrun's environment variables say; the only one where there are none.

    Raises:
        ConfigError: Variables that contradict each other.
    """
    try:
        size = int(environment.get("WORLD_SIZE", "1"))
        if size == 1:
            return SINGLE_PROCESS
        process = ProcessRank(
            int(environment["RANK"]), size, int(environment.get("LOCAL_RANK", environment["RANK"]))
        )
        if not 0 <= process.rank < size:
            raise ValueError(f"RANK is {process.rank} of WORLD_SIZE {size}")
        return process
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"the environment asks for several processes but {error} does not fit; start them with torchrun, "
            "or unset WORLD_SIZE"
        ) from error


def require_one_process(what: str) -> None:
    """Refuse to do in several processes at once what would then be done several times.

    Raises:
        UsageError: torchrun launched this.
    """
    if not process_from_environment().is_single:
        raise UsageError(
            f"{what} runs in one process. Several runs of one configuration can be trained with torchrun one "
            "by one (--trial 1 --out DIR/trial-01, ...); --trials without torchrun then tests and merges them"
        )


def local_device(name: str, process: ProcessRank) -> torch.device:
    """The device of this process: with several processes on CUDA, the card of its local number.

    Raises:
        ConfigError: A device that several processes cannot share.
        UsageError: More processes on this machine than cards.
    """
    device = choose_device(name)
    if process.is_single or device.type == "cpu":
        return device
    if device.type != "cuda" or ":" in name:
        raise ConfigError(
            f"device = {name} cannot serve {process.world_size} processes; use auto or cuda (a card for "
            "each process), or cpu"
        )
    cards = torch.cuda.device_count()
    if process.local_rank >= cards:
        raise UsageError(
            f"this machine has {cards} CUDA device(s), one process each: start {cards} with "
            f"--nproc-per-node {cards}, or set device to cpu"
        )
    return torch.device("cuda", process.local_rank)
