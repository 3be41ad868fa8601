"""The learning rate as a function of the epochs done, so that resuming needs no schedule state."""

from __future__ import annotations

import math
from collections.abc import Callable

from ivreid.config.schema import Config, ScheduleSection


def rate_factor(schedule: ScheduleSection, progress: float, epochs: int) -> float:
    """What `optimizer.lr` is multiplied by.

    Args:
        schedule: The schedule's settings.
        progress: Epochs done, with fraction: 2.5 is the middle of the third epoch.
        epochs: Epochs of the whole run.

    Returns:
        A factor in [0, 1]. During warm-up it rises linearly from `warmup_from` to 1 (of what milestones have
        left). The cosine falls from the end of warm-up, or from 0, to `floor` at the end of the run
        (Loshchilov & Hutter, 2017), the triangle in a straight line.
    """
    if schedule.per == "epoch":
        progress = math.floor(progress) + schedule.first_epoch
    factor = 1.0
    if schedule.name == "step":
        factor = schedule.gamma ** sum(progress >= milestone for milestone in schedule.milestones)
    if progress < schedule.warmup:
        lowest = schedule.warmup_from
        return factor * (lowest + (1 - lowest) * progress / schedule.warmup)
    if schedule.name in ("cosine", "triangle"):
        start = 0.0 if schedule.cosine_from == "start" else schedule.warmup
        done = min((progress - start) / max(epochs - start, 1e-9), 1.0)
        height = 0.5 * (1 + math.cos(math.pi * done)) if schedule.name == "cosine" else 1 - done
        factor = schedule.floor + (1 - schedule.floor) * height
    return factor


def progress(config: Config, epochs_done: float, steps_done: int) -> float:
    """How far a run is in epochs, as its schedule counts them: with `steps`, their share of `epochs`."""
    return epochs_done if config.steps is None else config.epochs * steps_done / config.steps


def scaled_rate(schedule: ScheduleSection, factor: float, base: float) -> float:
    """The rate of parameters whose own base rate is `base`: from `floor_rate` at 0 to `base` at factor 1."""
    return schedule.floor_rate + factor * (base - schedule.floor_rate)


def tell_what_is_late(config: Config, notice: Callable[[str], None]) -> None:
    """Say what of a configuration lies beyond the end of its run; it is never refused."""
    for line in beyond_the_end(config):
        notice(line)


def beyond_the_end(config: Config) -> list[str]:
    """What of a configuration lies beyond the end of its run and so never happens: a line for people each."""
    schedule, epochs = config.schedule, config.epochs
    run = f"the run has {epochs} epoch{'s' if epochs > 1 else ''}"
    late = [str(one) for one in schedule.milestones if one >= epochs] if schedule.name == "step" else []
    keep = config.checkpoint.keep_every
    found = []
    if schedule.warmup >= epochs:
        found.append(f"schedule.warmup is {schedule.warmup:g} and {run}: the rate never reaches optimizer.lr")
    if late:
        found.append(f"schedule.milestones: no rate is cut at {', '.join(late)}, for {run}")
    if keep is not None and config.steps is None and keep > epochs:
        found.append(f"checkpoint.keep_every is {keep} and {run}: no state is kept for good")
    return found
