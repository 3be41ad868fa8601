"""A table of one's own: a CSV with columns `path,pid,modality[,camid][,split]`, paths from its folder."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ivreid.datasets.base import SPLITS, DatasetScan, Reader, number_frames
from ivreid.datasets.examples import write_list, write_picture
from ivreid.datasets.extra_checks import note_shared_cameras, pictures_beside, some
from ivreid.datasets.id_lists import whole_number
from ivreid.datasets.identities import is_name, map_beside, number_names, read_identities
from ivreid.datasets.problems import Kind
from ivreid.datasets.registry import register_dataset
from ivreid.datasets.tree import Tree, bad_path
from ivreid.errors import DataError, did_you_mean
from ivreid.io import OWN_SUFFIXES
from ivreid.reading import clean
from ivreid.types import NO_CAMERA, Modality, Sample

NEEDED = ("path", "pid", "modality")
MAX_LINE = 1 << 16
MAX_COLUMNS = 100
COLUMNS = (*NEEDED, "camid", "split")
_Row = tuple[str, str, int, Modality]
"""Path, pid as it is written, camera and modality."""


@register_dataset
class CsvDataset(Reader):
    """ROOT is the CSV, or a folder with exactly one; without a split column everything is in "test".

    People are called by whole numbers, or all by names.
    """

    name = "csv"
    suffixes = OWN_SUFFIXES
    owns_root = False
    own_numbers = True

    def open(self, root: Path) -> Tree:
        """The files under the CSV's folder."""
        if root.is_file():
            return Tree(root.parent, given=root, suffixes=self.suffixes)
        tree = Tree(root, suffixes=self.suffixes)
        tables = [name for name in tree.folder("").files if name.lower().endswith(".csv") and name[0] != "."]
        if len(tables) != 1:
            found = f"it holds {len(tables)}: {', '.join(tables)}" if tables else "it holds none"
            raise DataError(f"{root}: give a CSV file or a folder with exactly one; {found}")
        return Tree(root, given=root / tables[0], suffixes=self.suffixes)

    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Every row of the table."""
        faults = _Faults()
        rows: list[tuple[str, _Row, str]] = []
        for where, row in _rows(tree, tree.given.name, faults):
            if _too_many_problems(tree, where):
                rows.clear()
                break
            image = _image(tree, where, row, faults)
            split = row.get("split", "test")
            if split not in SPLITS:
                faults.add("split", where, _unknown_word("split", split, SPLITS))
            elif image is not None:
                rows.append((where, image, split))
        numbers, new = _numbers(tree, rows, faults)
        found: dict[str, tuple[str, int, int, Modality]] = {}
        split_of: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for where, (path, pid, camid, modality), split in rows:
            if _too_many_problems(tree, where):
                break
            if pid not in numbers:
                continue
            size = tree.size(path)
            if size is None:
                tree.note_missing_file(path, where)
            elif path in found:
                tree.problems.add(
                    Kind.LISTED_TWICE, where, f"{clean(path)} already stands on an earlier line"
                )
            else:
                tree.check_size(path, size)
                found[path] = path, numbers[pid], camid, modality
                split_of[path], sizes[path] = split, size
        faults.tell(tree)
        used = [name for name in SPLITS if name in set(split_of.values())] or ["test"]
        splits: dict[str, list[Sample]] = {name: [] for name in used}
        for sample in number_frames(list(found.values())):
            splits[split_of[sample.path]].append(sample)
        without = sum(image[2] == NO_CAMERA for image in found.values())
        scan = DatasetScan(splits, sizes, has_cameras=without < len(found), **new)
        if scan.has_cameras and without:
            scan.notices.append(
                f"{without:,} of {len(found):,} pictures have no camid: no camera rule holds for them"
            )
        return scan

    def examine(self, tree: Tree, scan: DatasetScan) -> None:
        """Cameras of two modalities, and pictures that stand in no row."""
        note_shared_cameras(tree, scan)
        beside = pictures_beside(tree, scan.images)
        if beside:
            scan.notices.append(
                f"{len(beside):,} picture(s) beside the table's stand in no row: {some(beside)}"
            )

    def example(self, root: Path) -> Path:
        """Two people in each split, seen by a visible and an infrared camera."""
        lines = [",".join(COLUMNS)]
        for pid, split in enumerate((split for split in SPLITS for _ in range(2)), start=1):
            for camid, modality in enumerate(Modality, start=1):
                for name in ("a.jpg", "b.png"):
                    path = write_picture(root, f"pictures/{pid}-{modality}-{name}")
                    lines.append(f"{path},{pid},{modality},{camid},{split}")
        write_list(root / "people.csv", lines)
        return root / "people.csv"


def _too_many_problems(tree: Tree, where: str) -> bool:
    """Whether no more problems are kept, which is then told."""
    if tree.problems.overflow:
        tree.problems.add(Kind.MALFORMED, where, "the table is not read further: too many problems")
    return tree.problems.overflow


def _numbers(
    tree: Tree, rows: Sequence[tuple[str, _Row, str]], faults: _Faults
) -> tuple[dict[str, int], dict[str, Any]]:
    """The number of each pid as it is written, and what of the scan concerns people called by names."""
    written = dict.fromkeys(image[1] for _, image, _ in rows)
    plain = {pid: number for pid in written if (number := _number(pid, 0)) is not None}
    names = [pid for pid in written if pid not in plain and is_name(pid)]
    named = bool(names) and not plain
    wrong = written.keys() - plain.keys() - (set(names) if named else set())
    for where, (_, pid, _, _), _ in rows:
        if pid in wrong:
            mixed = ", for others are; or call everyone by a name" if is_name(pid) else ""
            message = f"pid is {pid[:40]!r}; it must be a whole number, 0 or more{mixed}"
            faults.add("pid", where, message)
    if not named:
        return plain, {}
    file = map_beside(tree.given.name)
    known = read_identities(tree, file)
    numbers = number_names(names, known)
    return numbers, {"identities": numbers, "identities_file": file, "identities_new": numbers != known}


class _Faults:
    """Faults in the values of a column, told once with the first line and the number of lines."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str]] = {}
        self._lines: Counter[str] = Counter()

    def add(self, column: str, where: str, message: str) -> None:
        """Note a fault on a line."""
        self._first.setdefault(column, (where, message))
        self._lines[column] += 1

    def tell(self, tree: Tree) -> None:
        """Add what was noted to the tree's problems."""
        for column, (where, message) in self._first.items():
            more = self._lines[column] - 1
            tree.problems.add(
                Kind.MALFORMED, where, message + (f" (and {more:,} more line(s) like it)" if more else "")
            )


