"""Training as it went: loss terms, validation, learning rate, gradient norm, speed, waiting for data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.report.html import Html, el, figure, join
from ivreid.report.svg import Plot, legend, linear

POINTS = 160
"""Points a curve is thinned to: each is the mean of the steps it stands for."""
SELECTION = {
    "validation": "Figures on the validation identities, which training has not seen. They choose the "
    "best checkpoint; the test identities do not.",
    "published-test": "Figures on the TEST identities, which also chose the checkpoint, as the published "
    "run did: the test results above are therefore optimistic.",
    "last": "Figures of the checks along the way. The last epoch was kept, whatever they say.",
}
"""What the validation curve stands for, by the configuration's `validation.select`."""
VALIDATION = (("rank1", "Rank-1"), ("mAP", "mAP"), ("mINP", "mINP"))
SMALL = (
    ("lr", "Learning rate", 1.0, ""),
    ("grad_norm", "Gradient norm", 1.0, ""),
    ("images_per_second", "Images per second", 1.0, ""),
    ("data_wait", "Time spent waiting for data", 100.0, "%"),
)


def _rows(metrics: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Rows of one kind by ascending step; of two with one step, the later written counts."""
    by_step = {int(row["step"]): row for row in metrics if row.get("kind") == kind and "step" in row}
    return [by_step[step] for step in sorted(by_step)]


def _value(row: Mapping[str, Any], key: str) -> float:
    value = row.get(key)
    if key == "lr" and value is None and row.get("rates"):
        value = max(row["rates"].values())  # parameter groups share one schedule: the fastest shows it
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def thin(values: Sequence[float], points: int = POINTS) -> NDArray[np.float64]:
    """The means of `points` (or fewer) equal runs of the values; missing values do not count."""
    runs = np.array_split(np.array(values, dtype=np.float64), min(points, max(len(values), 1)))
    means = [run[np.isfinite(run)].mean() if np.isfinite(run).any() else math.nan for run in runs]
    return np.array(means)


def training_figures(metrics: Sequence[Mapping[str, Any]], selection: str | None = None) -> list[Html]:
    """Every chart the log has data for: loss and validation large, the rest small."""
    steps, checks = _rows(metrics, "step"), _rows(metrics, "validation")
    large, small = [], []
    if steps:
        large.append(_losses(steps))
        small = [
            _small(steps, *spec) for spec in SMALL if any(math.isfinite(_value(r, spec[0])) for r in steps)
        ]
    if checks:
        large.append(
            _validation(checks, SELECTION.get(str(selection), "Figures of the checks along the way."))
        )
    out = [el("div", *large, class_="pair")] if large else []
    return [*out, el("div", *small, class_="four")] if small else out


def _losses(steps: Sequence[Mapping[str, Any]]) -> Html:
    names = sorted({name for row in steps for name in row.get("terms") or {}})
    x = thin([float(r["step"]) for r in steps])
    curves = [("total", thin([_value(r, "loss") for r in steps]))]
    if len(names) > 1:
        curves += [(name, thin([_value(r.get("terms") or {}, name) for r in steps])) for name in names]
    values = np.concatenate([c for _, c in curves])
    negative = bool((values[np.isfinite(values)] < 0).any())
    plot = Plot(linear(x, "Step", zero=True, tight=True), linear(values, "Loss", zero=not negative))
    entries: list[tuple[str, int | None, str]] = []
    for series, (name, curve) in enumerate(curves):
        plot.line(list(x), list(curve), series)
        entries.append((f"{name} ({_last(curve)})", series, "line"))
    per_point = max(1, round(len(steps) / len(x)))
    return figure(
        join([plot.svg("Loss over steps: " + ", ".join(words for words, _, _ in entries)), legend(entries)]),
        "Loss and its terms as weighted in the total, with their last values. "
        + (
            f"A point is the mean of about {per_point:,} logged steps."
            if per_point > 1
            else "Every logged step is shown."
        ),
    )


def _last(curve: NDArray[np.float64]) -> str:
    finite = curve[np.isfinite(curve)]
    return f"{finite[-1]:.3g}" if len(finite) else "no finite value"


def _validation(checks: Sequence[Mapping[str, Any]], caption: str) -> Html:
    x = [float(r["step"]) for r in checks]
    curves = [(label, [100 * _value(r, key) for r in checks]) for key, label in VALIDATION]
    shown = [(label, curve) for label, curve in curves if any(map(math.isfinite, curve))]
    y = linear([v for _, curve in shown for v in curve], "Validation", zero=True, unit="%")
    plot = Plot(linear(x, "Step", zero=True, tight=True), y)
    entries: list[tuple[str, int | None, str]] = []
    for series, (label, curve) in enumerate(shown):
        plot.line(x, curve, series)
        for row, step, value in zip(checks, x, curve, strict=True):
            if math.isfinite(value):
                hint = f"{label} {value:.1f}% at step {step:,.0f}, epoch {row.get('epoch', '?')}"
                plot.dot(step, value, series, shape=series, size=2.6, hint=hint)
        entries.append((f"{label} (best {max(filter(math.isfinite, curve)):.1f}%)", series, "line"))
    best = _best(shown, x)
    if best is not None:
        plot.rule(best, "best Rank-1")
    return figure(
        join(
            [
                plot.svg("Validation over steps: " + ", ".join(words for words, _, _ in entries)),
                legend(entries),
            ]
        ),
        caption,
    )


def _best(shown: Sequence[tuple[str, list[float]]], steps: Sequence[float]) -> float | None:
    label, curve = shown[0] if shown else ("", [])
    finite = [(value, -step) for value, step in zip(curve, steps, strict=False) if math.isfinite(value)]
    return -max(finite)[1] if label == "Rank-1" and len(finite) > 1 else None


def learning_figures(logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Html]:
    """Several runs over each other: validation Rank-1 and mAP, and the total loss."""
    checks = {name: rows for name, log in logs.items() if (rows := _rows(log, "validation"))}
    steps = {name: rows for name, log in logs.items() if (rows := _rows(log, "step"))}
    drawn = [_overlaid(checks, key, f"Validation {label}", 100.0, "%") for key, label in VALIDATION[:2]]
    drawn.append(_overlaid(steps, "loss", "Total loss", 1.0, ""))
    shown = [one for one in drawn if one]
    return [el("div", *shown, class_="pair")] if shown else []


def _overlaid(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], key: str, label: str, factor: float, unit: str
) -> Html | None:
    curves = {}
    for name, own in rows.items():
        x, y = thin([float(r["step"]) for r in own]), factor * thin([_value(r, key) for r in own])
        if np.isfinite(y).any():
            curves[name] = (x, y)
    if not curves:
        return None
    every = [np.concatenate(sides) for sides in zip(*curves.values(), strict=True)]
    negative = bool((every[1][np.isfinite(every[1])] < 0).any())
    x_axis = linear(every[0], "Step", zero=True, tight=True)
    plot = Plot(x_axis, linear(every[1], label, zero=not negative, unit=unit))
    entries: list[tuple[str, int | None, str]] = []
    for series, (name, (x, y)) in enumerate(curves.items()):
        plot.line(list(x), list(y), series)
        entries.append((f"{name} ({_last(y)}{unit} at the end)", series, "line"))
    words = f"{label} of every run over its steps. What lies between the curves of equal settings is chance."
    described = f"{label} over steps: " + ", ".join(name for name, _, _ in entries)
    return figure(join([plot.svg(described), legend(entries)]), words)


def _small(steps: Sequence[Mapping[str, Any]], key: str, label: str, factor: float, unit: str) -> Html:
    x, y = thin([float(r["step"]) for r in steps], 90), factor * thin([_value(r, key) for r in steps], 90)
    finite = y[np.isfinite(y)]
    least = [10.0] if unit == "%" else []  # a wait of a thousandth should look like nothing
    scale = linear([*y, *least], label, zero=True, unit=unit, count=3)
    plot = Plot(linear(x, "Step", zero=True, count=3, tight=True), scale, width=250, height=170, left=46)
    plot.line(list(x), list(y), 0)
    return el(
        "div", plot.svg(f"{label} over steps, from {finite.min():.3g}{unit} to {finite.max():.3g}{unit}")
    )
