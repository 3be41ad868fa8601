"""What the hits of a search are said to be: the seam between distances and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ivreid.analysis.decisions import Decision, decide
from ivreid.analysis.named_calibrations import NoCalibration
from ivreid.analysis.search_calibration import SearchCalibration
from ivreid.inference import Embedder
from ivreid.types import Modality

Decide = Callable[[Sequence[float], int, str, int], list[Decision]]
"""Takes the distances of some hits of one query; how many tracklets were compared where hits are tracklets, else how
many crops; the kind of the comparison, "visible-visible", "infrared-infrared" or "across"; and how many crops the query
has, where the distance is the smallest to any of them."""

ACROSS = "across"


def kind_of(query: Modality, hit: Modality) -> str:
    """The kind of a comparison."""
    return ACROSS if query != hit else f"{query.value}-{hit.value}"


def by_calibration(model: Embedder, by_tracklet: bool) -> Decide:
    """Decisions by what the model's card says of searches; without a calibration every one is "not calibrated".

    Raises:
        CheckpointError: The calibration was fitted with other weights or in another precision, or is damaged.
    """
    calibration: SearchCalibration | None
    try:
        calibration = model.search_calibration()
    except NoCalibration:
        calibration = None

    def decided(distances: Sequence[float], searched: int, kind: str, crops: int = 1) -> list[Decision]:
        sides = tuple(Modality) if kind == ACROSS else (Modality(kind.partition("-")[0]),) * 2
        tracklets = searched if by_tracklet else None
        return [
            decide(calibration, gap, *sides, rows=searched, tracklets=tracklets, crops=crops)
            for gap in distances
        ]

    return decided
