"""Results as tables: what rows share stands once above them, a row holds what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ivreid.analysis.grid import Block, Cell, Grid
from ivreid.metrics.bootstrap import Interval
from ivreid.protocols.result import FIGURES, Result

LABELS = {
    **{"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "rank20": "Rank-20"},
    **{"mAP": "mAP", "mINP": "mINP"},
}
"""What people call the figures."""
OPEN_SET = "open set: share of people in the gallery who are found at this rank and within the threshold"


def results_grid(results: Sequence[Result]) -> Grid:
    """A row for each result of one model; rows of different settings answer different questions: none is the best."""
    words = [_words(result) for result in results]
    shared = [word for word in words[0] if all(word in other for other in words)]
    names = [", ".join(word for word in own if word not in shared) or "all" for own in words]
    rows = tuple((Cell(name), *_figures(result)) for name, result in zip(names, results, strict=True))
    open_rows = tuple(
        row for name, result in zip(names, results, strict=True) for row in _open_set_rows(name, result)
    )
    blocks = (Block("", rows), *([Block(OPEN_SET, open_rows)] if open_rows else []))
    several = any(len(result.trials) > 1 for result in results)
    caption = (f"{', '.join(shared)}.",) if shared else ()
    reading = "Percent, mean ± standard deviation over trials." if several else "Percent."
    notes = tuple(dict.fromkeys(note for result in results for note in result.notes))
    return Grid((*caption, reading), ("setting", *LABELS.values()), blocks, notes)


def _words(result: Result) -> list[str]:
    """A result's whole title and counts, in parts of which several results may share some."""
    return [*split_title(result.title), *counts(result)]


def split_title(title: str) -> list[str]:
    """The parts between the commas of a title; a comma between brackets divides nothing."""
    parts, depth = [""], 0
    for letter in title:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def counts(result: Result) -> list[str]:
    """How many images queried how many, and how often; and whether the people are drawn."""
    asked = f"{result.valid_queries:,}"
    if result.valid_queries != result.queries:
        asked += f" of {result.queries:,}"
    trials = [f"{len(result.trials)} trials"] if len(result.trials) > 1 else []
    drawn = ["SYNTHETIC people"] if result.synthetic else []
    return [f"{asked} queries x {result.gallery:,} images", *trials, *drawn]


def _figures(result: Result) -> list[Cell]:
    mean, std, several = result.mean, result.std, len(result.trials) > 1
    intervals = stored_intervals(result)
    cells = []
    for name in FIGURES:
        detail = f"± {100 * std[name]:.2f}" if several else ""
        parts = [("", _percent(mean[name])), *([("std", _percent(std[name]))] if several else [])]
        parts += interval_parts(intervals.get(name))
        cells.append(Cell(f"{100 * mean[name]:.2f}", detail, parts=tuple(parts)))
    return cells


def _open_set_rows(name: str, result: Result) -> Iterator[tuple[Cell, ...]]:
    """A row for each rate of mistaken strangers that an open set shows; none of other results, or damaged ones."""
    block = result.extra.get("open_set")
    rates = block.get("rates") if isinstance(block, Mapping) else None
    for fpir, ranks in rates.items() if isinstance(rates, Mapping) else ():
        cells = []
        for figure in FIGURES:
            entry = ranks.get(figure) if isinstance(ranks, Mapping) else None
            mean, std = _number(entry, "mean"), _number(entry, "std")
            if mean is None or std is None:
                cells.append(Cell(""))
            else:
                parts = (("", _percent(mean)), ("std", _percent(std)))
                cells.append(Cell(f"{100 * mean:.2f}", f"± {100 * std:.2f}", parts=parts))
        if any(cell.text for cell in cells):
            yield (Cell(f"{name}, FPIR {fpir}"), *cells)


def interval_parts(interval: Interval | None) -> list[tuple[str, str]]:
    """The columns that a CSV has for an interval."""
    return [] if interval is None else [("low", _percent(interval.low)), ("high", _percent(interval.high))]


def _percent(value: float) -> str:
    return f"{100 * value:.4f}"


def stored_intervals(result: Result) -> dict[str, Interval]:
    """The intervals over people that a result carries; none where it carries none, or damaged ones."""
    block = result.extra.get("intervals")
    found = {}
    for name, entry in block.items() if isinstance(block, Mapping) else ():
        values = [_number(entry, key) for key in ("estimate", "low", "high", "confidence")]
        if name in FIGURES and None not in values:
            found[name] = Interval(*(value for value in values if value is not None))
    return found


def _number(entry: Any, key: str) -> float | None:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
