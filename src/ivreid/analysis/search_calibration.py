"""What a distance means in a search of N rows, fitted on people the model has not seen.

A rate over pairs is no rate over searches: where one pair of strangers in a hundred is called the same, a search of
ten thousand rows calls a hundred strangers so. Here the rate is that of a whole search (see `fpir`), for every
size of gallery there are people for, apart for each pair of modalities, since their distances differ in scale.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivreid.analysis.fpir import StrangerRates, people_for
from ivreid.analysis.named_calibrations import fitted_on_drawn
from ivreid.analysis.search_table import SearchTable
from ivreid.analysis.strangers import MAX_PEOPLE, Person, own_distances, people_of, stranger_draw
from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.metrics.bootstrap import CONFIDENCE, DoubleArray, Interval, draw_counts, percentile_interval
from ivreid.protocols.collapse import collapse_notes
from ivreid.protocols.result import SYNTHETIC_MARK
from ivreid.reading import clean
from ivreid.types import Embeddings

COMPARISONS = {
    "visible-visible": ((False, False),),
    "infrared-infrared": ((True, True),),
    "across": ((True, False), (False, True)),
}
"""Name -> whether query and gallery are infrared; across holds in both directions."""
UNITS = ("row", "tracklet")
DRAWS = 5
POINTS = 40
MISSED = 0.05
"""Beyond the distance that this share of one person's pairs exceeds, people are called likely different."""
RESAMPLES = 200


