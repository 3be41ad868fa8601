"""Checks that hold for any dataset and look beyond what its reader reads; only `ivreid data check` makes them."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ivreid.datasets.base import DatasetScan
from ivreid.datasets.problems import Kind
from ivreid.datasets.tree import Tree
from ivreid.io import is_picture
from ivreid.types import NO_CAMERA, Modality


def note_same_names(tree: Tree, scan: DatasetScan) -> None:
    """Note pictures of one folder and modality whose names differ only in suffix or case: mostly one twice."""
    modality = {sample.path: sample.modality for samples in scan.splits.values() for sample in samples}
    alike: dict[tuple[str, str, Modality | None], list[str]] = defaultdict(list)
    for path in scan.images:
        folder, _, name = path.rpartition("/")
        stem = unicodedata.normalize("NFC", name.rpartition(".")[0]).casefold()
        alike[folder, stem, modality.get(path)].append(path)
    for first, *others in alike.values():
        for other in others:
            message = f"{first.rpartition('/')[2]} stands beside it; if they are one picture, keep one"
            tree.problems.add(Kind.SAME_NAME, other, message, fatal=False)


def note_unused(tree: Tree, scan: DatasetScan) -> None:
    """Note every folder with pictures that the layout does not know, and of which nothing has been said."""
    told = {problem.path.rstrip("/") for problem in tree.problems}
    for folder, names in _pictures(tree, told):
        paths = [f"{folder}/{name}" if folder else name for name in names]
        unused = [path for path in paths if path not in scan.images and path not in told]
        if not unused:
            continue
        if not folder:  # an overview, a contact sheet
            scan.notices.append(f"{len(unused):,} picture(s) beside the dataset's folders: {some(unused)}")
            continue
        first = unused[0].rpartition("/")[2]
        message = f"{len(unused):,} picture(s), such as {first}, where the layout has none; they are ignored"
        tree.problems.add(Kind.UNUSED, folder, message, fatal=False)


def _pictures(tree: Tree, told: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Each folder once with its pictures; those behind links within the root last."""
    pending, linked, seen = [""], list[str](), set[str]()
    while pending or linked:
        folder = pending.pop() if pending else linked.pop()
        real = os.path.realpath(tree.root / folder)
        if real in seen:
            continue
        seen.add(real)
        listing = tree.peek(folder)
        yield folder, [name for name in listing.files if is_picture(name)]
        for name in reversed(listing.folders):
            path = f"{folder}/{name}" if folder else name
            if path not in told:
                (linked if (tree.root / path).is_symlink() else pending).append(path)


def pictures_beside(tree: Tree, images: Mapping[str, int]) -> list[str]:
    """Pictures in the folders of a table's pictures that the table does not name."""
    folders = sorted({path.rpartition("/")[0] for path in images})
    paths = (f"{folder}/{name}" if folder else name for folder in folders for name in tree.peek(folder).files)
    return [path for path in paths if is_picture(path.rpartition("/")[2]) and path not in images]


def note_shared_cameras(tree: Tree, scan: DatasetScan) -> None:
    """Note camera numbers that both modalities use, where each camera sees one."""
    seen: dict[int, set[Modality]] = defaultdict(set)
    for samples in scan.splits.values():
        for sample in samples:
            seen[sample.camid].add(sample.modality)
    for camid in sorted(camid for camid, found in seen.items() if camid != NO_CAMERA and len(found) == 2):
        message = (
            f"camera {camid} has visible and infrared pictures, and an evaluation leaves out true matches of the "
            "query's own camera; give two cameras two numbers"
        )
        tree.problems.add(Kind.SHARED_CAMERA, tree.given.name, message, fatal=False)


def some(paths: Sequence[str], limit: int = 5) -> str:
    """The first paths and how many more."""
    return ", ".join(paths[:limit]) + (f" and {len(paths) - limit:,} more" if len(paths) > limit else "")
