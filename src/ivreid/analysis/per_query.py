"""What became of every single query: its average precision, the rank of its first match, whom it met instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.io import OutputKind, csv_text, starting_with, write_text
from ivreid.metrics import rank_queries
from ivreid.metrics.distances import pairwise
from ivreid.protocols.base import Protocol, Trial
from ivreid.protocols.fixed_trial import DistanceMatrix, Scored
from ivreid.protocols.trials import Distance, distance_blocks

BLOCK = 512
"""Queries measured at a time."""
COLUMNS = (
    *("setting", "trial", "query", "pid", "camera", "modality", "frame"),
    *("average_precision", "first_match", "met", "met_pid", "met_camera"),
)
PER_QUERY: OutputKind = starting_with("queries", ".csv", b"setting,trial,query,")


class QueryTable:
    """A line for every query of every trial; hand it to `evaluate_run` or `score_features`, then write it.

    Columns: the setting's title; the trial, from 1; path (where known), identity, camera, modality and frame of the
    query; its average precision in [0, 1] and the 1-based rank of its first true match, both empty where the
    camera rule left it none; path, identity and camera of the image in first place where that is another person.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def add(
        self, source: Scored, protocol: Protocol, title: str, *, metric: str, distance: Distance | None = None
    ) -> None:
        """Rank every query of a protocol's trials and take the outcomes in.

        Args:
            source: What was scored.
            protocol: By which protocol.
            title: The result's.
            metric: "cosine" or "euclidean".
            distance: What replaced the metric, if anything did.
        """
        for number, trial in enumerate(protocol.trials(source.images), start=1):
            for rows, distances in _blocks(source, trial, metric, distance):
                self.lines += _lines(source, protocol, trial, rows, distances, (title, number))

    def write(self, path: Path | str) -> None:
        """Write the lines as CSV.

        Raises:
            DataError: The file cannot be written.
        """
        write_text(Path(path), csv_text([COLUMNS, *self.lines]))


def _blocks(
    source: Scored, trial: Trial, metric: str, distance: Distance | None
) -> Iterator[tuple[slice, NDArray[Any]]]:
    if isinstance(source, DistanceMatrix) or distance is not None:
        yield from distance_blocks(source, trial, distance)
        return
    gallery = source.vectors[trial.gallery]
    for start in range(0, len(trial.query), BLOCK):
        rows = slice(start, min(start + BLOCK, len(trial.query)))
        yield rows, pairwise(source.vectors[trial.query[rows]], gallery, metric)


def _lines(
    source: Scored,
    protocol: Protocol,
    trial: Trial,
    rows: slice,
    distances: NDArray[Any],
    head: tuple[str, int],
) -> Iterator[tuple[Any, ...]]:
    query, gallery = source.images.take(trial.query[rows]), source.images.take(trial.gallery)
    excluded = protocol.excluded(query, gallery)
    outcomes = rank_queries(distances, query.pids, gallery.pids, excluded)
    allowed = distances if excluded is None else np.where(excluded, np.inf, distances)
    nearest = allowed.argmin(axis=1)  # of equal ones the first, as in the ranking
    for i in range(len(query)):
        valid, wrong = bool(outcomes.valid[i]), outcomes.first_image[i] != 1
        at, there = int(nearest[i]), bool(np.isfinite(allowed[i, nearest[i]]))
        met = (
            (_path(gallery.paths, at), int(gallery.pids[at]), int(gallery.camids[at]))
            if wrong and there
            else ("", "", "")
        )
        figures = (f"{outcomes.ap[i]:.10g}", int(outcomes.first_image[i])) if valid else ("", "")
        modality = "infrared" if query.infrared[i] else "visible"
        ids = int(query.pids[i]), int(query.camids[i]), modality, int(query.frames[i])
        yield (*head, _path(query.paths, i), *ids, *figures, *met)


def _path(paths: tuple[str, ...], at: int) -> str:
    return paths[at] if paths else ""