@dataclass(frozen=True)
class SearchCalibration:
    """A calibration for searches.

    Attributes:
        fpir: The share of searches for somebody absent that may end in "likely same".
        searched: Rows of the search it was asked for.
        confidence: Coverage of the intervals.
        date: Day of the fit, ISO 8601.
        tables: (comparison, unit) -> what was found; unit is "row" or "tracklet".
        refused: Comparison -> why there is none.
        synthetic: Whether the people are drawn, which every decision says.
    """

    fpir: float
    searched: int
    confidence: float
    date: str
    tables: Mapping[tuple[str, str], SearchTable]
    refused: Mapping[str, str] = field(default_factory=dict)
    metric: str = "cosine"
    synthetic: bool = False

    def to_json(self) -> dict[str, Any]:
        """The calibration as plain JSON values, as it stands in a weights card."""
        tables: dict[str, dict[str, Any]] = {}
        for (comparison, unit), table in self.tables.items():
            tables.setdefault(comparison, {})[unit] = table.to_json()
        return {
            "kind": "search",
            "metric": self.metric,
            "fpir": self.fpir,
            "searched": self.searched,
            "confidence": self.confidence,
            "date": self.date,
            "comparisons": tables,
            "refused": dict(self.refused),
            **({SYNTHETIC_MARK: True} if self.synthetic else {}),
        }

    @classmethod
    def from_json(cls, value: Any, source: str = "calibration") -> SearchCalibration:
        """The calibration of a card.

        Raises:
            CheckpointError: It is none, or damaged; the message names `source`.
        """
        try:
            tables = {
                (comparison, unit): SearchTable.from_json(table)
                for comparison, units in value["comparisons"].items()
                for unit, table in units.items()
                if comparison in COMPARISONS and unit in UNITS
            }
            fpir, confidence, searched = value["fpir"], value["confidence"], value["searched"]
            if not 0 < fpir < 1 or not 0 < confidence < 1 or type(searched) is not int or searched < 1:
                raise ValueError("rates outside 0 to 1, or no count")
            refused = {str(key): clean(why) for key, why in dict(value.get("refused") or {}).items()}
            date = clean(value.get("date", ""), 40)
            return cls(
                float(fpir),
                searched,
                float(confidence),
                date,
                tables,
                refused,
                synthetic=fitted_on_drawn(value),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{source} is no usable search calibration: {clean(error)}") from error


def fit_search(
    embeddings: Embeddings,
    *,
    searched: int,
    fpir: float = 0.01,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> SearchCalibration:
    """Fit what distances mean in searches, on people the model has not seen.

    The gallery holds each other person once, since N rows may be of N people; a row is one image, a tracklet the
    nearest image of one camera's.

    Args:
        embeddings: Of held-out people, in one or both modalities. Unknown people (pid below 0) take no part.
        searched: Rows (or tracklets) of the searches to promise for.
        fpir: Share of searches for somebody absent that may end in "likely same", in (0, 1).
        confidence: Coverage of the intervals.
        seed: Of the draws and resamples.

    Raises:
        UsageError: A rate outside (0, 1) or a search of nothing.
        DataError: Not enough people to promise that for any pair of modalities, or collapsed embeddings.
    """
    if not 0 < fpir < 1:
        raise UsageError(f"the share of searches to calibrate for lies between 0 and 1, got {fpir}")
    if searched < 1:
        raise UsageError(f"a search goes through 1 row or more, got {searched}")
    if collapsed := " ".join(collapse_notes(embeddings, "cosine")):
        raise DataError(f"no search can be promised anything: {collapsed}")
    tables: dict[tuple[str, str], SearchTable] = {}
    refused: dict[str, str] = {}
    for number, (comparison, directions) in enumerate(COMPARISONS.items()):
        rng = np.random.default_rng([seed, number])
        sides = [people_of(embeddings, query, gallery, rng) for query, gallery in directions]
        why = _too_few(len(sides[0]), searched, fpir, confidence)
        for unit in UNITS if not why else ():
            found = [
                _fit(embeddings, people, unit == "tracklet", comparison, (searched, fpir, confidence), rng)
                for people in sides
            ]
            table = found[0] if len(found) == 1 else SearchTable.worst(found)
            if table.same <= 0:
                why = f"{table.people:,} people, two of them at distance {max(table.same, 0):.2g}"
            else:
                tables[comparison, unit] = table
        if why:
            refused[comparison] = why
    if not tables:
        listed = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise DataError(
            f"not enough people to promise that ({listed}); give more people, a smaller N or a larger rate"
        )
    return SearchCalibration(
        fpir, searched, confidence, datetime.datetime.now(datetime.UTC).date().isoformat(), tables, refused
    )


def _too_few(people: int, searched: int, fpir: float, confidence: float) -> str:
    """Why so many people promise nothing; empty where they do."""
    if searched >= MAX_PEOPLE:
        return f"at most {MAX_PEOPLE:,} people enter, and {searched:,} rows take more than {searched:,}"
    if people <= searched:
        return f"{people:,} people, and searches of {searched:,} rows take {searched + 1:,}"
    if people < (needed := people_for(fpir, confidence)):
        return f"{people:,} people, and a rate of {fpir:g} takes {needed:,}"
    return ""


def _fit(
    embeddings: Embeddings,
    people: list[Person],
    tracklets: bool,
    comparison: str,
    asked: tuple[int, float, float],
    rng: np.random.Generator,
) -> SearchTable:
    searched, fpir, confidence = asked
    draws = [stranger_draw(embeddings, people, "cosine", tracklets, rng) for _ in range(DRAWS)]
    rates = StrangerRates(draws, confidence)
    same = rates.keeping(fpir * 0.999, searched)  # the card's figures are rounded outwards
    sizes = sizes_up_to(rates.most, searched)
    thresholds = np.unique(np.r_[rates.thresholds(POINTS), same])
    found = [rates.rates(float(threshold), sizes) for threshold in thresholds]
    own = own_distances(embeddings, people, "cosine", tracklets, other_cameras=comparison != "across")
    return SearchTable(
        people=len(people),
        same=same,
        fpir=found[int(np.searchsorted(thresholds, same))][sizes.index(searched)],
        found=_share_within(own, same, rng, confidence),
        apart=_quantile(own, 1 - MISSED, rng, confidence),
        thresholds=thresholds,
        sizes=np.array(sizes),
        # a rate grows with distance and size, so each end holds on its other side too
        low=_growing(np.array([[one.low for one in row] for row in found]), np.maximum),
        high=_growing(np.array([[one.high for one in row] for row in found])[::-1, ::-1], np.minimum)[
            ::-1, ::-1
        ],
    )


def _growing(ends: DoubleArray, extreme: np.ufunc) -> DoubleArray:
    return np.asarray(extreme.accumulate(extreme.accumulate(ends, axis=0), axis=1))


def sizes_up_to(most: int, asked: int) -> list[int]:
    """Sizes of galleries to tabulate: six a decade, the one asked for, and the largest there is."""
    steps = {round(10 ** (exponent / 6)) for exponent in range(int(6 * np.log10(most)) + 1)}
    return sorted({size for size in steps | {asked, most} if 1 <= size <= most})


def _share_within(
    own: list[DoubleArray], threshold: float, rng: np.random.Generator, confidence: float
) -> Interval | None:
    """The share of one person's pairs within a threshold, from drawing people again."""
    inside = np.array([(one <= threshold).sum() for one in own], dtype=np.float64)
    pairs = np.array([len(one) for one in own], dtype=np.float64)
    if not pairs.sum():
        return None
    weights = draw_counts(len(own), RESAMPLES, rng)
    total = weights @ pairs
    shares = (weights @ inside)[total > 0] / total[total > 0]
    return percentile_interval(float(inside.sum() / pairs.sum()), shares, confidence)


def _quantile(
    own: list[DoubleArray], share: float, rng: np.random.Generator, confidence: float
) -> Interval | None:
    """The distance that this share of one person's pairs does not exceed, from drawing people again."""
    distances = np.concatenate(own)
    if not len(distances):
        return None
    person = np.repeat(np.arange(len(own)), [len(one) for one in own])
    order = np.argsort(distances, kind="stable")
    distances, person = distances[order], person[order]

    def at(counts: DoubleArray) -> float | None:
        cumulative = np.cumsum(counts[person])
        if not cumulative[-1]:
            return None
        return float(distances[np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12))])

    values = [value for counts in draw_counts(len(own), RESAMPLES, rng) if (value := at(counts)) is not None]
    estimate = at(np.ones(len(own)))
    return percentile_interval(float(estimate or 0.0), np.array(values), confidence) if values else None
