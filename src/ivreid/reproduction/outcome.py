"""What was published beside what came out here, as values and as one JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ivreid.datasets import DatasetReport
from ivreid.methods.publication import PublishedFigures
from ivreid.protocols import Result

TEST_IDENTITIES = {"sysu-mm01": 96, "regdb": 206, "llcm": 351}
"""Of the datasets as their authors released them."""
COMPARED = {"rank1": "rank1", "mAP": "mean_ap", "mINP": "mean_inp"}
"""Our figures, and what a published row calls them."""


@dataclass(frozen=True)
class Compared:
    """One published row and ours.

    Attributes:
        published: The row.
        result: Ours, under the same setting.
    """

    published: PublishedFigures
    result: Result

    def figures(self) -> list[dict[str, Any]]:
        """Name, published and own value, difference, interval over query identities and deviation over trials."""
        rows = []
        intervals = self.result.extra.get("intervals") or {}
        for name, attribute in COMPARED.items():
            theirs, ours = getattr(self.published, attribute), self.result.mean[name]
            given = None if theirs is None else theirs / 100
            interval = intervals.get(name)
            rows.append(
                {
                    "figure": name,
                    "published": given,
                    "ours": ours,
                    "difference": None if given is None else ours - given,
                    "interval": interval and {key: interval[key] for key in ("low", "high", "confidence")},
                    "std": self.result.std[name] if len(self.result.trials) > 1 else None,
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON values; fractions, never percent."""
        one = self.published
        return {
            "setting": one.setting,
            "kind": one.kind,
            "source": one.source,
            "draw": one.draw,
            "title": self.result.title,
            "rerank": self.result.rerank,
            "tta": self.result.tta,
            "compared": self.figures(),
        }


@dataclass(frozen=True)
class Reproduction:
    """What was published, what came out here, and why the two may differ.

    Attributes:
        method: Its name.
        dataset: Registry name.
        made: What was tested: a checkpoint's file and hash, or the recipe of a training and what was changed in it.
        rows: One for every published row.
        may_differ: Sentences for people.
        report: What the check of the dataset found.
        environment: Versions and machine.
        file: The JSON that holds all of this.
    """

    method: str
    dataset: str
    made: Mapping[str, Any]
    rows: tuple[Compared, ...]
    may_differ: tuple[str, ...]
    report: DatasetReport
    environment: Mapping[str, Any]
    file: Path

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values, without a path of this machine."""
        results = {id(row.result): row.result for row in self.rows}
        return {
            "reproduction": self.method,
            "dataset": {
                "name": self.dataset,
                "fingerprint": self.report.fingerprint,
                "problems": len(self.report.problems),
                "test_identities_published": TEST_IDENTITIES.get(self.dataset),
            },
            "made": dict(self.made),
            "figures": [row.to_json() for row in self.rows],
            "may_differ": list(self.may_differ),
            "results": [result.to_json() for result in results.values()],
            "environment": dict(self.environment),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
