"""What a search for hyper-parameters has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ivreid.analysis.grid import Block, Cell, Grid
from ivreid.config.schema import Config
from ivreid.studies.optuna_store import Attempt
from ivreid.studies.search_space import Choices, Range


@dataclass(frozen=True)
class TuningResult:
    """What a search has found so far.

    Attributes:
        out: Its folder.
        metric: What it maximises on validation identities.
        space: What it varies.
        attempts: Every ended trial, in order.
        importance: Share of the trials' order that each setting explains; empty for too few trials.
        best: The best attempt, or None while none is complete.
        config: The best attempt's whole configuration, as in `best.yaml`.
    """

    out: Path
    metric: str
    space: Mapping[str, Range | Choices]
    attempts: tuple[Attempt, ...]
    importance: Mapping[str, float]
    best: Attempt | None
    config: Config | None

    def grid(self) -> Grid:
        """The best settings, those that mattered most first where it is known; there is a best."""
        best = self.best
        assert best is not None and best.score is not None
        outcomes = [one.outcome for one in self.attempts]
        counts = ", ".join(f"{outcomes.count(one)} {one}" for one in dict.fromkeys(outcomes))
        caption = (
            f"{self.metric} {100 * best.score:.2f}% on validation identities, trial {best.folder} ({counts})."
        )
        rows = []
        for key in self.importance or self.space:
            value = best.values[key]
            share = [Cell(f"{100 * self.importance[key]:.0f}%")] if self.importance else []
            rows.append((Cell(key), Cell(f"{value:.4g}" if isinstance(value, float) else str(value)), *share))
        head = ("setting", "best", *(["importance"] if self.importance else []))
        return Grid((caption,), head, (Block("", tuple(rows)),))
