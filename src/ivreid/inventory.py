"""What lies in a folder: runs, studies and searches, how far each is, its best figures and its size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.errors import IvreidError, UsageError
from ivreid.evaluation.position import load_position
from ivreid.evaluation.run_folder import RunFolder
from ivreid.io import folder_bytes, try_lock
from ivreid.protocols import plainest, read_results
from ivreid.training.log import read_log
from ivreid.training.run_lock import LOCK
from ivreid.yaml_text import read_yaml

SEARCH = "study.db"
Figures = tuple[float | None, float | None, str]
"""Rank-1, mAP, and what they were measured on."""
NO_FIGURES: Figures = (None, None, "")


@dataclass(frozen=True)
class RunEntry:
    """A run, a study of several, or a search.

    Attributes:
        path: Its folder.
        kind: "run", "study" or "search".
        method: The method's name; empty where the folder does not say.
        dataset: The dataset's name, likewise.
        state: "training", "stopped", "trained", "tested", "ended, weights removed", "failed before its first
            checkpoint", or of a study or search how many runs it holds.
        rank1: Rank-1, a fraction: of a test where there is one, a plain result before a re-ranked one, else the best of a
            validation; None without either.
        mean_ap: mAP of the same.
        measured_on: What they were measured on: "test", "re-ranked test" where every result is re-ranked by other test
            images, or "validation"; empty without figures.
        size: Bytes of everything in the folder.
        changed: When something in it last changed, seconds since 1970.
    """

    path: Path
    kind: str
    method: str
    dataset: str
    state: str
    rank1: float | None
    mean_ap: float | None
    measured_on: str
    size: int
    changed: float


def list_runs(folder: Path | str) -> list[RunEntry]:
    """The runs, studies and searches in a folder and below it, by name; the runs of a study after it.

    Nothing is read but texts and headers, so it takes moments; a damaged file costs its own figures alone.

    Args:
        folder: A folder of runs, or one run.

    Raises:
        UsageError: No such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder; name the one that --out of `ivreid train` pointed into, e.g. runs"
        )
    return list(_entries(folder))


def _entries(folder: Path) -> Iterator[RunEntry]:
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders.sort()
        if SEARCH in files:
            yield _several(here, "search")
        elif "config.yaml" in files and (LOCK in files or RunFolder(here).holds_a_run()):
            folders.clear()
            yield _run(here)
        elif "results.json" in files and any((here / name / "config.yaml").is_file() for name in folders):
            yield _several(here, "study")


def _run(path: Path) -> RunEntry:
    folder = RunFolder(path)
    tree = _tree(folder.config)
    rank1, mean_ap, measured_on = _tested(folder.results) or _validated(folder.metrics) or NO_FIGURES
    return RunEntry(
        path,
        "run",
        str(_part(tree, "method").get("name", "")),
        str(_part(tree, "data").get("dataset", "")),
        _state(folder, tree),
        rank1,
        mean_ap,
        measured_on,
        folder_bytes(path),
        _changed(path),
    )


def _several(path: Path, kind: str) -> RunEntry:
    below = sorted(path.glob("trials/*" if kind == "search" else "*"))
    runs = [one for one in below if (one / "config.yaml").is_file()]
    tree = _tree(runs[0] / "config.yaml") if runs else {}
    figures: Figures = _tested(path / "results.json") or NO_FIGURES
    if kind == "search":
        scores = [found for one in runs if (found := _validated(one / "metrics.jsonl"))]
        figures = max(scores, key=lambda found: found[0] or 0.0, default=NO_FIGURES)
    rank1, mean_ap, measured_on = figures
    return RunEntry(
        path,
        kind,
        str(_part(tree, "method").get("name", "")),
        str(_part(tree, "data").get("dataset", "")),
        f"{len(runs)} run{'s' * (len(runs) != 1)}",
        rank1,
        mean_ap,
        measured_on,
        folder_bytes(path),
        _changed(path),
    )


def _state(folder: RunFolder, tree: dict[str, Any]) -> str:
    if _in_use(folder.path / LOCK):
        return f"training{_how_far(folder, tree)}"
    if not folder.holds_a_run():  # a search removes the weights of trials that lost
        return (
            "ended, weights removed" if _validated(folder.metrics) else "failed before its first checkpoint"
        )
    how_far = _how_far(folder, tree)
    if how_far or not folder.weights.exists():
        return f"stopped{how_far}"
    return "tested" if folder.results.exists() else "trained"


def _how_far(folder: RunFolder, tree: dict[str, Any]) -> str:
    """The position in words, empty where the run is at its end or cannot say (its checkpoints may be deleted)."""
    try:
        position = load_position(folder.last)
        steps = tree.get("steps")
        done, total = (position["step"], steps) if steps else (position["epoch"], tree["epochs"])
    except (IvreidError, KeyError):
        return ""
    if not isinstance(total, int) or (done >= total and not position.get("batch")):
        return ""
    return f" at {'step' if steps else 'epoch'} {done:,} of {total:,}"


def _in_use(lock: Path) -> bool:
    try:
        with lock.open("r+b") as file:
            return try_lock(file.fileno()) == "theirs"
    except OSError:
        return False


def _tree(config: Path) -> dict[str, Any]:
    try:
        found = read_yaml(config)
    except IvreidError:
        return {}
    return found if isinstance(found, dict) else {}


def _part(tree: dict[str, Any], key: str) -> dict[str, Any]:
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def _tested(results: Path) -> Figures | None:
    """Rank-1 and mAP of the first plain result; of a re-ranked one where there is no other."""
    try:
        found = read_results(results)
    except IvreidError:
        return None
    first = plainest(found)
    return first.mean["rank1"], first.mean["mAP"], "re-ranked test" if first.rerank else "test"


def _validated(metrics: Path) -> Figures | None:
    try:
        rows = [row for row in read_log(metrics) if row.get("kind") == "validation"]
        best = max(rows, key=lambda row: float(row["rank1"]), default=None)
        return None if best is None else (float(best["rank1"]), float(best["mAP"]), "validation")
    except (IvreidError, KeyError, TypeError, ValueError):
        return None


def _changed(path: Path) -> float:
    return max(
        (file.stat().st_mtime for file in path.iterdir() if file.exists()), default=path.stat().st_mtime
    )
