"""When a process of a run fails: the first says why, the others leave in silence.

The first process to fail counts itself in the launcher's store and says why. The others then either lose its
connection in their next exchange or see the count, and leave without a word and without any further exchange,
which could only hang.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch.distributed as dist

from ivreid.distributed.processes import ProcessRank
from ivreid.errors import TrainingError

FAILURES = "ivreid/failures"
GRACE_SECONDS = 5.0
"""How long a process that is needed no more may take to leave by itself."""


class PeerLost(TrainingError):
    """Another process of this run is gone; where it could, it has said why."""


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
def launcher_store() -> Any:
    """The launcher's store: a few small values all processes can see, also when nothing else works."""
    return _connect(timeout=300)


@cache
def first_to_fail() -> bool:
    """Count this process as failed; whether it is the first, which speaks while the others stay silent."""
    if not _launcher_keeps_store() and not dist.is_initialized():
        return os.environ.get("RANK") == "0"  # nothing is shared yet
    try:
        return int(launcher_store().add(FAILURES, 1)) == 1
    except (RuntimeError, KeyError, ValueError):  # no launcher, or it is gone: better twice than never
        return True


def leave_when_another_failed(leaving: threading.Event) -> None:
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


def means_lost_peer(error: BaseException) -> bool:
    """Whether an error of an exchange says that another process is gone."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and bool(_PEER.search(str(error)))
    )


@contextmanager
def fail_once(process: ProcessRank, say: Callable[[BaseException], None]) -> Iterator[None]:
    """Let the first process that fails say why, and end every failing process at once, silent or not.

    With one process it does nothing. It does not return after an error: leaving by the usual way would wait
    for exchanges with processes that are gone.

    Args:
        process: This process.
        say: Shows an error to people.
    """
    try:
        yield
    except BaseException as error:
        if process.is_single:
            raise
        if first_to_fail():
            say(error)
        _leave(getattr(error, "exit_status", 1))


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
