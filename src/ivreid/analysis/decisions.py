"""From a distance in a search to words: likely same, uncertain, likely different, not calibrated. Never "identity"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ivreid.analysis.search_calibration import SearchCalibration
from ivreid.errors import UsageError
from ivreid.protocols.result import SYNTHETIC_MARK
from ivreid.types import Modality

LIKELY_SAME, UNCERTAIN, LIKELY_DIFFERENT = "likely same", "uncertain", "likely different"
NOT_CALIBRATED = "not calibrated"


@dataclass(frozen=True)
class Decision:
    """What a hit of a search is said to be.

    Attributes:
        decision: "likely same", "uncertain", "likely different" or "not calibrated".
        low: Lower end of the share of searches for somebody absent that come upon a stranger this near; None
            where nothing is calibrated.
        high: Its upper end.
        confidence: Coverage of that interval, or None.
        searched: Rows, or tracklets where the calibration counts those, that it holds for.
        why: One sentence for people.
        synthetic: Whether it rests on drawn people.
    """

    decision: str
    low: float | None
    high: float | None
    confidence: float | None
    searched: int
    why: str
    synthetic: bool = False

    def to_json(self) -> dict[str, Any]:
        """The decision as plain JSON values."""
        interval = (
            None if self.low is None else {"low": self.low, "high": self.high, "confidence": self.confidence}
        )
        drawn = {SYNTHETIC_MARK: True} if self.synthetic else {}
        return {
            "decision": self.decision,
            "fpir": interval,
            "searched": self.searched,
            "why": self.why,
            **drawn,
        }


def decide(
    calibration: SearchCalibration | None,
    distance: float,
    query: Modality | str,
    gallery: Modality | str,
    *,
    rows: int,
    tracklets: int | None = None,
    crops: int = 1,
) -> Decision:
    """Say what a distance means in a search.

    Likely same: the whole interval of the rate lies within the one the calibration was asked for. Likely
    different: at most one in twenty pairs of one person lie so far apart, at the interval's far end. Uncertain: neither.

    Args:
        calibration: From `model.search_calibration()`; None where there is none.
        distance: Cosine distance of the hit: of the image, or of the tracklet's nearest image.
        query: Modality of the query.
        gallery: Modality of the hit.
        rows: Rows that the search went through after its filters, of either modality.
        tracklets: Tracklets among those, images without one counted each, where hits are tracklets.
        crops: Of the query: where the distance is the smallest to any of several, each had its chance of coming upon a
            stranger, and the rate's upper end is so many times that of one.

    Raises:
        UsageError: A search of nothing, or by no crop.
    """
    searched = rows if tracklets is None else tracklets
    if searched < 1:
        raise UsageError(f"a hit comes from a search of at least one row, got {searched}")
    if crops < 1:
        raise UsageError(f"a query has at least one crop, got {crops}")
    if calibration is None:
        return _no(
            "no calibration for searches; fit one: ivreid calibrate --fpir 0.01 --searched N", searched
        )
    sides = {Modality(query), Modality(gallery)}
    comparison = "across" if len(sides) == 2 else "-".join([sides.pop()] * 2)
    table = calibration.tables.get((comparison, "row" if tracklets is None else "tracklet"))
    if table is None:
        why = calibration.refused.get(comparison, "it was not fitted")
        return _no(f"no calibration for {comparison}: {why}", searched)
    people = f"{table.people:,} {'SYNTHETIC ' if calibration.synthetic else ''}people"
    if searched > table.most:
        why = f"{people} promise nothing beyond searches of {table.most:,}; this one was of {searched:,}"
        return _no(why, searched)
    low, high = table.interval(distance, searched)
    high = min(1.0, crops * high)
    word = UNCERTAIN
    if high <= calibration.fpir:
        word = LIKELY_SAME
    elif table.apart is not None and distance > table.apart.high:
        word = LIKELY_DIFFERENT
    unit = "rows" if tracklets is None else "tracklets"
    by = f" by {crops:,} crops" if crops > 1 else ""
    why = (
        f"of searches of {searched:,} {unit}{by} for somebody absent, {low:.2%} to {high:.2%} come upon a stranger this "
        f"near ({calibration.confidence:.0%} interval, {people})"
    )
    return Decision(word, low, high, calibration.confidence, searched, why, calibration.synthetic)


def mean_of(crops: int, searched: int) -> Decision:
    """The decision on a distance to the mean of several crops, which no calibration was fitted for."""
    return _no(
        f"calibrations hold for single crops, and this is the mean of {crops:,}; `best` is calibrated",
        searched,
    )


def _no(why: str, searched: int) -> Decision:
    return Decision(NOT_CALIBRATED, None, None, None, searched, why)
