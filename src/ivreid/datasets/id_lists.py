"""Split lists: identity numbers on one line, and lines of `relative/path LABEL`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ivreid.datasets.problems import Kind
from ivreid.datasets.tree import Tree, bad_path


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a split list: the path it names, its label, and `list:LINE`."""

    path: str
    label: int
    where: str


MAX_IDS = 1 << 20
"""Bytes of a list of identity numbers: 533 of them take 3 kB."""


def whole_number(text: str) -> int | None:
    """The number that plain digits spell, else None (no sign, no point, no other alphabet's digits)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def read_ids(tree: Tree, path: str, *, required: bool = True) -> tuple[int, ...]:
    """Identity numbers from one line of comma-separated integers, sorted, each once."""
    text = tree.read_text(path, required=required, limit=MAX_IDS)
    if text is None:
        return ()
    pids: set[int] = set()
    words = text.replace("\n", ",").strip(", \r").split(",")
    for number, word in enumerate(words, start=1):
        pid = whole_number(word.strip())
        if pid is None or pid < 1:
            what = f"entry {number} is {word.strip()[:40]!r}; it must be identity numbers separated by commas"
            tree.problems.add(Kind.MALFORMED, path, what, fatal=required)
        elif pid in pids:
            tree.problems.add(Kind.LISTED_TWICE, path, f"identity {pid} stands twice", fatal=False)
        else:
            pids.add(pid)
    return tuple(sorted(pids))


def read_entries(tree: Tree, path: str, below: str, *, required: bool = True) -> tuple[Entry, ...]:
    """Lines `relative/path LABEL` whose path is plain, below folder `below`, and stands once."""
    return tuple(_entries(tree, path, below, required))


def _entries(tree: Tree, path: str, below: str, required: bool) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    add = tree.problems.add
    for number, line in enumerate((tree.read_text(path, required=required) or "").splitlines(), start=1):
        words = line.rsplit(maxsplit=1)
        if not words:
            continue
        where = f"{path}:{number}"
        label = whole_number(words[-1])
        if len(words) != 2 or label is None:
            message = f"the line is {line[:80]!r}; it must be `relative/path LABEL`, the label a whole number"
            add(Kind.MALFORMED, where, message, fatal=required)
            continue
        name = words[0].strip()
        reason = bad_path(name)
        if reason:
            kind = Kind.ESCAPE if "out of" in reason or "absolute" in reason else Kind.MALFORMED
            add(kind, where, f"the path {name[:80]!r} {reason}", fatal=required)
        elif name.partition("/")[0] != below:
            add(Kind.MALFORMED, where, f"the path {name[:80]!r} must start with {below}/", fatal=required)
        elif name in seen:
            add(Kind.LISTED_TWICE, where, f"{name} already stands on line {seen[name]}", fatal=required)
        else:
            seen[name] = number
            yield Entry(name, label, where)


def check_labels(
    tree: Tree, entries: Iterable[tuple[Entry, int]], *, lists: str, contiguous: bool, required: bool = True
) -> None:
    """Note labels that do not stand for exactly one identity, or that are not 0..N-1 where they must be.

    Args:
        tree: Where problems go.
        entries: Entries with the identity that each path names.
        lists: The list files, for the message.
        contiguous: Whether labels must be 0..N-1 (training lists).
        required: Whether a wrong label makes the dataset unusable.
    """
    label_of: dict[int, int] = {}
    pid_of: dict[int, int] = {}
    for entry, pid in entries:
        if label_of.setdefault(pid, entry.label) != entry.label:
            message = f"identity {pid} has label {entry.label} here and {label_of[pid]} elsewhere"
            tree.problems.add(Kind.WRONG_LABEL, entry.where, message, fatal=required)
        elif pid_of.setdefault(entry.label, pid) != pid:
            message = f"label {entry.label} is identity {pid} here and {pid_of[entry.label]} elsewhere"
            tree.problems.add(Kind.WRONG_LABEL, entry.where, message, fatal=required)
    if contiguous and set(pid_of) != set(range(len(pid_of))):
        gaps = sorted(set(range(len(pid_of))) - set(pid_of))
        message = f"labels must be 0 to {len(pid_of) - 1} without a gap; missing: {_some(gaps)}"
        tree.problems.add(Kind.WRONG_LABEL, lists, message, fatal=required)


def require_files(
    tree: Tree, entries: Iterable[Entry], present: Mapping[str, object], *, required: bool = True
) -> None:
    """Note each listed path that is not among the images on disk."""
    for entry in entries:
        if entry.path not in present:
            tree.note_missing_file(entry.path, entry.where, fatal=required)


def _some(numbers: Sequence[int], limit: int = 8) -> str:
    shown = ", ".join(map(str, numbers[:limit]))
    return shown + (f" and {len(numbers) - limit} more" if len(numbers) > limit else "")
