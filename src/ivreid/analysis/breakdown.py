"""Where a figure comes from: cameras, places, modalities, people.

The block is plain JSON. A *row* is `{"valid_queries": n per trial, "rank1": .., "mAP": .., "mINP": ..}`, the
figures over the queries of all trials together; a row without a valid query is left out.

    query_cameras  rows with "camera": the queries of one camera against the whole gallery
    camera_pairs   rows with "query" and "gallery" cameras: the gallery reduced to one camera
    places         rows with "query" and "gallery" places, indoor or outdoor (SYSU-MM01 only)
    modalities     rows with "query" and "gallery" modality: the protocol's own, and within each modality
    hardest        rows with "pid": the identities of lowest mAP, hardest first
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.catalogue import PROTOCOLS
from ivreid.metrics import Outcomes, rank_queries
from ivreid.metrics.bootstrap import IdentitySums, identity_sums
from ivreid.metrics.identities import unknown_apart
from ivreid.protocols.base import canonical_order
from ivreid.types import NO_CAMERA, BoolArray, ImageTable


class Tally:
    """Outcomes gathered under keys over several trials."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Any, ...], list[Outcomes]] = defaultdict(list)

    def add(self, key: tuple[Any, ...], outcomes: Outcomes) -> None:
        """Gather the valid queries of one trial under a key."""
        self._parts[key].append(outcomes.take(outcomes.valid))

    def rows(self, *names: str, trials: int) -> list[dict[str, Any]]:
        """One row a key with a valid query, in the order of the keys; `names` label the key's parts."""
        joined = {key: Outcomes.concatenate(parts) for key, parts in sorted(self._parts.items())}
        return [
            {**dict(zip(names, key, strict=True)), **_row(outcomes, trials)}
            for key, outcomes in joined.items()
            if len(outcomes)
        ]


def _row(outcomes: Outcomes, trials: int) -> dict[str, float]:
    return {
        "valid_queries": len(outcomes) / trials,
        "rank1": float((outcomes.first_image == 1).mean()),
        "mAP": float(outcomes.ap.mean()),
        "mINP": float(outcomes.inp.mean()),
    }


class Breakdown:
    """Gathers the breakdown, some queries of a trial at a time.

    Args:
        protocol: Registry name; places are known for some datasets only.
        trials: How many there are.
    """

    def __init__(self, protocol: str, trials: int) -> None:
        self._indoor: frozenset[int] = (
            PROTOCOLS[protocol].indoor_cameras if protocol in PROTOCOLS else frozenset()
        )
        self._tallies = {name: Tally() for name in ("query_cameras", "camera_pairs", "places", "modalities")}
        self._trials = trials

    def add(
        self,
        distances: NDArray[np.floating[Any]],
        query: ImageTable,
        gallery: ImageTable,
        excluded: BoolArray | None,
        outcomes: Outcomes,
    ) -> None:
        """Take in queries of one trial.

        Args:
            distances: (Q, G).
            query: The Q query images.
            gallery: The G gallery images.
            excluded: (Q, G) pairs the protocol forbids, or None.
            outcomes: Of the Q queries against the whole gallery.
        """
        cameras, known = _groups(query.camids), _groups(gallery.camids)
        for camera, rows in cameras.items():
            self._tallies["query_cameras"].add((camera,), outcomes.take(rows))
        self._tallies["modalities"].add((modality_of(query), modality_of(gallery)), outcomes)
        if len(known) > 1 or len(cameras) > 1:
            for camera, columns in known.items():
                part = _restricted(distances, query, gallery, excluded, columns)
                for other, rows in cameras.items():
                    self._tallies["camera_pairs"].add((other, camera), part.take(rows))
        if self._indoor:
            here, there = (self._places(table) for table in (query, gallery))
            for place, columns in there.items():
                part = _restricted(distances, query, gallery, excluded, columns)
                for origin, rows in here.items():
                    self._tallies["places"].add((origin, place), part.take(rows))

    def _places(self, images: ImageTable) -> dict[str, NDArray[np.int64]]:
        indoor = np.isin(images.camids, sorted(self._indoor))
        rows = {"indoor": np.flatnonzero(indoor), "outdoor": np.flatnonzero(~indoor)}
        return {place: found for place, found in rows.items() if len(found)}

    def to_json(self) -> dict[str, Any]:
        """The block of cameras, places and the protocol's own modalities."""
        labels: dict[str, Sequence[str]] = {"query_cameras": ("camera",)}
        return {
            name: tally.rows(*labels.get(name, ("query", "gallery")), trials=self._trials)
            for name, tally in self._tallies.items()
        }


