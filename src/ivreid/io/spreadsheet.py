"""CSV that people open in a spreadsheet: no cell of it is taken for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_END = "\r\n"
"""With it the writer quotes a carriage return in a name, too; a reader would end the row there."""
_STARTS = tuple("=+-@\t\r")
_NUMBER = re.compile(r"[+-]?[0-9.,]*(e[+-]?[0-9]+)?%?", re.IGNORECASE)


def cell(value: object) -> object:
    """A value for a spreadsheet: text that it would execute gets an apostrophe before it, numbers stay.

    Names of files, cameras and runs are other people's: `=HYPERLINK(...)` is a name that a file can have.
    """
    if isinstance(value, str) and value.startswith(_STARTS) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV, lines ending in a line feed, every value through `cell`."""
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator=_END).writerow([cell(value) for value in row])
        lines.append(line.getvalue().removesuffix(_END) + "\n")
    return "".join(lines)
