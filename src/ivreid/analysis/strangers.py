"""What a search calibration is fitted on: each person's images, drawn as queries and as what a gallery holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.bootstrap import DoubleArray
from ivreid.metrics.distances import Distances, pairwise
from ivreid.types import Embeddings, IntArray

MAX_PEOPLE = 5000
"""People of a comparison; beyond, that many are drawn."""
MAX_IMAGES = 20
"""Images of a person in one modality; beyond, that many are drawn."""
_BLOCK = 1 << 22
"""Distances held at a time."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person's images in the querying modality, and in the gallery's by camera.

    Attributes:
        query: Rows.
        query_camids: Their cameras.
        tracks: Rows of each camera's images: what a tracker would have made one tracklet of.
        track_camids: The camera of each.
    """

    query: IntArray
    query_camids: IntArray
    tracks: tuple[IntArray, ...]
    track_camids: tuple[int, ...]


def people_of(
    embeddings: Embeddings, query_infrared: bool, gallery_infrared: bool, rng: np.random.Generator
) -> list[Person]:
    """The known people who stand in both modalities, at most `MAX_PEOPLE`."""
    ids = embeddings.images
    pids = np.unique(ids.pids[ids.known])
    order = np.argsort(ids.pids, kind="stable")
    sides = {}
    for pid in pids:
        rows = order[np.searchsorted(ids.pids[order], pid) : np.searchsorted(ids.pids[order], pid, "right")]
        sides[pid] = rows
    found = []
    for pid in pids if len(pids) <= MAX_PEOPLE else np.sort(rng.choice(pids, MAX_PEOPLE, replace=False)):
        rows = sides[pid]
        query = _some(rows[ids.infrared[rows] == query_infrared], rng)
        gallery = _some(rows[ids.infrared[rows] == gallery_infrared], rng)
        if len(query) and len(gallery):
            cameras = np.unique(ids.camids[gallery])
            tracks = tuple(gallery[ids.camids[gallery] == camera] for camera in cameras)
            found.append(Person(query, ids.camids[query], tracks, tuple(cameras.tolist())))
    return found


def stranger_draw(
    embeddings: Embeddings, people: Sequence[Person], metric: str, tracklets: bool, rng: np.random.Generator
) -> DoubleArray:
    """(n, n) distances of one query of each person to one image (or the nearest of one tracklet) of each other."""
    query = np.array([rng.choice(one.query) for one in people])
    entries = [one.tracks[rng.integers(len(one.tracks))] for one in people]
    if not tracklets:
        entries = [track[[rng.integers(len(track))]] for track in entries]
    starts = np.cumsum([0, *(len(entry) for entry in entries[:-1])])
    measure = Distances(embeddings.vectors[np.concatenate(entries)], metric)
    out = np.empty((len(people), len(people)))
    height = max(1, _BLOCK // sum(len(entry) for entry in entries))
    for start in range(0, len(people), height):
        block = measure(embeddings.vectors[query[start : start + height]])
        out[start : start + height] = np.minimum.reduceat(block, starts, axis=1)
    return out


def own_distances(
    embeddings: Embeddings, people: Sequence[Person], metric: str, tracklets: bool, other_cameras: bool
) -> list[DoubleArray]:
    """The distances of each person's queries to their own gallery images or tracklets.

    Args:
        embeddings: All images.
        people: Whose.
        metric: "cosine" or "euclidean".
        tracklets: Take the nearest image of each camera's instead of all.
        other_cameras: Leave out the query's own camera, as within a modality it holds almost the same picture.
    """
    found = []
    for one in people:
        values: list[NDArray[np.float64]] = [np.empty(0)]
        for track, camid in zip(one.tracks, one.track_camids, strict=True):
            query = one.query[one.query_camids != camid] if other_cameras else one.query
            if len(query):
                distances = pairwise(embeddings.vectors[query], embeddings.vectors[track], metric)
                values.append(distances.min(axis=1) if tracklets else distances.ravel())
        found.append(np.concatenate(values))
    return found


def _some(rows: IntArray, rng: np.random.Generator) -> IntArray:
    return rows if len(rows) <= MAX_IMAGES else np.sort(rng.choice(rows, MAX_IMAGES, replace=False))
