"""What an evaluation found: figures per trial, their mean and spread, and everything needed to trust them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ivreid.errors import DataError
from ivreid.reading import clean

_PLAIN = (str, int, float, type(None))
SYNTHETIC_MARK = "synthetic"
"""The key of a result's JSON object that is true for drawn people."""
FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")
SPOKEN = ("Rank-1", "Rank-5", "Rank-10", "Rank-20", "mAP", "mINP")
"""The same, as people call them."""


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
    def synthetic(self) -> bool:
        """Whether the figures are of drawn people: they say that the machinery works, nothing of real ones."""
        return bool(self.extra.get(SYNTHETIC_MARK))

    def marked_synthetic(self) -> Result:
        """The same result, marked as one of drawn people."""
        return replace(self, extra={**self.extra, SYNTHETIC_MARK: True})

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each figure over the trials."""
        return {name: float(np.mean([getattr(t, name) for t in self.trials])) for name in FIGURES}

    @property
    def std(self) -> dict[str, float]:
        """Population standard deviation of each figure over the trials (0 for a single trial)."""
        return {name: float(np.std([getattr(t, name) for t in self.trials])) for name in FIGURES}

    def __str__(self) -> str:
        """What the protocol was and its figures in percent, with their deviation over several trials."""
        mean, std, several = self.mean, self.std, len(self.trials) > 1
        figures = [
            f"{label} {100 * mean[name]:.2f}" + (f" ± {100 * std[name]:.2f}" if several else "")
            for name, label in zip(FIGURES, SPOKEN, strict=True)
        ]
        trials = f", {len(self.trials)} trials" if several else ""
        drawn = " [SYNTHETIC people]" if self.synthetic else ""
        return f"{self.title}{trials}{drawn}\n{', '.join(figures)} (percent)"

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
        read = _Reader(value, source)
        return cls(
            protocol=read.text("protocol"),
            title=read.text("title"),
            version=read.count("version"),
            options=read.options(),
            queries=read.count("queries"),
            valid_queries=read.count("valid_queries"),
            gallery=read.count("gallery"),
            trials=read.trials(),
            fingerprints=read.texts("fingerprints"),
            rerank=read.text("rerank") if value.get("rerank") is not None else None,
            tta=read.text("tta") if value.get("tta") is not None else None,
            notes=read.notes(),
            extra={k: v for k, v in value.items() if k not in known | optional},
        )


def plainest(results: Sequence[Result]) -> Result:
    """The result that stands for several: the first without re-ranking and test-time augmentation.

    Where there is none, the first without re-ranking; where all are re-ranked, the first, which must then be marked.

    Args:
        results: At least one.
    """
    return min(results, key=lambda one: (one.rerank is not None, one.tta is not None))


class _Reader:
    """Takes the values of a result's JSON object, each of its own kind: a wrong one would end up in a table."""

    def __init__(self, value: dict[str, Any], source: str) -> None:
        self.value, self.source = value, source

    def wrong(self, key: str, value: Any, needed: str) -> DataError:
        shown = clean(repr(value), 60)
        return DataError(f"{self.source} is not an ivreid result: {key} is {shown}, it must be {needed}")

    def text(self, key: str) -> str:
        value = self.value[key]
        if type(value) is not str:
            raise self.wrong(key, value, "text")
        return value

    def count(self, key: str) -> int:
        value = self.value[key]
        if type(value) is not int or not 0 <= value < 2**53:
            raise self.wrong(key, value, "a count")
        return value

    def options(self) -> dict[str, Any]:
        value = self.value["options"]
        if type(value) is not dict or not all(isinstance(v, _PLAIN) for v in value.values()):
            raise self.wrong("options", value, "an object of plain values")
        return dict(value)

    def texts(self, key: str) -> dict[str, str]:
        value = self.value.get(key) or {}
        if type(value) is not dict or not all(type(v) is str for v in value.values()):
            raise self.wrong(key, value, "an object of texts")
        return dict(value)

    def notes(self) -> tuple[str, ...]:
        value = self.value.get("notes") or []
        if type(value) is not list or not all(type(v) is str for v in value):
            raise self.wrong("notes", value, "a list of texts")
        return tuple(value)

    def trials(self) -> tuple[TrialResult, ...]:
        value = self.value["trials"]
        if type(value) is not list or not value or not all(type(trial) is dict for trial in value):
            raise self.wrong("trials", value, "a list of one object a trial")
        return tuple(self.trial(f"trial {number}", trial) for number, trial in enumerate(value, start=1))

    def trial(self, where: str, trial: dict[str, Any]) -> TrialResult:
        figures = {name: self.fraction(f"{name} of {where}", trial.get(name)) for name in FIGURES}
        curve = trial.get("cmc")
        if type(curve) is not list or not curve:
            raise self.wrong(f"cmc of {where}", curve, "a list of fractions")
        cmc = tuple(self.fraction(f"cmc of {where}", point) for point in curve)
        return TrialResult(**figures, cmc=cmc)

    def fraction(self, what: str, value: Any) -> float:
        # a mean of many may exceed 1 by rounding
        if type(value) not in (int, float) or not 0 <= value <= 1 + 1e-9:
            raise self.wrong(what, value, "a fraction from 0 to 1")
        return float(value)
