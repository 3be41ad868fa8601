"""The answer to a search, as text and as CSV."""

from __future__ import annotations

from collections.abc import Iterator

from ivreid.gallery import Answer, Match
from ivreid.io import csv_text


def answer_lines(answer: Answer) -> Iterator[str]:
    """The hits of every query with what is said of them."""
    if answer.approximate is not None:
        yield str(answer.approximate)
    for one in answer.results:
        unit = f" in {one.units:,} tracklets" if answer.by_tracklet else ""
        yield f"{one.query}: {len(one.hits)} of {one.searched:,} crops searched{unit}"
        for rank, hit in enumerate(one.hits, start=1):
            crop = hit.crop
            track = f"  tracklet {crop.tracklet}" if crop.tracklet else ""
            travel = "" if hit.travel is None else f"  [{hit.travel.why}]"
            yield (
                f"{rank:>4}  {hit.distance:.4f}  {_word(hit)}  {crop.camera}  {crop.time.isoformat()}  "
                f"{crop.modality}{track}  {crop.source}  {crop.id}{travel}"
            )
        for why in sorted({hit.decision.why for hit in one.hits if hit.decision.low is None}):
            yield f"      {why}"
    yield "nearest is not same: a person decides"


def answer_csv(answer: Answer) -> str:
    """A row for every hit; where the answer is not exact or not whole, columns say so."""
    names = ("query", "rank", "id", "distance", "camera", "time", "modality", "source", "decision")
    caveats: dict[str, object] = {}
    if answer.approximate is not None:
        caveats["index_recall"] = answer.approximate.recall
    if answer.partial:
        caveats["partial"] = " ".join(answer.partial)
    rows: list[list[object]] = [[*names, "searched", "low", "high", "travel", *caveats]]
    for one in answer.results:
        for rank, hit in enumerate(one.hits, start=1):
            values = {"query": one.query, "rank": rank, **hit.to_json()}
            travel = "" if hit.travel is None else hit.travel.why
            more = (one.searched, hit.decision.low, hit.decision.high, travel)
            rows.append([*(values[name] for name in names), *more, *caveats.values()])
    return csv_text(rows)


def _word(hit: Match) -> str:
    """The decision with the interval of its rate."""
    said = hit.decision
    return said.decision if said.low is None else f"{said.decision} ({said.low:.2%} to {said.high:.2%})"
