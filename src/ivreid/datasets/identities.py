"""People called by names: each name has a number, kept beside the data, that no later name moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ivreid.datasets.problems import Kind
from ivreid.datasets.tree import Tree
from ivreid.errors import DataError
from ivreid.io import write_json
from ivreid.reading import clean, parse_json

MAX_NAME = 200
MAX_FILE = 64 << 20
SUFFIX = "identities.json"


def is_name(text: str) -> bool:
    """Whether a person may be called so: it holds a letter, and is no longer than a name."""
    return 0 < len(text) <= MAX_NAME and any(letter.isalpha() for letter in text) and text.isprintable()


def map_beside(table: str) -> str:
    """The name of the map beside a table: `people.identities.json` for `people.csv`."""
    return f"{table.rpartition('.')[0] or table}.{SUFFIX}"


def read_identities(tree: Tree, path: str) -> dict[str, int]:
    """The map of a dataset, empty where it has none; what is wrong with it is noted as a problem."""
    if not tree.has_file(path):
        return {}
    text = tree.read_text(path, limit=MAX_FILE)
    try:
        found = parse_json(text or "", path)
    except DataError as error:
        tree.problems.add(Kind.MALFORMED, path, clean(error))
        return {}
    numbers = found.values() if isinstance(found, dict) else ()
    if not isinstance(found, dict) or not all(type(n) is int and 0 <= n < 2**53 for n in numbers):
        tree.problems.add(Kind.MALFORMED, path, 'it must hold a number for each name: {"anna": 1, "ben": 2}')
        return {}
    if len(set(numbers)) < len(found):
        tree.problems.add(Kind.MALFORMED, path, "two names have one number; restore the file from a copy")
        return {}
    return dict(found)


def number_names(names: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """The known names, and every other with a number of its own: the next free ones, in the order of the names."""
    numbers = dict(known)
    following = max(numbers.values(), default=0) + 1
    for name in sorted(set(names) - numbers.keys()):
        numbers[name] = following
        following += 1
    return numbers


def keep_identities(path: Path, numbers: Mapping[str, int]) -> None:
    """Write the map.

    Raises:
        DataError: It cannot be written, so that the numbers would not last.
    """
    try:
        write_json(path, dict(sorted(numbers.items(), key=lambda item: item[1])))
    except DataError as error:
        raise DataError(
            f"{error}. It would keep the numbers of {len(numbers):,} people who are called by names; let it be written "
            "once, or call people by whole numbers"
        ) from error
