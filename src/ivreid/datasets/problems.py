"""What may be wrong with a dataset on disk, collected so that everything is told together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of problem, in the order a report shows them."""

    MISSING_FOLDER = "missing folder"
    MISSING_FILE = "missing file"
    ESCAPE = "leaves the dataset folder"
    UNREADABLE = "unreadable"
    MALFORMED = "malformed list"
    EMPTY_FILE = "empty file"
    HUGE_FILE = "file too large"
    NOT_AN_IMAGE = "not an image"
    WRONG_NAME = "wrong name"
    STRAY_FILE = "stray file"
    SAME_NAME = "names that differ only in suffix or case"
    EMPTY_FOLDER = "no images"
    WRONG_LABEL = "wrong label"
    LISTED_TWICE = "listed twice"
    NOT_LISTED = "not listed"
    UNUSED = "pictures that are not used"
    SHARED_IDENTITY = "identity in two splits"
    ONE_MODALITY = "identity with one modality"
    ONE_IMAGE = "identity with one image"
    SHARED_CAMERA = "one camera number for both modalities"
    PERMUTATIONS = "gallery draw does not fit"
    HIGH_BIT_DEPTH = "grey of more than eight bits"
    UNDECODABLE = "undecodable image"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a dataset.

    Attributes:
        kind: What sort of problem it is.
        path: Where: a path relative to the dataset's root, with `:LINE` for a line of a list.
        message: What is wrong and what would be right.
        fatal: Whether the dataset cannot be used until it is put right.
    """

    kind: Kind
    path: str
    message: str
    fatal: bool

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}: {self.message}"


MAX_KEPT = 10_000
"""Problems kept of one kind: a hostile list must not fill the memory with complaints about it."""


LONGEST = 500
"""Letters of a path or message; a foreign list may hold longer ones."""


class Problems:
    """Collects problems so that all can be told together; the same one is kept once."""

    def __init__(self) -> None:
        self._kept: dict[Kind, dict[Problem, None]] = {kind: {} for kind in Kind}
        self._dropped: Counter[Kind] = Counter()

    def add(self, kind: Kind, path: str, message: str, *, fatal: bool = True) -> None:
        """Note a problem and go on."""
        if len(self._kept[kind]) < MAX_KEPT:
            self._kept[kind][Problem(kind, _short(path), _short(message), fatal)] = None
        else:
            self._dropped[kind] += 1

    @property
    def overflow(self) -> bool:
        """Whether there are more problems of a kind than are kept."""
        return bool(self._dropped)

    def __iter__(self) -> Iterator[Problem]:
        for kind, kept in self._kept.items():
            yield from sorted(kept, key=lambda problem: (problem.path, problem.message))
            if self._dropped[kind]:
                yield Problem(
                    kind, "...", f"and {self._dropped[kind]:,} more of this kind", any(p.fatal for p in kept)
                )

    def fatal(self) -> tuple[Problem, ...]:
        """The problems that make the dataset unusable."""
        return tuple(problem for problem in self if problem.fatal)


def _short(text: str) -> str:
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def printable(text: str) -> str:
    """The text with control characters and undecodable bytes escaped: file names may hold anything."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
