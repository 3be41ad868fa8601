"""Several runs in one table a setting: the best of each figure, and which differences mean something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivreid.analysis.compare import compare, mismatches, per_identity
from ivreid.analysis.comparisons import Results, read_any, setting_of
from ivreid.analysis.grid import Block, Cell, Grid
from ivreid.analysis.result_tables import LABELS, counts, interval_parts
from ivreid.errors import UsageError
from ivreid.metrics.bootstrap import CONFIDENCE, Interval, bootstrap
from ivreid.protocols.result import FIGURES, Result

CLEAR = "*"


@dataclass(frozen=True)
class RunRow:
    """One run under one setting.

    Attributes:
        name: The run's.
        result: What it reached.
        intervals: Of its figures, over query identities; empty where it holds no outcomes per identity.
        best: Figures in which no row of its block is better.
        behind: Figures in which the paired interval of its difference to the best leaves out zero.
    """

    name: str
    result: Result
    intervals: Mapping[str, Interval]
    best: frozenset[str]
    behind: frozenset[str]


@dataclass(frozen=True)
class RunBlock:
    """Runs that stand in one rank order: one setting, one re-ranking and augmentation or none, the same images.

    Attributes:
        heading: The re-ranking and augmentation; empty for plain rankings.
        rows: In the order given.
    """

    heading: str
    rows: tuple[RunRow, ...]


@dataclass(frozen=True)
class SettingTable:
    """Runs under one protocol setting.

    Attributes:
        title: The setting.
        blocks: Plain rankings first, then each other kind by itself.
        confidence: Coverage of the intervals.
        notes: Why rows may not be comparable, and what the results note.
    """

    title: str
    blocks: tuple[RunBlock, ...]
    confidence: float
    notes: tuple[str, ...]

    def grid(self) -> Grid:
        """The table: means with intervals (or the spread over trials), the best bold."""
        rows = [row for block in self.blocks for row in block.rows]
        shared = list(dict.fromkeys(", ".join(counts(row.result)) for row in rows))
        drawn = any(row.result.synthetic for row in rows)
        caption = [f"{self.title}, {shared[0]}." if len(shared) == 1 else f"{self.title}."]
        caption += ["SYNTHETIC people: figures of drawn pictures."] if drawn else []
        caption.append(self._reading(rows))
        names = {row.name: len(shared) > 1 for row in rows}
        blocks = tuple(
            Block(block.heading, tuple(_cells(row, counted=names[row.name]) for row in block.rows))
            for block in self.blocks
        )
        return Grid(tuple(caption), ("run", *LABELS.values()), blocks, self.notes)

    def to_json(self) -> dict[str, Any]:
        """The table as plain JSON values."""
        blocks = [
            {"heading": block.heading, "rows": [_row_json(row) for row in block.rows]}
            for block in self.blocks
        ]
        return {"title": self.title, "blocks": blocks, "notes": list(self.notes)}

    def _reading(self, rows: Sequence[RunRow]) -> str:
        words = "Percent"
        if any(row.intervals for row in rows):
            words += f", with {self.confidence:.0%} intervals over query identities"
        if any(not row.intervals and len(row.result.trials) > 1 for row in rows):
            words += ", ± standard deviation over trials"
        words += "." if not any(row.best for row in rows) else "; the best is bold."
        if any(row.behind for row in rows):
            words += f" {CLEAR}: differs from the best by more than chance, over the same people."
        return words


def compare_runs(
    runs: Sequence[Results],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[SettingTable, ...]:
    """Put several runs into one table for each protocol setting.

    Plain rankings, re-rankings and augmentations never stand in one rank order, nor do results on different images:
    the best is sought among rows of one kind.

    Args:
        runs: Results files, run folders, or results in memory; two at least.
        names: What the rows are called; else folders and files give their own.
        seed: Of the resamples.
        confidence: Coverage of the intervals.

    Returns:
        A table for every setting that any run holds, in the order of the runs. `SettingTable.grid()` makes it
        text, and `ivreid.analysis.FORMS` LaTeX, Markdown or CSV.

    Raises:
        UsageError: Fewer than two runs, or a coverage outside (0, 1).
        DataError: A file that cannot be read.
    """
    if len(runs) < 2:
        raise UsageError("a comparison needs two results files or run folders at least")
    if not 0 < confidence < 1:
        raise UsageError(f"--confidence {confidence}: a coverage lies between 0 and 1, such as 0.95")
    called = list(names) if names is not None else run_names(runs)
    settings: dict[Any, list[tuple[str, Result]]] = {}
    for name, run in zip(called, runs, strict=True):
        for result in read_any(run):
            settings.setdefault(setting_of(result)[:2], []).append((name, result))
    return tuple(_table(entries, seed, confidence) for entries in settings.values())


def run_names(runs: Sequence[Results]) -> list[str]:
    """The shortest ends of the paths that tell the runs apart; results in memory are numbered."""
    parts = [
        Path(run).absolute().with_suffix("").parts if isinstance(run, str | Path) else (f"run {number}",)
        for number, run in enumerate(runs, start=1)
    ]
    parts = [own[:-1] if own[-1] == "results" and len(own) > 2 else own for own in parts]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(own)} ({number})" for number, own in enumerate(parts, start=1)]


def _table(entries: Sequence[tuple[str, Result]], seed: int, confidence: float) -> SettingTable:
    kinds: dict[str, list[tuple[str, Result]]] = {}
    for name, result in entries:
        kinds.setdefault(kind_of_ranking(result), []).append((name, result))
    ordered = sorted(kinds.items(), key=lambda kind: kind[0] != "")  # plain first
    notes: list[str] = []
    blocks = tuple(RunBlock(kind, _rows(rows, seed, confidence, notes)) for kind, rows in ordered)
    told = dict.fromkeys(note for _, result in entries for note in result.notes)
    return SettingTable(plain_title(entries[0][1]), blocks, confidence, (*dict.fromkeys(notes), *told))


def kind_of_ranking(result: Result) -> str:
    """What was done beyond ranking plain embeddings; empty for nothing."""
    words = [f"re-ranked by {result.rerank}" if result.rerank else ""]
    words.append(f"test-time augmentation: {result.tta}" if result.tta else "")
    return ", ".join(word for word in words if word)


def plain_title(result: Result) -> str:
    """A result's title without its re-ranking and augmentation."""
    title = result.title.removesuffix(f", TEST-TIME AUGMENTED by {result.tta}")
    return title.removesuffix(f", RE-RANKED by {result.rerank}")


