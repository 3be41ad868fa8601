"""Pictures with everything their names, or their row in a table, say of them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ivreid.datasets.found_pictures import find_pictures
from ivreid.errors import DataError
from ivreid.io import is_picture
from ivreid.reading import clean, read_text

MAX_TABLE = 256 << 20
_TOKENS = re.compile(r"[_\-\s.]+")
_PATH = ("path", "file", "filename", "file_name", "image", "img", "image_path", "img_path", "filepath")


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        path: From the folder that was given, or from the table's; with forward slashes.
        parts: What is said of it by the name of the part: "folder 1", "name 2", or a column.
    """

    path: str
    parts: dict[str, str] = field(hash=False)

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return self.path.rpartition("/")[2].rpartition(".")[0]

    @property
    def folders(self) -> list[str]:
        """The names of the folders above it, the outermost first."""
        return self.path.split("/")[:-1]


@dataclass(frozen=True)
class Pictures:
    """All pictures of a folder or table.

    Attributes:
        root: The folder that paths start from.
        rows: The pictures.
        columns: The columns of the table, empty for a folder.
        notes: What was left out, in lines for people.
    """

    root: Path
    rows: Sequence[Picture]
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def values(self, part: str) -> Counter[str]:
        """What a part says, and how often."""
        return Counter(row.parts[part] for row in self.rows if part in row.parts)

    def parts(self, start: str = "") -> list[str]:
        """The names of all parts that begin so, in their order."""
        return list(dict.fromkeys(p for row in self.rows for p in row.parts if p.startswith(start)))


def pictures_in(source: Path, written: Collection[Path] = ()) -> Pictures:
    """The pictures of a folder, or those that a table lists.

    Args:
        source: The folder or table.
        written: Files that were or will be written here by the toolkit, of which no note is needed.

    Raises:
        DataError: Nothing there that can be read; the message says what.
    """
    if source.is_file():
        return _listed(source)
    found = find_pictures(source)
    rows = []
    for path in found.files:
        *folders, name = path.split("/")
        parts = {f"folder {number}": folder for number, folder in enumerate(folders, 1)}
        tokens = [token for token in _TOKENS.split(name.rpartition(".")[0]) if token]
        rows.append(
            Picture(path, parts | {f"name {number}": token for number, token in enumerate(tokens, 1)})
        )
    ours = {path.resolve() for path in written}
    foreign = {
        reason: tuple(path for path in paths if (source / path).resolve() not in ours)
        for reason, paths in found.left_out.items()
    }
    found = replace(found, left_out={reason: paths for reason, paths in foreign.items() if paths})
    return Pictures(source, rows, (), tuple(found.notes()))


def _listed(table: Path) -> Pictures:
    if table.suffix.lower() not in (".csv", ".tsv"):
        raise DataError(f"{table} is no folder and no table (.csv); give one of them")
    rows = list(_rows(table))
    if not rows:
        raise DataError(f"{table} lists no picture")
    header = list(rows[0])
    column = _path_column(table, header, rows)
    outside = [row for row in rows if _outside(row[column])]
    if outside:
        raise DataError(
            f"{table}: the path {clean(outside[0][column], 80)!r} leads out of the table's folder; put the table above "
            "its pictures, with paths from there"
        )
    missing = [row[column] for row in rows if not (table.parent / row[column]).is_file()]
    if missing:
        raise DataError(
            f"{table}: {len(missing):,} of its {len(rows):,} pictures are not there, first {clean(missing[0], 120)}; "
            "paths start from the table's folder"
        )
    found = [
        Picture(
            row[column].replace("\\", "/"),
            {name: text for name, text in row.items() if name != column and text},
        )
        for row in rows
    ]
    return Pictures(table.parent, found, tuple(name for name in header if name != column))


def _outside(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return path.startswith("/") or ".." in parts or path[1:2] == ":"


def _rows(table: Path) -> Iterator[dict[str, str]]:
    text = read_text(table, MAX_TABLE)
    first = text.partition("\n")[0]
    mark = max(",;\t", key=first.count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=mark, strict=True)
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header) or not all(header):
            raise DataError(f"{table}: the first line must name every column once; it is {clean(first, 120)}")
        for cells in reader:
            if any(cells):
                if len(cells) != len(header):
                    raise DataError(
                        f"{table}:{reader.line_num}: {len(cells)} values for {len(header)} columns"
                    )
                yield dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise DataError(f"{table}:{reader.line_num}: not a line of a table ({error})") from error


def _path_column(table: Path, header: Sequence[str], rows: Sequence[dict[str, str]]) -> str:
    """The column whose values are pictures' names."""
    full = [name for name in header if all(is_picture(row[name].rpartition("/")[2]) for row in rows)]
    named = [name for name in full if name.lower().replace(" ", "_") in _PATH]
    chosen = named if len(named) == 1 else full
    if len(chosen) != 1:
        what = f"{', '.join(full)} all do" if full else "none does"
        raise DataError(f"{table}: one column must name a picture in every row; {what}")
    return chosen[0]
