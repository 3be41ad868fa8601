"""The datasets there are, and how one is loaded."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ivreid.catalogue import DATASETS
from ivreid.datasets.base import SYNTHETIC, Dataset, Reader, shared_identities
from ivreid.datasets.identities import keep_identities
from ivreid.datasets.problems import Kind
from ivreid.datasets.tree import Tree
from ivreid.errors import DataError, UsageError, counted
from ivreid.io import fingerprint
from ivreid.paths import not_there
from ivreid.types import Modality, Sample

SHOWN_PROBLEMS = 10


def register_dataset(cls: type[Reader]) -> type[Reader]:
    """A decorator that makes a dataset's reader of your own known by its `name`, everywhere in this process.

    See docs/datasets.md. The command line takes the file with `--plugin FILE.py`; an installed package names
    its class under the entry points `ivreid.datasets` instead.

    Raises:
        UsageError: The name is taken, or the class lacks something; the message says what.
    """
    DATASETS.register(cls)
    return cls


def get_reader(name: str) -> Reader:
    """The reader of a dataset.

    Raises:
        UsageError: Unknown name; the message lists the known ones and the nearest.
    """
    reader: Reader = DATASETS.find(name)()
    return reader


def recognise(root: Path | str) -> str | None:
    """The name of the dataset whose layout a folder has, or None where it has that of none."""
    try:
        return recognise_entries(entry.name for entry in Path(root).iterdir())
    except OSError:
        return None


def recognise_data(root: Path | str) -> str:
    """The name of the dataset that a folder or file is, also of a table or a folder with one.

    Raises:
        DataError: It is not there, or has the layout of none; the message says how to make one of it.
    """
    root = Path(root)
    if not root.exists():
        raise DataError(f"{root} does not exist{not_there(root)}; give the folder of the dataset")
    if root.is_file():
        found = "csv" if root.suffix.lower() == ".csv" else None
    else:
        tables = [path for path in root.glob("*.csv") if path.name[0] != "."]
        found = recognise(root) or ("csv" if len(tables) == 1 else None)
    if found is None:
        raise DataError(
            f"{root} has the layout of no dataset: name it, if it is one ({', '.join(DATASETS)}); of any other pictures "
            f"`ivreid init {root}` makes one"
        )
    return found


def recognise_entries(names: Iterable[str]) -> str | None:
    """The name of the dataset whose layout a folder with these entries has, or None."""
    entries = set(names)
    for name in DATASETS:  # ours first, so that no package is loaded for them
        recognised_by = DATASETS[name].recognised_by
        if recognised_by and entries.issuperset(recognised_by):
            return name
    return None


def load_dataset(
    name: str, root: Path | str, *, trial: int | None = None, tolerated: Collection[Kind] = ()
) -> Dataset:
    """Read a dataset's splits from disk, decoding nothing.

    Args:
        name: "sysu-mm01", "regdb", "llcm", "folder", "csv", or one of your own.
        root: The dataset's folder (for "csv" also the file itself).
        trial: Which train/test split, for datasets that have several (RegDB: 1 to 10, 1 when not given).
        tolerated: Kinds of problem that the caller deals with itself.

    Returns:
        The dataset, every split sorted by identity, modality (visible first), camera and frame.

    Raises:
        UsageError: Unknown name, or a trial the dataset does not have.
        DataError: Problems that make the dataset unusable, all in one message, each with its path; or the numbers
            of people called by names cannot be kept.
    """
    reader = get_reader(name)
    trial = _check_trial(reader, trial)
    tree = reader.open(Path(root))
    scan = reader.read(tree, trial)
    inspect_splits(tree, scan.splits)
    fatal = [problem for problem in tree.problems.fatal() if problem.kind not in tolerated]
    if fatal:
        shown = "\n".join(f"  {problem}" for problem in fatal[:SHOWN_PROBLEMS])
        more = f"\n  and {len(fatal) - SHOWN_PROBLEMS} more" if len(fatal) > SHOWN_PROBLEMS else ""
        plural = "problem makes" if len(fatal) == 1 else "problems make"
        advice = f"`ivreid data check {name} {root}` lists everything"
        raise DataError(
            f"{root}: {len(fatal)} {plural} this {name} dataset unusable:\n{shown}{more}\n{advice}"
        )
    if scan.identities_new:
        keep_identities(tree.root / scan.identities_file, scan.identities)
    return Dataset(
        name=name,
        root=tree.root,
        splits={split: sorted_samples(samples) for split, samples in scan.splits.items()},
        fingerprint=fingerprint(scan.images.items()),
        trial=trial,
        permutations=tree.root / scan.permutations if scan.permutations else None,
        has_cameras=scan.has_cameras,
        synthetic=(tree.root / SYNTHETIC).is_file(),
        names={number: name for name, number in scan.identities.items()},
    )


def _check_trial(reader: Reader, trial: int | None) -> int | None:
    if not reader.trials:
        if trial is not None:
            raise UsageError(
                f"{reader.name} has one train/test split, trial {trial} does not exist; leave it out"
            )
        return None
    trial = reader.trials[0] if trial is None else trial
    if trial not in reader.trials:
        raise UsageError(f"{reader.name} has trials {reader.trials[0]} to {reader.trials[-1]}, not {trial}")
    return trial


def sorted_samples(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Samples by identity, modality (visible first), camera and frame."""
    return tuple(
        sorted(samples, key=lambda s: (s.pid, s.modality is Modality.INFRARED, s.camid, s.frame, s.path))
    )