def _rows(
    entries: Sequence[tuple[str, Result]], seed: int, confidence: float, notes: list[str]
) -> tuple[RunRow, ...]:
    (first, reference), *others = entries
    for name, result in others:
        notes += [f"{first} and {name}: {doubt}" for doubt in mismatches(reference, result)]
    comparable = len(entries) > 1 and _same_images([result for _, result in entries])
    if len(entries) > 1 and not comparable:
        notes.append("no best is marked: the rows were tested on different images")
    best = {
        figure: max(round(100 * result.mean[figure], 2) for _, result in entries)
        for figure in (FIGURES if comparable else ())
    }
    winners = {
        figure: next(r for _, r in entries if round(100 * r.mean[figure], 2) == top)
        for figure, top in best.items()
    }
    rows = []
    for name, result in entries:
        own = frozenset(f for f, top in best.items() if round(100 * result.mean[f], 2) == top)
        behind = _behind(result, {f: w for f, w in winners.items() if f not in own}, seed, confidence)
        rows.append(RunRow(name, result, _intervals(result, seed, confidence), own, behind))
    return tuple(rows)


def _behind(result: Result, winners: Mapping[str, Result], seed: int, confidence: float) -> frozenset[str]:
    found = set()
    for winner in {id(one): one for one in winners.values()}.values():
        pair = compare(winner, result, seed=seed, confidence=confidence)
        if pair.pairing == "identities":
            clear = {difference.figure for difference in pair.differences if difference.clear}
            found |= {figure for figure, one in winners.items() if one is winner and figure in clear}
    return frozenset(found)


def _same_images(results: Sequence[Result]) -> bool:
    known = [
        {r.fingerprints[kind] for r in results if kind in r.fingerprints} for kind in ("dataset", "split")
    ]
    return all(len(values) <= 1 for values in known) and len({r.version for r in results}) == 1


def _intervals(result: Result, seed: int, confidence: float) -> dict[str, Interval]:
    table = per_identity(result)
    if table is None or len(table) < 2:
        return {}
    return bootstrap(table, rng=np.random.default_rng(seed), confidence=confidence)


def _short(value: float) -> str:
    return f"{100 * value:.1f}".replace("100.0", "100")


def _row_json(row: RunRow) -> dict[str, Any]:
    intervals = {name: interval.to_json() for name, interval in row.intervals.items() if name in FIGURES}
    marks = {"best": sorted(row.best), "behind": sorted(row.behind)}
    return {"name": row.name, "mean": row.result.mean, "std": row.result.std, "intervals": intervals, **marks}


def _cells(row: RunRow, *, counted: bool) -> tuple[Cell, ...]:
    label = ", ".join([row.name, *(counts(row.result) if counted else [])])
    cells = [Cell(label)]
    for name in FIGURES:
        mean, interval = 100 * row.result.mean[name], row.intervals.get(name)
        spread = len(row.result.trials) > 1
        parts = [("", f"{mean:.4f}")]
        parts += [("std", f"{100 * row.result.std[name]:.4f}")] if spread else []
        parts += interval_parts(interval)
        detail = f"± {100 * row.result.std[name]:.1f}" if spread else ""
        if interval is not None:
            detail = f"{_short(interval.low)}–{_short(interval.high)}"
        text = f"{mean:.2f}{CLEAR if name in row.behind else ''}"
        cells.append(Cell(text, detail, name in row.best, tuple(parts)))
    return tuple(cells)
