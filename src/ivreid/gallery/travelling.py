"""Travel times beside the hits of a search, or as a gate before them; never silent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ivreid.gallery.answer import Answer, Answered
from ivreid.gallery.topology import Sighting, Topology, gate


def with_travel(
    answer: Answer,
    topology: Topology,
    seen: Sequence[Sighting | None],
    cameras: Iterable[str],
    *,
    gated: bool = False,
) -> Answer:
    """The answer with a `travel` on every hit.

    Args:
        answer: Of a search.
        topology: Travel times.
        seen: Where and when each query was seen; of queries that were fused all of them, and then the first one known
            counts.
        cameras: The gallery's: the topology's other names judge nothing, which a note says.
        gated: Leave out hits that come too soon or too late, and say how many.
    """
    if len(seen) != len(answer.results):  # fused into one
        seen = [next((one for one in seen if one is not None), None)] * len(answer.results)
    notes = list(answer.notes)
    strange = topology.unknown_to(cameras)
    if strange:
        notes.append(f"the travel times name cameras that the gallery does not have: {', '.join(strange)}")
    results = []
    for one, sighting in zip(answer.results, seen, strict=True):
        found, note = _one(one, topology, sighting, gated)
        results.append(found)
        notes += [note] if note else []
    return replace(answer, results=tuple(results), notes=tuple(notes))


def _one(one: Answered, topology: Topology, sighting: Sighting | None, gated: bool) -> tuple[Answered, str]:
    travels = [topology.travel(sighting, Sighting(hit.crop.camera, hit.crop.time)) for hit in one.hits]
    hits = [replace(hit, travel=travel) for hit, travel in zip(one.hits, travels, strict=True)]
    if not gated:
        return replace(one, hits=tuple(hits)), ""
    kept, note = gate(travels)
    return replace(one, hits=tuple(hits[place] for place in kept)), f"{one.query}: {note}"