def inspect_splits(tree: Tree, splits: Mapping[str, Sequence[Sample]]) -> None:
    """Note what is wrong with any dataset's splits: shared identities, one modality, one image, no images."""
    first: dict[tuple[str, int], Sample] = {}
    for split, samples in splits.items():
        for sample in samples:
            first.setdefault((split, sample.pid), sample)
        if not samples:
            tree.problems.add(Kind.EMPTY_FOLDER, ".", f"the split {split} holds no images")
        _inspect_identities(tree, split, samples)
    for one, other, shared in shared_identities(splits):
        for pid in shared:
            message = f"identity {pid} is in both {one} and {other} ({first[other, pid].path})"
            tree.problems.add(Kind.SHARED_IDENTITY, first[one, pid].path, message)


def _inspect_identities(tree: Tree, split: str, samples: Sequence[Sample]) -> None:
    images = Counter(sample.pid for sample in samples)
    visible = Counter(sample.pid for sample in samples if sample.modality is Modality.VISIBLE)
    told = {pid for pid in images if pid < 0}  # unknown people are not looked for
    for sample in samples:
        pid = sample.pid
        if pid in told:
            continue
        told.add(pid)
        if images[pid] == 1:
            message = f"{split} identity {pid} has one image ({sample.modality}), so it can never be matched"
            tree.problems.add(Kind.ONE_IMAGE, sample.path, message, fatal=False)
        elif visible[pid] in (0, images[pid]):
            message = f"{split} identity {pid} has {sample.modality} images only ({images[pid]})"
            tree.problems.add(Kind.ONE_MODALITY, sample.path, message, fatal=False)


def divide_people(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Divide the people of a dataset that names no training people into "train" and "test", each whole.

    Only people seen in both modalities can be trained on; the others stay in "test", where they are in the gallery.
    Which ones are tested on depends on the identity numbers and the seed alone.

    Args:
        dataset: One with "test" and without "train".
        fraction: Share of the people with both modalities to test on, in (0, 1).
        seed: Which people.

    Raises:
        UsageError: There is a "train" already, or no "test".
        DataError: Too few people to divide.
    """
    if "train" in dataset.splits or "val" in dataset.splits:
        raise UsageError(f"{dataset.name} defines its training people; use its own split")
    samples = dataset.split("test")
    both = sorted(_both_modalities(samples), key=lambda pid: _draw(f"{seed}:test:{pid}"))
    tested = max(2, round(fraction * len(both)))
    if len(both) - tested < 3:
        of_both = f"{counted(len(both), 'person has', 'people have')} pictures of both modalities"
        raise DataError(
            f"{dataset.root}: {_none_of(samples)}{of_both}, too few to train on some and test on others; 5 are the least, and 50 or "
            "more are better"
        )
    train = set(both[tested:])
    splits = {
        "train": tuple(s for s in samples if s.pid in train),
        "test": tuple(s for s in samples if s.pid not in train),
    }
    return replace(dataset, splits=splits, divided=True)


def _none_of(samples: Sequence[Sample]) -> str:
    """The beginning of a message where a modality is missing altogether."""
    seen = {sample.modality for sample in samples}
    return "".join(f"there is no {kind} picture at all; " for kind in Modality if kind not in seen)


def _both_modalities(samples: Sequence[Sample]) -> set[int]:
    """The known people with pictures of both modalities."""
    seen = {m: {s.pid for s in samples if s.modality is m and s.pid >= 0} for m in Modality}
    return seen[Modality.VISIBLE] & seen[Modality.INFRARED]


def _draw(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def hold_out(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Divide "train" by identity into "train" and "val", for datasets that define no validation identities.

    Only identities seen in both modalities are held out: the others could not be queried across modalities.
    Which ones depends on the identity numbers and the seed alone, not on the order or number of files.

    Args:
        dataset: A dataset with "train" and without "val".
        fraction: Share of the training identities to hold out, in (0, 1); at least one is held out.
        seed: Which identities.

    Raises:
        UsageError: There is a "val" already, or no "train", or the fraction is out of range.
        DataError: Too few identities to divide.
    """
    if "val" in dataset.splits:
        raise UsageError(f"{dataset.name} defines validation identities; use its own split 'val'")
    if not 0 < fraction < 1:
        raise UsageError(f"the fraction of identities to hold out must be between 0 and 1, it is {fraction}")
    train = dataset.split("train")
    both = _both_modalities(train)
    pids = dataset.pids("train")
    wanted = max(1, round(fraction * len(pids)))
    if wanted > len(both) or wanted >= len(pids):
        raise DataError(
            f"{dataset.root}: {_none_of(train)}cannot hold out {wanted} of {len(pids)} training identities, "
            f"of which {counted(len(both), 'has', 'have')} both modalities"
        )
    held = set(sorted(both, key=lambda pid: _draw(f"{seed}:{pid}"))[:wanted])
    splits = {
        "train": tuple(s for s in train if s.pid not in held),
        "val": tuple(s for s in train if s.pid in held),
        **{name: samples for name, samples in dataset.splits.items() if name != "train"},
    }
    return replace(dataset, splits=splits)
