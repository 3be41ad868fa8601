"""The learning rate as a function of the epochs done, so that resuming needs no schedule state."""

from __future__ import annotations

import math

from ivreid.config.schema import ScheduleSection


def rate_factor(schedule: ScheduleSection, progress: float, epochs: int) -> float:
    """What `optimizer.lr` is multiplied by.

    Args:
        schedule: The schedule's settings.
        progress: Epochs done, with fraction: 2.5 is the middle of the third epoch.
        epochs: Epochs of the whole run.

    Returns:
        A factor in [0, 1]. During warm-up it rises linearly from `warmup_from` to the schedule's own value.
        The cosine falls from 1 at the end of warm-up to `floor` at the end of the run (Loshchilov & Hutter,
        2017).
    """
    factor = 1.0
    if schedule.name == "step":
        factor = schedule.gamma ** sum(progress >= milestone for milestone in schedule.milestones)
    elif schedule.name == "cosine":
        span = max(epochs - schedule.warmup, 1e-9)
        done = min(max((progress - schedule.warmup) / span, 0.0), 1.0)
        factor = schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * done))
    if progress < schedule.warmup:
        start = schedule.warmup_from
        factor *= start + (1 - start) * progress / schedule.warmup
    return factor
