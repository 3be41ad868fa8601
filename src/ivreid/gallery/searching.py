"""Searches as people ask for them: several crops of one person, other cameras only, tracklets instead of crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ivreid.analysis.decisions import Decision, mean_of
from ivreid.errors import UsageError, did_you_mean
from ivreid.gallery.answer import Answer, Answered, Match, why_empty
from ivreid.gallery.decide import Decide, kind_of
from ivreid.gallery.store import Approximate, Found, Hit, Store, least_sure
from ivreid.gallery.topology import Sighting
from ivreid.gallery.where import Where
from ivreid.types import FloatArray, Modality

FUSIONS = ("mean", "best")
SYNTHETIC = (
    "decisions rest on SYNTHETIC people, drawn by ivreid, and say nothing about real ones; calibrate on people of your "
    "own cameras"
)


@dataclass(frozen=True, eq=False)
class Query:
    """One thing looked for.

    Attributes:
        name: How it is called in the answer.
        vectors: (n, D) of the crops that show it.
        modality: Of those crops.
        camera: Whose crops are left out of the answer; None without such a wish.
        itself: The id of a crop of the gallery that is the query, and no answer to it.
        sighting: Where and when it was seen, for travel times; None where that is not known.
    """

    name: str
    vectors: FloatArray
    modality: Modality
    camera: str | None = None
    itself: str | None = None
    sighting: Sighting | None = None


def search(
    store: Store,
    queries: Sequence[Query],
    where: Where,
    k: int,
    *,
    by_tracklet: bool,
    fuse: str | None,
    decide: Decide,
) -> Answer:
    """The k nearest crops or tracklets of every query.

    Args:
        store: Where to look.
        queries: One each; with `fuse` those of one person.
        where: What may be found.
        k: How many.
        by_tracklet: Whether a hit is a tracklet, standing for its nearest crop; a crop without one stands for
            itself.
        fuse: "mean" (of the queries' vectors), "best" (the smallest distance to any of them) or None.
        decide: Says what a hit is.

    Raises:
        UsageError: Unknown cameras, an unknown fusion, or queries that cannot be fused.
    """
    check_cameras(store, (where.cameras or frozenset()) | (where.not_cameras or frozenset()))
    if fuse is not None:
        together = sum(len(query.vectors) for query in queries)
        if fuse == "mean" and together > 1:
            decide = _of_means(together)
        queries = [_fused(queries, fuse)]
    groups: dict[Where, list[int]] = {}
    for row, query in enumerate(queries):
        groups.setdefault(_without_camera(where, query.camera), []).append(row)
    results: dict[int, Answered] = {}
    notes: list[str] = []
    approximate: Approximate | None = None
    partial: set[str] = set()
    for theirs, rows in groups.items():
        found = _nearest(store, [queries[row] for row in rows], theirs, k, by_tracklet)
        units = store.count(theirs, tracklets=True) if by_tracklet else found.searched
        for row, hits in zip(rows, found.hits, strict=True):
            matches = _decided(queries[row], hits, units, decide)
            results[row] = Answered(queries[row].name, matches, found.searched, units)
        approximate = least_sure([approximate, found.approximate])
        partial.update(found.partial)
        notes += found.notes if found.searched else [*found.notes, why_empty(store, theirs)]
    if any(hit.decision.synthetic for one in results.values() for hit in one.hits):
        notes.append(SYNTHETIC)
    told = tuple(dict.fromkeys(note for note in notes if note))
    ordered = tuple(results[row] for row in range(len(queries)))
    return Answer(ordered, by_tracklet, told, approximate, tuple(sorted(partial)))


def check_cameras(store: Store, cameras: frozenset[str]) -> None:
    """Refuse names of cameras that the store has no crop of.

    Raises:
        UsageError: With the names that look like it.
    """
    known = store.cameras() if cameras else ()
    for name in sorted(cameras.difference(known)):
        raise UsageError(f"there is no camera {name!r} in {store.address}; {did_you_mean(name, known)}")


def _without_camera(where: Where, camera: str | None) -> Where:
    if camera is None:
        return where
    return replace(where, not_cameras=(where.not_cameras or frozenset()) | {camera})


def _fused(queries: Sequence[Query], fuse: str) -> Query:
    if fuse not in FUSIONS:
        raise UsageError(f"the fusion {fuse!r} is unknown; it is {' or '.join(FUSIONS)}")
    modalities, cameras = {query.modality for query in queries}, {query.camera for query in queries}
    if len(modalities) > 1 or len(cameras) > 1:
        given = ", ".join(sorted(map(str, modalities if len(modalities) > 1 else cameras)))
        raise UsageError(
            f"crops of one person are fused within one modality and camera; these are of {given}"
        )
    vectors = np.concatenate([query.vectors for query in queries])
    if fuse == "mean":
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = np.mean(vectors / lengths, axis=0, keepdims=True)
    name = " + ".join(query.name for query in queries)
    return replace(queries[0], name=name, vectors=vectors, itself=None)


def _nearest(store: Store, queries: Sequence[Query], where: Where, k: int, by_tracklet: bool) -> Found:
    """The nearest of each query; of one with several vectors the nearest to any of them.

    A search for more than k is repeated with more until it holds k tracklets. Of a query's vectors each proposes
    its own nearest: a crop among the nearest to any of them is among the nearest to the one that it is nearest to.
    """
    extra = 1 if any(query.itself is not None for query in queries) else 0
    wanted = (4 * k if by_tracklet else k) + extra
    vectors = np.concatenate([query.vectors for query in queries])
    ends = np.cumsum([len(query.vectors) for query in queries]).tolist()
    while True:
        found = store.search(vectors, where, wanted)
        hits, enough = [], True
        for query, end in zip(queries, ends, strict=True):
            lists = found.hits[end - len(query.vectors) : end]
            complete = all(len(one) < wanted for one in lists)
            theirs = _nearest_to_any(lists)[: None if complete else wanted]
            theirs = [hit for hit in theirs if hit.crop.id != query.itself]
            theirs = _first_of_each(theirs) if by_tracklet else theirs
            enough = enough and (complete or len(theirs) >= k)
            hits.append(tuple(theirs[:k]))
        if enough:
            return replace(found, hits=tuple(hits))
        wanted *= 4


def _nearest_to_any(lists: Sequence[Sequence[Hit]]) -> list[Hit]:
    best: dict[str, Hit] = {}
    for hits in lists:
        for hit in hits:
            known = best.get(hit.crop.id)
            if known is None or hit.distance < known.distance:
                best[hit.crop.id] = hit
    return sorted(best.values(), key=lambda hit: (hit.distance, hit.crop.id))


def _first_of_each(hits: Sequence[Hit]) -> list[Hit]:
    seen: set[tuple[bool, str]] = set()
    out = []
    for hit in hits:
        unit = (hit.crop.tracklet is not None, hit.crop.tracklet or hit.crop.id)
        if unit not in seen:
            seen.add(unit)
            out.append(hit)
    return out


def _of_means(crops: int) -> Decide:
    return lambda distances, searched, kind, _: [mean_of(crops, searched) for _ in distances]


def _decided(query: Query, hits: Sequence[Hit], units: int, decide: Decide) -> tuple[Match, ...]:
    words: dict[str, Decision] = {}
    for modality in Modality:
        theirs = [hit for hit in hits if hit.crop.modality == modality]
        if theirs:
            kind = kind_of(query.modality, modality)
            said = decide([hit.distance for hit in theirs], units, kind, len(query.vectors))
            words |= {hit.crop.id: word for hit, word in zip(theirs, said, strict=True)}
    return tuple(Match(hit.crop, hit.distance, words[hit.crop.id]) for hit in hits)
