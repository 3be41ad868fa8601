"""What every reader gives: a `Dataset` of samples, and the `Problems` met on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ivreid.errors import DataError, UsageError
from ivreid.io import fingerprint
from ivreid.types import ImageTable, Modality, Sample

if TYPE_CHECKING:
    from ivreid.datasets.tree import Tree

SPLITS = ("train", "val", "test")


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
    EMPTY_FOLDER = "no images"
    WRONG_LABEL = "wrong label"
    LISTED_TWICE = "listed twice"
    NOT_LISTED = "not listed"
    SHARED_IDENTITY = "identity in two splits"
    ONE_MODALITY = "identity with one modality"
    ONE_IMAGE = "identity with one image"
    PERMUTATIONS = "gallery draw does not fit"
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


class Problems:
    """Collects problems so that all can be told together; the same one is kept once."""

    def __init__(self) -> None:
        self._kept: dict[Kind, dict[Problem, None]] = {kind: {} for kind in Kind}
        self._dropped: Counter[Kind] = Counter()

    def add(self, kind: Kind, path: str, message: str, *, fatal: bool = True) -> None:
        """Note a problem and go on."""
        if len(self._kept[kind]) < MAX_KEPT:
            self._kept[kind][Problem(kind, printable(path), printable(message), fatal)] = None
        else:
            self._dropped[kind] += 1

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


def printable(text: str) -> str:
    """The text with control characters and undecodable bytes escaped: file names may hold anything."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


@dataclass(frozen=True)
class Dataset:
    """What is on disk, as samples.

    Attributes:
        name: Registry name, e.g. "sysu-mm01".
        root: The folder that the samples' paths start from.
        splits: Samples of each split ("train", "val", "test"), by identity, modality, camera and frame.
        fingerprint: Hash over the relative paths and sizes of all images on disk, the same for every trial.
        trial: The train/test split in use, for datasets that have several (RegDB), else None.
        permutations: The authors' gallery draw (`rand_perm_cam.mat`) where the dataset holds it.
        has_cameras: Whether camera ids are known; without them no camera rule applies.

    Raises:
        DataError: An identity stands in two splits.
    """

    name: str
    root: Path
    splits: Mapping[str, tuple[Sample, ...]]
    fingerprint: str
    trial: int | None = None
    permutations: Path | None = None
    has_cameras: bool = True

    def __post_init__(self) -> None:
        frozen = {name: tuple(samples) for name, samples in self.splits.items()}
        object.__setattr__(self, "splits", MappingProxyType(frozen))
        for one, other, shared in shared_identities(frozen):
            raise DataError(f"{self.root}: identity {min(shared)} is in both {one} and {other}")

    def __reduce__(
        self,
    ) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled, and data workers need the dataset
        rest = (self.fingerprint, self.trial, self.permutations, self.has_cameras)
        return (Dataset, (self.name, self.root, dict(self.splits), *rest))

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split.

        Raises:
            UsageError: The dataset has no such split; the message lists those it has.
        """
        if name not in self.splits:
            have = ", ".join(self.splits)
            raise UsageError(f"{self.name} at {self.root} has no split {name!r}; it has: {have}")
        return self.splits[name]

    def path(self, sample: Sample) -> Path:
        """Where the sample's image lies."""
        return self.root / sample.path

    def table(self, split: str) -> ImageTable:
        """The split as an `ImageTable`, rows in the order of `split(name)`."""
        return ImageTable.from_samples(self.split(split))

    def pids(self, split: str) -> tuple[int, ...]:
        """The identities of a split, ascending."""
        return tuple(sorted({sample.pid for sample in self.split(split)}))

    def split_fingerprint(self, name: str) -> str:
        """A hash over who and what is in the split: paths, identities, cameras and modalities."""
        return fingerprint((s.path, (s.pid, s.camid, s.modality.value)) for s in self.split(name))


@dataclass
class Contents:
    """What a reader found.

    Attributes:
        splits: Samples of each split.
        images: Size in bytes of every image on disk, by relative path (also those in no split).
        facts: Counts to compare with `Reader.released`.
        notices: Remarks that are no problems.
        permutations: Relative path of the authors' gallery draw, if there.
        has_cameras: Whether camera ids are known.
    """

    splits: dict[str, list[Sample]]
    images: dict[str, int]
    facts: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    permutations: str | None = None
    has_cameras: bool = True


class Reader(ABC):
    """How one dataset lies on disk. Copy the file of the nearest one to add a dataset (docs/datasets.md).

    Attributes:
        name: Registry name.
        landmarks: Entries of the root by which the layout is recognised.
        trials: The train/test splits the dataset defines; empty where it defines one.
        released: Counts of the dataset as its authors released it, compared in notices only.
    """

    name: ClassVar[str]
    landmarks: ClassVar[tuple[str, ...]] = ()
    trials: ClassVar[tuple[int, ...]] = ()
    released: ClassVar[Mapping[str, int]] = {}

    def open(self, root: Path) -> Tree:
        """The files under `root`."""
        from ivreid.datasets.tree import Tree

        return Tree(root)

    @abstractmethod
    def read(self, tree: Tree, trial: int | None) -> Contents:
        """Turn files into samples, noting every problem in `tree.problems` and never stopping at one."""

    def examine(self, tree: Tree, contents: Contents) -> None:  # noqa: B027 - most datasets need none
        """Checks too slow or too strict for loading; only `ivreid data check` makes them."""


def shared_identities(splits: Mapping[str, Sequence[Sample]]) -> list[tuple[str, str, set[int]]]:
    """Pairs of splits with the identities that stand in both."""
    pids = {name: {sample.pid for sample in samples} for name, samples in splits.items()}
    return [(a, b, pids[a] & pids[b]) for a, b in combinations(pids, 2) if pids[a] & pids[b]]


def number_frames(images: Sequence[tuple[str, int, int, Modality]]) -> list[Sample]:
    """Samples from (path, pid, camid, modality), each frame its position among the sorted files of its group.

    The position counts the files on disk, so "image k of this identity and camera" means the same whatever
    list an image stands in.
    """
    seen: Counter[tuple[int, int, Modality]] = Counter()
    samples = []
    for path, pid, camid, modality in sorted(images):
        seen[pid, camid, modality] += 1
        samples.append(Sample(path, pid, camid, modality, seen[pid, camid, modality]))
    return samples
