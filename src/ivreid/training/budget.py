"""A run by the clock: the steps that fit into some minutes are measured once, and from then on steps count."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

from ivreid.config.parse import load_config
from ivreid.config.schema import Config
from ivreid.distributed.collectives import broadcast
from ivreid.distributed.processes import ProcessRank
from ivreid.errors import UsageError, counted
from ivreid.evaluation.run_folder import RunFolder
from ivreid.types import Notice

WARM_STEPS, FIRST_STEPS = 2, 3
"""Steps that are not timed, and those that tell how many more to time."""

QUICK_STEPS = 12
"""At most, for a rough answer."""

SHARE = 0.05
"""Of the minutes, what measuring may take where steps are short; it comes on top of them."""


def settle_steps(
    config: Config,
    minutes: float,
    folder: RunFolder,
    process: ProcessRank,
    *,
    resume: bool,
    measure: Callable[[], float],
    notice: Notice,
) -> Config:
    """The configuration with `steps`: those that fit into so many minutes here, or those that a run began with.

    Args:
        config: The run.
        minutes: Of training steps; what is done before, between and after them is not counted.
        folder: Where a resumed run wrote how many steps it has.
        process: Which process of how many; rank 0's answer counts.
        resume: Whether a number written before counts.
        measure: Gives the seconds of a step; called where there is no such number.
        notice: Called with what was found.

    Raises:
        UsageError: No time, or a configuration that says how many steps it has, others than the run began with.
        ConfigError: The folder's configuration cannot be read.
    """
    if not 0 < minutes < math.inf:
        raise UsageError(f"--minutes {minutes:g}: it must be a number above 0")
    recorded = None
    if process.is_main and resume and folder.config.exists():
        recorded = load_config(folder.config).steps
    steps = broadcast(process, recorded)
    if config.steps not in (None, steps):
        raise UsageError(
            f"--minutes {minutes:g} and steps = {config.steps} both say how long the run is; leave one out"
        )
    if steps is not None:
        notice(
            f"--minutes {minutes:g} changes nothing: {folder.config} fixes this run's length at {counted(steps, 'step')}; "
            "another length is another run, with another --out"
        )
    else:
        seconds = broadcast(process, measure())
        steps = max(1, int(60 * minutes / seconds))
        notice(f"a step takes {seconds:.3g} s here: {counted(steps, 'step')} in {minutes:g} minutes")
    return config.model_copy(update={"steps": steps})


def seconds_per_step(
    take_step: Callable[[], object], wait: Callable[[], object], process: ProcessRank, minutes: float
) -> float:
    """How long a step takes, waiting for its images included, once the first ones are past.

    Args:
        take_step: Takes one, the same number of times in every process.
        wait: Returns when the device has done what it was given.
        process: Which process of how many.
        minutes: A small share of them may be spent.
    """

    def timed(count: int) -> float:
        wait()
        started = time.perf_counter()
        for _ in range(count):
            take_step()
        wait()
        return (time.perf_counter() - started) / count

    for _ in range(WARM_STEPS):
        take_step()
    roughly = timed(FIRST_STEPS)
    more = int(broadcast(process, SHARE * 60 * minutes / max(roughly, 1e-9))) - FIRST_STEPS
    return timed(more) if more > FIRST_STEPS else roughly


def quick_seconds(
    take_step: Callable[[], object], wait: Callable[[], object], *, spend: float = 1.5
) -> float:
    """How long a step takes, roughly: the first is not counted unless it alone takes longer than may be spent.

    Args:
        take_step: Takes one.
        wait: Returns when the device has done what it was given.
        spend: Seconds in all.
    """
    times: list[float] = []
    began = time.perf_counter()
    while not times or (time.perf_counter() - began < spend and len(times) < QUICK_STEPS):
        started = time.perf_counter()
        take_step()
        wait()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:] or times)
