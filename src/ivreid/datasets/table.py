"""A table of one's own: a CSV with columns `path,pid,modality[,camid][,split]`, paths from its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from ivreid.datasets.base import SPLITS, DatasetScan, Reader, number_frames
from ivreid.datasets.lists import whole_number
from ivreid.datasets.problems import Kind
from ivreid.datasets.tree import Tree, bad_path
from ivreid.errors import DataError, did_you_mean
from ivreid.io import IMAGE_SUFFIXES
from ivreid.types import NO_CAMERA, Modality, Sample

NEEDED = ("path", "pid", "modality")
COLUMNS = (*NEEDED, "camid", "split")


class OwnTable(Reader):
    """ROOT is the CSV, or a folder with exactly one; without a split column everything is in "test"."""

    name = "csv"

    def open(self, root: Path) -> Tree:
        """The files under the CSV's folder."""
        if root.is_file():
            return Tree(root.parent, given=root)
        tree = Tree(root)
        tables = [name for name in tree.folder("").files if name.lower().endswith(".csv") and name[0] != "."]
        if len(tables) != 1:
            found = f"it holds {len(tables)}: {', '.join(tables)}" if tables else "it holds none"
            raise DataError(f"{root}: give a CSV file or a folder with exactly one; {found}")
        return Tree(root, given=root / tables[0])

    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Every row of the table."""
        rows = list(_rows(tree, tree.given.name))
        found: dict[str, tuple[str, int, int, Modality]] = {}
        split_of: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for where, row in rows:
            image = _image(tree, where, row)
            split = _choice(tree, where, "split", row["split"], SPLITS) if "split" in row else "test"
            if image is None or split is None:
                continue
            path = image[0]
            size = tree.size(path)
            if size is None:
                tree.note_missing_file(path, where)
            elif path in found:
                tree.problems.add(Kind.LISTED_TWICE, where, f"{path} already stands on an earlier line")
            else:
                tree.check_size(path, size)
                found[path], split_of[path], sizes[path] = image, split, size
        used = [name for name in SPLITS if name in set(split_of.values())] or ["test"]
        splits: dict[str, list[Sample]] = {name: [] for name in used}
        for sample in number_frames(list(found.values())):
            splits[split_of[sample.path]].append(sample)
        return DatasetScan(splits, sizes, has_cameras=bool(rows) and "camid" in rows[0][1])


def _rows(tree: Tree, file: str) -> Iterator[tuple[str, dict[str, str]]]:
    text = tree.read_text(file)
    reader = csv.reader(io.StringIO(text or "", newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f"{file}:{reader.line_num}"
            if header is None:
                header = [cell.strip() for cell in cells]
                if not _check_header(tree, where, header):
                    return
            elif len(cells) != len(header) and any(cells):
                message = f"{len(cells)} values for {len(header)} columns; quote a value that holds a comma"
                tree.problems.add(Kind.MALFORMED, where, message)
            elif any(cells):
                yield (
                    where,
                    {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name in COLUMNS},
                )
    except csv.Error as error:
        tree.problems.add(Kind.MALFORMED, f"{file}:{reader.line_num}", f"not a CSV line ({error})")
    if text is not None and header is None:
        tree.problems.add(
            Kind.MALFORMED, file, f"the table is empty; its first line must be {','.join(NEEDED)}"
        )


def _check_header(tree: Tree, where: str, header: list[str]) -> bool:
    faults = []
    for name in NEEDED:
        if name not in header:
            faults.append(f"there is no column {name!r}")
    for name in header:
        near = get_close_matches(name.lower(), COLUMNS, 1, 0.7)
        if name not in COLUMNS and near and near[0] not in header:
            faults.append(f"column {name!r}: did you mean {near[0]!r}?")
        if header.count(name) > 1 and f"column {name!r} stands twice" not in faults:
            faults.append(f"column {name!r} stands twice")
    if faults and len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        faults = ["columns must be separated by commas"]
    for fault in faults:
        tree.problems.add(
            Kind.MALFORMED, where, f"{fault}; the columns are path,pid,modality[,camid][,split]"
        )
    return not faults


def _image(tree: Tree, where: str, row: dict[str, str]) -> tuple[str, int, int, Modality] | None:
    path, reason = row["path"], bad_path(row["path"])
    if reason:
        kind = Kind.ESCAPE if "out of" in reason or "absolute" in reason else Kind.MALFORMED
        tree.problems.add(kind, where, f"the path {path[:80]!r} {reason}")
    elif not path.lower().endswith(IMAGE_SUFFIXES):
        tree.problems.add(Kind.WRONG_NAME, where, f"{path} must end in {', '.join(IMAGE_SUFFIXES)}")
        reason = "suffix"
    pid = _number(tree, where, "pid", row["pid"], 0)
    camid = _number(tree, where, "camid", row["camid"], 1) if "camid" in row else NO_CAMERA
    modality = _choice(tree, where, "modality", row["modality"], tuple(m.value for m in Modality))
    if reason or pid is None or camid is None or modality is None:
        return None
    return path, pid, camid, Modality(modality)


def _number(tree: Tree, where: str, column: str, text: str, least: int) -> int | None:
    number = whole_number(text)
    if number is None or number < least:
        hint = "; leave the column out where cameras are unknown" if column == "camid" else ""
        message = f"{column} is {text[:40]!r}; it must be a whole number, {least} or more{hint}"
        tree.problems.add(Kind.MALFORMED, where, message)
        return None
    return number


def _choice(tree: Tree, where: str, column: str, text: str, choices: tuple[str, ...]) -> str | None:
    if text in choices:
        return text
    message = f"{column} is {text[:40]!r}, an unknown value; {did_you_mean(text, choices)}"
    tree.problems.add(Kind.MALFORMED, where, message)
    return None
