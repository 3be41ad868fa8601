"""Training in a process of its own, to be killed; forked from a server that has imported everything once."""

from __future__ import annotations

import json
import multiprocessing
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from kill_points import KillPoint, Tally, kill_at
from time_limits import seconds

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ivreid.training", "torch.utils.tensorboard"])


def work(tree: dict[str, Any], resume: bool, point: KillPoint | None, part: str, tally: Path | None) -> None:
    """The child: train and leave with the status the command line would give."""
    from ivreid.config import make_config
    from ivreid.errors import IvreidError
    from ivreid.training import loop, train

    def watched(*args: Any, **options: Any) -> Any:
        with kill_at(point) as counts:
            out = real(*args, **options)
        if tally is not None:
            tally.write_text(json.dumps(counts))
        return out

    if part == "loop":
        real: Any = loop.Run.fit
        loop.Run.fit = watched  # type: ignore[method-assign]
    elif part == "run":
        real, train = train, watched
    try:
        train(make_config(tree), resume=resume)
    except IvreidError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)


def start(
    tree: dict[str, Any], *, resume: bool = True, point: KillPoint | None = None, part: str = ""
) -> ForkServerProcess:
    """A child in training, ended at a point of the whole `run`, or of the `loop` in which signals are noted."""
    child = CONTEXT.Process(target=work, args=(tree, resume, point, part, None))
    child.start()
    return child


def count_events(tree: dict[str, Any], part: str, tally: Path) -> Tally:
    """Train in a child from the start to the end; how many events the part has."""
    child = CONTEXT.Process(target=work, args=(tree, False, None, part, tally))
    child.start()
    assert finish(child) == 0
    found: Tally = json.loads(tally.read_text())
    return found


def finish(child: ForkServerProcess, timeout: float = 120) -> int | None:
    """Wait for a child; its exit status, negative where a signal killed it."""
    child.join(seconds(timeout))
    return child.exitcode
