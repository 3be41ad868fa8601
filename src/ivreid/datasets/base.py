"""What every reader gives: a `Dataset` of samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from ivreid.catalogue import check_functions, check_name
from ivreid.datasets.tree import Tree
from ivreid.errors import DataError, UsageError
from ivreid.io import IMAGE_SUFFIXES, fingerprint
from ivreid.types import ImageTable, Modality, Sample

SPLITS = ("train", "val", "test")
SYNTHETIC = "synthetic.json"
"""The file that a drawn dataset's folder holds."""


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
        synthetic: Whether the people are drawn, which every figure of them says.
        names: The name of every identity, where people are called by names.
        divided: Whether "train" and "test" are not the dataset's own but made by `divide_people`.

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
    synthetic: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    divided: bool = False

    def __post_init__(self) -> None:
        frozen = {name: tuple(samples) for name, samples in self.splits.items()}
        object.__setattr__(self, "splits", MappingProxyType(frozen))
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))
        for one, other, shared in shared_identities(frozen):
            raise DataError(f"{self.root}: identity {min(shared)} is in both {one} and {other}")

    def __reduce__(
        self,
    ) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled, and data workers need the dataset
        rest = (self.fingerprint, self.trial, self.permutations, self.has_cameras, self.synthetic)
        return (Dataset, (self.name, self.root, dict(self.splits), *rest, dict(self.names), self.divided))

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
        """The known identities of a split, ascending."""
        return tuple(sorted({sample.pid for sample in self.split(split) if sample.pid >= 0}))

    def split_fingerprint(self, name: str) -> str:
        """A hash over who and what is in the split: paths, identities, cameras and modalities."""
        return fingerprint((s.path, (s.pid, s.camid, s.modality.value)) for s in self.split(name))


@dataclass
class DatasetScan:
    """What a reader found.

    Attributes:
        splits: Samples of each split.
        images: Size in bytes of every image on disk, by relative path (also those in no split).
        facts: Counts to compare with `Reader.released`.
        notices: Remarks that are no problems.
        permutations: Relative path of the authors' gallery draw, if there.
        has_cameras: Whether camera ids are known.
        identities: The number of every person, where people are called by names.
        identities_file: Relative path of the file that keeps these numbers.
        identities_new: Whether it does not hold all of them yet.
    """

    splits: dict[str, list[Sample]]
    images: dict[str, int]
    facts: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    permutations: str | None = None
    has_cameras: bool = True
    identities: Mapping[str, int] = field(default_factory=dict)
    identities_file: str = ""
    identities_new: bool = False


class Reader(ABC):
    """How one dataset lies on disk. Copy the file of the nearest one to add a dataset (docs/datasets.md).

    Attributes:
        name: Registry name.
        recognised_by: Entries of the root by which the layout is recognised.
        trials: The train/test splits the dataset defines; empty where it defines one.
        cameras: The modality of each of its cameras, where every camera has one; features may then leave the
            modality out.
        has_validation: Whether it defines validation identities of its own.
        protocol: The protocol it is tested by; None takes that of the same name, else `cross-modality`.
        own_numbers: Whether identity numbers mean the same people only in the very same files, as in a folder
            of one's own; else weights are never tested on numbers of the same dataset that they have seen.
        released: Counts of the dataset as its authors released it, compared in notices only.
        suffixes: What pictures end in; one more would move the frame numbers of a released dataset.
        owns_root: Whether all pictures below the root belong to the dataset, so that others are worth telling.
    """

    name: ClassVar[str]
    recognised_by: ClassVar[tuple[str, ...]] = ()
    trials: ClassVar[tuple[int, ...]] = ()
    cameras: ClassVar[Mapping[int, Modality]] = {}
    has_validation: ClassVar[bool] = False
    protocol: ClassVar[str | None] = None
    own_numbers: ClassVar[bool] = False
    released: ClassVar[Mapping[str, int]] = {}
    suffixes: ClassVar[tuple[str, ...]] = IMAGE_SUFFIXES
    owns_root: ClassVar[bool] = True

    def open(self, root: Path) -> Tree:
        """The files under `root`."""
        return Tree(root, suffixes=self.suffixes)

    def modality_of(self, path: str) -> Modality | None:
        """Which modality the layout gives a file, by its path from the root; None where it says nothing."""
        return None

    @abstractmethod
    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Turn files into samples, noting every problem in `tree.problems` and never stopping at one."""

    def example(self, root: Path) -> Path:
        """Write a small dataset in this layout, healthy and with two or more people in every split, for tests.

        Args:
            root: A new folder.

        Returns:
            What a user would give as the dataset's folder.
        """
        raise UsageError(
            f"the dataset {self.name!r} has no `example`: a function that writes a small one, for tests"
        )

    def examine(self, tree: Tree, scan: DatasetScan) -> None:  # noqa: B027 - most datasets need none
        """Checks too slow or too strict for loading; only `ivreid data check` makes them."""


def shared_identities(splits: Mapping[str, Sequence[Sample]]) -> list[tuple[str, str, set[int]]]:
    """Pairs of splits with the known identities that stand in both."""
    pids = {name: {s.pid for s in samples if s.pid >= 0} for name, samples in splits.items()}
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


def check_class(cls: Any) -> None:
    """Refuse a reader class that lacks something.

    Raises:
        UsageError: The message names it.
    """
    check_name("dataset", cls, Reader)
    shown = cls.__qualname__
    for name, kind in (("recognised_by", str), ("trials", int)):
        value = getattr(cls, name)
        if not isinstance(value, tuple) or not all(isinstance(one, kind) for one in value):
            raise UsageError(
                f"the dataset {shown}: `{name}` must be a tuple of {kind.__name__}, not {value!r}"
            )
    check_functions("dataset", cls, open="root", read="tree, trial", example="root", examine="tree, scan")
    if not isinstance(cls.protocol, str | None):
        raise UsageError(f"the dataset {shown}: `protocol` must be a protocol's name, not {cls.protocol!r}")
    try:
        cls()
    except Exception as error:
        raise UsageError(f"the dataset {shown} cannot be made without arguments: {error}") from error
