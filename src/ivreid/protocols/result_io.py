"""Results files: one result, or a run's list of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from zipfile import is_zipfile

from ivreid.errors import DataError
from ivreid.io import json_with, write_json
from ivreid.protocols.result import Result
from ivreid.reading import read_json

RESULTS = json_with("results", "protocol", "trials")


def read_results(path: Path | str) -> list[Result]:
    """Read one result or a list of results.

    Raises:
        DataError: Missing file, not JSON, not results, or an empty list.
    """
    path = Path(path)
    if path.is_file() and is_zipfile(path):  # that is what .npz is; of a device it would read for ever
        raise DataError(
            f"{path} is no results file; of features make one with `ivreid score {shlex.quote(str(path))} --protocol NAME "
            "--json results.json`"
        )
    if path.name == "results.json" and path.parent.is_dir() and not path.exists():
        raise DataError(
            f"{path.parent} holds no results yet; make them with `ivreid evaluate {shlex.quote(str(path.parent))}`"
        )
    value = read_json(path)
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise DataError(f"{path} holds no results")
    many = len(entries) > 1
    return [
        Result.from_json(entry, f"{path}, result {number}" if many else str(path))
        for number, entry in enumerate(entries, start=1)
    ]


def write_results(path: Path | str, results: Result | Sequence[Result]) -> None:
    """Write one result as an object, or several as a list, atomically.

    Raises:
        DataError: The file cannot be written.
    """
    write_json(path, results.to_json() if isinstance(results, Result) else [one.to_json() for one in results])