def _rows(tree: Tree, file: str, faults: _Faults) -> Iterator[tuple[str, dict[str, str]]]:
    text = tree.read_text(file)
    reader = csv.reader(_lines(text or ""), strict=True)
    header: list[str] | None = None
    width = 0
    try:
        for cells in reader:
            where = f"{file}:{reader.line_num}"
            if header is None:
                header, width = [cell.strip() for cell in cells], len(cells)
                while header and not header[-1]:  # commas at the end of a line, as spreadsheets write them
                    header.pop()
                if not _check_header(tree, where, header):
                    return
            elif not any(cells):
                continue
            elif len(cells) < len(header) or any(cell.strip() for cell in cells[width:]):
                message = f"{len(cells)} values for {len(header)} columns; quote a value that holds a comma"
                faults.add("values", where, message)
            else:
                named = zip(header, cells, strict=False)
                yield where, {name: cell.strip() for name, cell in named if name in COLUMNS}
    except csv.Error as error:
        tree.problems.add(Kind.MALFORMED, f"{file}:{reader.line_num}", f"not a CSV line ({error})")
    if text is not None and header is None:
        tree.problems.add(
            Kind.MALFORMED, file, f"the table is empty; its first line must be {','.join(NEEDED)}"
        )


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends, without a copy of the whole; one of a hundred thousand columns is refused."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if end - start > MAX_LINE:
            raise csv.Error(f"the line is {end - start:,} letters long")
        yield text[start:end]
        start = end


def _check_header(tree: Tree, where: str, header: list[str]) -> bool:
    if len(header) > MAX_COLUMNS:
        message = f"the first line names {len(header):,} columns; they are path,pid,modality[,camid][,split]"
        tree.problems.add(Kind.MALFORMED, where, message)
        return False
    faults = []
    for name in NEEDED:
        if name not in header:
            faults.append(f"there is no column {name!r}")
    for name in header:
        near = get_close_matches(name.lower(), COLUMNS, 1, 0.7)
        if name not in COLUMNS and near and near[0] not in header:
            faults.append(f"column {name!r}: did you mean {near[0]!r}?")
        if name and header.count(name) > 1 and f"column {name!r} stands twice" not in faults:
            faults.append(f"column {name!r} stands twice")
    if faults and len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        faults = ["columns must be separated by commas"]
    for fault in faults:
        tree.problems.add(
            Kind.MALFORMED, where, f"{fault}; the columns are path,pid,modality[,camid][,split]"
        )
    return not faults


def _image(tree: Tree, where: str, row: dict[str, str], faults: _Faults) -> _Row | None:
    """Path, pid as it is written, camera and modality of a row."""
    path, reason = row["path"], bad_path(row["path"])
    if reason:
        kind = Kind.ESCAPE if "out of" in reason or "absolute" in reason else Kind.MALFORMED
        tree.problems.add(kind, where, f"the path {path[:80]!r} {reason}")
    elif not path.lower().endswith(OWN_SUFFIXES):
        tree.problems.add(Kind.WRONG_NAME, where, f"{clean(path)} must end in {', '.join(OWN_SUFFIXES)}")
        reason = "suffix"
    camid = _number(row["camid"], 1) if row.get("camid") else NO_CAMERA
    if camid is None:
        what = f"camid is {row['camid'][:40]!r}; it must be a whole number, 1 or more"
        faults.add("camid", where, f"{what}; leave the column out, or the value, where cameras are unknown")
    modality = Modality.called(row["modality"])
    if modality is None:
        faults.add("modality", where, _unknown_word("modality", row["modality"], tuple(Modality)))
    if reason or camid is None or modality is None:
        return None
    return path, row["pid"], camid, modality


def _number(text: str, least: int) -> int | None:
    """A whole number, also as programs write it that keep numbers as fractions: 7.0."""
    number = whole_number(re.sub(r"\.0+$", "", text))
    return None if number is None or number < least else number


def _unknown_word(column: str, text: str, choices: tuple[str, ...]) -> str:
    return f"{column} is {text[:40]!r}, an unknown value; {did_you_mean(text, choices)}"