def modality_of(images: ImageTable) -> str:
    """What all these images are: "visible", "infrared", or "mixed"."""
    if images.infrared.all():
        return "infrared"
    return "mixed" if images.infrared.any() else "visible"


def _groups(camids: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    return {int(c): np.flatnonzero(camids == c) for c in np.unique(camids) if c != NO_CAMERA}


def _restricted(
    distances: NDArray[np.floating[Any]],
    query: ImageTable,
    gallery: ImageTable,
    excluded: BoolArray | None,
    columns: NDArray[np.int64],
) -> Outcomes:
    forbidden = None if excluded is None else excluded[:, columns]
    return rank_queries(distances[:, columns], query.pids, gallery.pids[columns], forbidden)


def within_modality(
    images: ImageTable, infrared: bool, *, rng: np.random.Generator, limit: int = 2000
) -> Any:
    """A single-shot trial inside one modality, to set beside the protocol's figures across modalities.

    The gallery is one image per identity and camera, drawn; every other image queries it (at most `limit` of
    them, drawn). Each image of an unknown person stands in the gallery. Where some identity was seen by several cameras, gallery images of the query's own identity
    and camera are excluded, as usual in re-identification; with one camera a modality (RegDB) nothing is.

    Args:
        images: All test images.
        infrared: Which modality.
        rng: Source of the draws.
        limit: Most queries.

    Returns:
        (query rows, gallery rows, excluded (Q, G) or None), or None where no query is left.
    """
    rows = canonical_order(images)
    rows = rng.permutation(rows[images.infrared[rows] == infrared])
    if not len(rows):
        return None
    people = np.stack([unknown_apart(images.pids[rows]), images.camids[rows]])
    seen, first = np.unique(people, axis=1, return_index=True)
    gallery = rows[first]
    query = np.delete(rows, first)[:limit]
    if not len(query):
        return None
    seen = seen[0]
    if len(np.unique(seen)) == len(seen):
        return query, gallery, None
    same_pid = images.pids[query][:, None] == images.pids[gallery]
    same_camera = images.camids[query][:, None] == images.camids[gallery]
    return query, gallery, same_pid & same_camera & (images.camids[query] != NO_CAMERA)[:, None]


def hardest(table: IdentitySums, count: int = 10) -> list[dict[str, Any]]:
    """Rows of the identities with the lowest mAP, hardest first, ties by pid."""
    order = np.lexsort([table.pids, table.sums["mAP"] / table.counts])[:count]
    return [
        {
            "pid": int(table.pids[i]),
            "valid_queries": float(table.counts[i]),
            **{name: float(table.sums[name][i] / table.counts[i]) for name in ("rank1", "mAP", "mINP")},
        }
        for i in order
    ]


def sums_over_trials(trials: Sequence[tuple[ImageTable, Outcomes]], rule: str) -> IdentitySums:
    """Outcomes per query identity, averaged over trials.

    Args:
        trials: Query images and their outcomes, trial by trial.
        rule: The CMC rule the ranks follow, "image" or "identity".
    """
    pids = np.concatenate([query.pids for query, _ in trials])
    joined = Outcomes.concatenate([outcomes for _, outcomes in trials])
    first = joined.first("identity" if rule == "identity" else "image")
    figures: dict[str, NDArray[Any]] = {f"rank{k}": joined.valid & (first <= k) for k in (1, 5, 10, 20)}
    table = identity_sums(pids, joined.valid, {**figures, "mAP": joined.ap, "mINP": joined.inp})
    sums = {name: values / len(trials) for name, values in table.sums.items()}
    return IdentitySums(table.pids, table.counts / len(trials), sums)
