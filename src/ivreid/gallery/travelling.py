"""Travel times beside the hits of a search, or as a gate before them; never silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ivreid.gallery.answer import Answer, Answered
from ivreid.gallery.searching import Query
from ivreid.gallery.sightings import sightings
from ivreid.gallery.store import Store
from ivreid.gallery.topology import Sighting, Topology, gate


def travelled(
    store: Store, answer: Answer, queries: Sequence[Query], topology: Topology, *, gated: bool = False
) -> Answer:
    """The answer to some queries with travel times, between whole tracklets also where a query is a crop of the store."""
    own = [query.itself for query in queries if query.itself is not None]
    known = store.get(own) if own else {}
    hits = [hit.crop for one in answer.results for hit in one.hits]
    found, note = sightings(store, [*known.values(), *hits])
    seen = [found.get(query.itself or "", query.sighting) for query in queries]
    answer = with_travel(answer, topology, seen, found, store.cameras(), gated=gated)
    return replace(answer, notes=(*answer.notes, note)) if note else answer


def with_travel(
    answer: Answer,
    topology: Topology,
    seen: Sequence[Sighting | None],
    found: Mapping[str, Sighting],
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
        found: Where and when the crops of the hits were, by id; see `sightings`.
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
        judged, note = _one(one, topology, sighting, found, gated)
        results.append(judged)
        notes += [note] if note else []
    return replace(answer, results=tuple(results), notes=tuple(notes))


def _one(
    one: Answered, topology: Topology, sighting: Sighting | None, found: Mapping[str, Sighting], gated: bool
) -> tuple[Answered, str]:
    travels = [topology.travel(sighting, found[hit.crop.id]) for hit in one.hits]
    hits = [replace(hit, travel=travel) for hit, travel in zip(one.hits, travels, strict=True)]
    if not gated:
        return replace(one, hits=tuple(hits)), ""
    kept, note = gate(travels)
    return replace(one, hits=tuple(hits[place] for place in kept)), f"{one.query}: {note}"
