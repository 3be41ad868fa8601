"""Rates of searches by distance and size of gallery, as a card keeps them: every rounding widens the interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.bootstrap import DoubleArray, Interval


@dataclass(frozen=True, eq=False)
class SearchTable:
    """What one comparison of modalities was found to be.

    Attributes:
        people: Whom it was fitted on.
        same: The largest distance whose interval keeps the rate asked for, at the size asked for.
        fpir: The rate there.
        found: Share of one person's pairs within `same`; None where nobody stands before two cameras.
        apart: Distance that 95% of one person's pairs do not exceed, or None.
        thresholds: (T,) ascending distances.
        sizes: (S,) ascending sizes of galleries.
        low: (T, S) lower ends of the rate's interval.
        high: (T, S) upper ends.
    """

    people: int
    same: float
    fpir: Interval
    found: Interval | None
    apart: Interval | None
    thresholds: DoubleArray
    sizes: NDArray[np.int64]
    low: DoubleArray
    high: DoubleArray

    @property
    def most(self) -> int:
        """The largest search it holds for."""
        return int(self.sizes[-1])

    def interval(self, distance: float, searched: int) -> tuple[float, float]:
        """Ends of the interval of the rate at a distance, for a search of 1 to `most` rows.

        Rates grow with distance and size, and less than in proportion to size; so the neighbours in the table
        bound what lies between them.
        """
        above = int(np.searchsorted(self.thresholds, distance))
        below = int(np.searchsorted(self.thresholds, distance, side="right")) - 1
        larger = int(np.searchsorted(self.sizes, searched))
        smaller = larger if self.sizes[larger] == searched else larger - 1
        small, large = int(self.sizes[smaller]), int(self.sizes[larger])
        high = low = 1.0
        if above < len(self.thresholds):
            row = self.high[above]
            high = min(float(row[larger]), float(row[smaller]) * searched / small)
        if below < 0:
            low = 0.0
        else:
            row = self.low[below]
            low = max(float(row[smaller]), float(row[larger]) * searched / large)
        return min(low, 1.0), min(high, 1.0)

    @classmethod
    def worst(cls, tables: Sequence[SearchTable]) -> SearchTable:
        """One table that holds wherever each of them does."""
        thresholds = np.unique(np.concatenate([table.thresholds for table in tables]))
        sizes = np.array(sorted(set.intersection(*(set(table.sizes.tolist()) for table in tables))))
        ends = [
            np.array([[table.interval(t, int(size)) for size in sizes] for t in thresholds])
            for table in tables
        ]
        nearest = min(tables, key=lambda table: table.same)
        aparts = [table.apart for table in tables if table.apart is not None]
        founds = [table.found for table in tables if table.found is not None]
        return cls(
            people=min(table.people for table in tables),
            same=nearest.same,
            fpir=nearest.fpir,
            found=min(founds, key=lambda one: one.estimate, default=None),
            apart=max(aparts, key=lambda one: one.high, default=None),
            thresholds=thresholds,
            sizes=sizes,
            low=np.min([end[..., 0] for end in ends], axis=0),
            high=np.max([end[..., 1] for end in ends], axis=0),
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, rounded outwards."""
        return {
            "people": self.people,
            "same": self.same,
            "fpir": self.fpir.to_json(),
            "found": self.found and self.found.to_json(),
            "apart": self.apart and self.apart.to_json(),
            "thresholds": self.thresholds.tolist(),
            "sizes": self.sizes.tolist(),
            "low": [[float(f"{0.9995 * x:.4g}") for x in row] for row in self.low],
            "high": [[min(1.0, float(f"{1.0005 * x:.4g}")) for x in row] for row in self.high],
        }

    @classmethod
    def from_json(cls, value: Any) -> SearchTable:
        """The table of a card.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        intervals = {
            name: Interval(*(float(value[name][key]) for key in ("estimate", "low", "high", "confidence")))
            for name in ("fpir", "found", "apart")
            if value.get(name) is not None
        }
        table = cls(
            people=int(value["people"]),
            same=float(value["same"]),
            fpir=intervals["fpir"],
            found=intervals.get("found"),
            apart=intervals.get("apart"),
            thresholds=np.array(value["thresholds"], dtype=np.float64),
            sizes=np.array(value["sizes"], dtype=np.int64),
            low=np.array(value["low"], dtype=np.float64),
            high=np.array(value["high"], dtype=np.float64),
        )
        shape = (len(table.thresholds), len(table.sizes))
        numbers = np.concatenate([table.thresholds, table.low.ravel(), table.high.ravel(), [table.same]])
        if (
            0 in shape
            or table.low.shape != shape
            or table.high.shape != shape
            or not np.isfinite(numbers).all()
        ):
            raise ValueError("a table of another shape, or numbers that are none")
        if (np.diff(table.thresholds) <= 0).any() or (np.diff(table.sizes) <= 0).any() or table.sizes[0] != 1:
            raise ValueError("a table out of order")
        if not (np.all(table.low >= 0) and np.all(table.low <= table.high) and np.all(table.high <= 1)):
            raise ValueError("rates outside 0 to 1")
        return table
