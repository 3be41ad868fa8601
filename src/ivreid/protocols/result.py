"""What an evaluation found: figures per trial, their mean and spread, and everything needed to trust them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivreid.errors import DataError

FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


@dataclass(frozen=True)
class TrialResult:
    """The figures of one trial, fractions in [0, 1].

    Attributes:
        rank1, rank5, rank10, rank20: CMC at those ranks.
        mAP: Mean average precision over valid queries.
        mINP: Mean inverse negative penalty over valid queries (Ye et al., TPAMI 2021).
        cmc: The CMC curve from rank 1 on, under the rule named in the options.
    """

    rank1: float
    rank5: float
    rank10: float
    rank20: float
    mAP: float
    mINP: float
    cmc: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The trial as plain JSON values."""
        return {**{name: getattr(self, name) for name in FIGURES}, "cmc": list(self.cmc)}


@dataclass(frozen=True)
class Result:
    """One evaluation under one protocol setting.

    Attributes:
        protocol: Registry name, e.g. "sysu-mm01".
        title: The setting's full name for people, naming every variant in use.
        version: Version of the protocol's implementation; figures of different versions are not compared
            silently.
        options: Every option that moves a figure (mode, shots, draw, direction, cmc, metric, trial...).
        queries: Queries per trial.
        valid_queries: Queries with at least one true match left after exclusion.
        gallery: Gallery images per trial.
        trials: One entry a trial.
        fingerprints: Of "dataset", "split" and "model", as far as known.
        rerank: Name of the re-ranking, or None for a plain ranking.
        tta: Name of the test-time augmentation, or None.
        notes: What a reader must know to read the figures rightly (small gallery, no camera rule, leak
            allowed).
        extra: Breakdowns and intervals that some commands add.
    """

    protocol: str
    title: str
    version: int
    options: Mapping[str, Any]
    queries: int
    valid_queries: int
    gallery: int
    trials: tuple[TrialResult, ...]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    rerank: str | None = None
    tta: str | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each figure over the trials."""
        return {name: float(np.mean([getattr(t, name) for t in self.trials])) for name in FIGURES}

    @property
    def std(self) -> dict[str, float]:
        """Population standard deviation of each figure over the trials (0 for a single trial)."""
        return {name: float(np.std([getattr(t, name) for t in self.trials])) for name in FIGURES}

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values; fractions, never percent."""
        return {
            "protocol": self.protocol,
            "title": self.title,
            "version": self.version,
            "options": dict(self.options),
            "queries": self.queries,
            "valid_queries": self.valid_queries,
            "gallery": self.gallery,
            "trials": [trial.to_json() for trial in self.trials],
            "mean": self.mean,
            "std": self.std,
            "fingerprints": dict(self.fingerprints),
            "rerank": self.rerank,
            "tta": self.tta,
            "notes": list(self.notes),
            **self.extra,
        }

    @classmethod
    def from_json(cls, value: Any, source: str = "result") -> Result:
        """The result a JSON object describes.

        Raises:
            DataError: A key is missing or has the wrong kind; the message names `source`.
        """
        known = {"protocol", "title", "version", "options", "queries", "valid_queries", "gallery", "trials"}
        optional = {"mean", "std", "fingerprints", "rerank", "tta", "notes"}
        if not isinstance(value, dict) or not known <= value.keys():
            missing = sorted(known - value.keys()) if isinstance(value, dict) else sorted(known)
            raise DataError(f"{source} is not an ivreid result: it lacks {', '.join(missing)}")
        try:
            trials = tuple(
                TrialResult(**{n: float(t[n]) for n in FIGURES}, cmc=tuple(float(x) for x in t["cmc"]))
                for t in value["trials"]
            )
            return cls(
                protocol=str(value["protocol"]),
                title=str(value["title"]),
                version=int(value["version"]),
                options=dict(value["options"]),
                queries=int(value["queries"]),
                valid_queries=int(value["valid_queries"]),
                gallery=int(value["gallery"]),
                trials=trials,
                fingerprints=dict(value.get("fingerprints") or {}),
                rerank=value.get("rerank"),
                tta=value.get("tta"),
                notes=tuple(value.get("notes") or ()),
                extra={k: v for k, v in value.items() if k not in known | optional},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{source} is not an ivreid result: {type(error).__name__} {error}") from error
