"""One picture of a search: how it went, what mattered, and where the good values lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ivreid.io import atomic_write
from ivreid.studies.importance import FEWEST
from ivreid.studies.optuna_store import Attempt
from ivreid.studies.search_space import Choices, Range
from ivreid.studies.tuning_result import TuningResult

COLUMNS = 4
LOOKS = {"complete": ("o", "#1f5fa8"), "stopped early": ("v", "#b0b0b0"), "diverged": ("x", "#c0392b")}
BEST = "#d98c00"


def plot_tuning(found: TuningResult, path: Path) -> None:
    """Draw a search's history, the importance of its settings, and the score over each setting's values.

    Args:
        found: A search with at least one ended trial.
        path: The PNG to write.

    Raises:
        DataError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    keys = sorted(found.space, key=lambda key: -found.importance.get(key, 0.0))
    rows = -(-len(keys) // COLUMNS)
    figure = Figure(figsize=(3.6 * COLUMNS, 3.2 * (1 + rows)), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, rows))  # an array of two
    top, below = parts
    left, right = top.subplots(1, 2)
    _history(left, found)
    _importance(right, found)
    for number, key in enumerate(keys, start=1):
        _slice(below.add_subplot(rows, COLUMNS, number), key, found.space[key], found)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _history(axes: Any, found: TuningResult) -> None:
    numbered = list(enumerate(found.attempts, start=1))
    _points(axes, [float(number) for number, _ in numbered], found.attempts)
    best = accumulate((_height(one) if one.outcome == "complete" else 0.0 for one in found.attempts), max)
    axes.step([number for number, _ in numbered], list(best), where="post", color=BEST, label="best so far")
    axes.set(title="The search", xlabel="trial", ylabel=_label(found))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize="small")


def _importance(axes: Any, found: TuningResult) -> None:
    axes.set(title="What mattered")
    if not found.importance:
        axes.text(0.5, 0.5, f"known from {FEWEST} trials on", ha="center", va="center", color="#606060")
        axes.set_axis_off()
        return
    keys = list(found.importance)[::-1]
    bars = axes.barh(keys, [100 * found.importance[key] for key in keys], color=LOOKS["complete"][1])
    axes.bar_label(bars, fmt="%.0f%%", padding=3)
    axes.set(xlabel="share of the trials' order that the setting explains by itself, %", xlim=(0, 100))


def _slice(axes: Any, key: str, one: Range | Choices, found: TuningResult) -> None:
    values = [attempt.values[key] for attempt in found.attempts]
    if isinstance(one, Choices):
        names = [str(choice) for choice in one.choices]
        values = [float(names.index(str(value))) for value in values]
        axes.set_xticks(range(len(names)), names)
    elif one.log:
        axes.set_xscale("log")
        ticks = [one.low, (one.low * one.high) ** 0.5, one.high]
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.set_xticks([], minor=True)  # their labels would run into each other
        axes.set_xlim(min(one.low, *values) / 1.2, max(one.high, *values) * 1.2)
    _points(axes, values, found.attempts)
    if found.best is not None:
        at = found.attempts.index(found.best)
        axes.plot(values[at], _height(found.best), "*", color=BEST, markersize=14, zorder=3)
    axes.set(xlabel=key, ylabel=_label(found))


def _points(axes: Any, across: Sequence[float], attempts: Sequence[Attempt]) -> None:
    for outcome, (marker, colour) in LOOKS.items():
        chosen = [i for i, one in enumerate(attempts) if one.outcome == outcome]
        if chosen:
            heights = [_height(attempts[i]) for i in chosen]
            axes.plot([across[i] for i in chosen], heights, marker, color=colour, label=outcome)


def _height(one: Attempt) -> float:
    return 100 * (one.score or 0.0)


def _label(found: TuningResult) -> str:
    return f"validation {found.metric}, %"
