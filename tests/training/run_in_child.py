"""Training in a process of its own, to be killed; forked from a server that has imported everything once."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.context import ForkServerProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ivreid.training", "torch.utils.tensorboard"])


def work(tree: dict[str, Any], resume: bool) -> None:
    """The child: train and leave with the status the command line would give."""
    from ivreid.config import make_config
    from ivreid.errors import IvreidError
    from ivreid.training import train

    try:
        train(make_config(tree), resume=resume)
    except IvreidError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)


def start(tree: dict[str, Any], *, resume: bool = True) -> ForkServerProcess:
    """A child in training."""
    child = CONTEXT.Process(target=work, args=(tree, resume))
    child.start()
    return child


def finish(child: ForkServerProcess, timeout: float = 60) -> int | None:
    """Wait for a child; its exit status, negative where a signal killed it."""
    child.join(timeout)
    return child.exitcode
