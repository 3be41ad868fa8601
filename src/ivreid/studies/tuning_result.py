"""What a search for hyper-parameters has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
