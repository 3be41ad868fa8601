"""What a dataset's reader must do to be checked, trained on and tested on: `check_dataset`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ivreid import datasets
from ivreid.catalogue import DATASETS
from ivreid.datasets import Dataset, Kind, Reader, load_dataset, recognise
from ivreid.datasets.base import SPLITS
from ivreid.io import fingerprint
from ivreid.protocols import make_protocol
from ivreid.testing.broken import explained, require
from ivreid.types import NO_CAMERA, Modality, Sample


def check_dataset(cls: type[Reader], root: Path | str | None = None) -> None:
    """Try everything that `data check`, training and evaluation need of a reader.

    Its `example` is written into a temporary folder, read, moved, and damaged in several ways. Registered or
    not, it is known under its name meanwhile.

    Args:
        cls: The class.
        root: A healthy copy of the dataset to read besides; nothing is written there.

    Raises:
        UsageError: It lacks something, an `example` for instance.
        BrokenContract: It does something else than it must; the message names the offending part.
    """
    with DATASETS.holding(cls), tempfile.TemporaryDirectory() as folder:
        given = cls().example(Path(folder) / "one")
        _check_healthy(cls, given)
        _check_fingerprint(cls, given, Path(folder))
        _check_damage(cls, given, Path(folder))
        if root is not None:
            _check_healthy(cls, Path(root))


def _check_healthy(cls: type[Reader], given: Path) -> None:
    name = cls.name
    with explained(f"{name}: checking {given}"):
        report = datasets.check_dataset(name, given)
    fatal = [problem for problem in report.problems if problem.fatal]
    require(not fatal, f"{name}: healthy data have a problem: {fatal[0] if fatal else ''}")
    for trial in cls.trials or (None,):
        with explained(f"{name}: reading {given}"):
            dataset = load_dataset(name, given, trial=trial)
            again = load_dataset(name, given, trial=trial)
        require(again == dataset, f"{name}: reading is no pure function of the files")
        _check_samples(cls, dataset)
        _check_protocol(name, dataset)
    if cls.recognised_by:
        found = recognise(given)
        require(
            found == name, f"{name}: by its `recognised_by` a folder of its layout is recognised as {found}"
        )


def _check_samples(cls: type[Reader], dataset: Dataset) -> None:
    name, on_disk = cls.name, {path.relative_to(dataset.root).as_posix() for path in dataset.root.rglob("*")}
    unknown = set(dataset.splits) - set(SPLITS)
    require(not unknown, f"{name}: splits are called {', '.join(SPLITS)}, not {', '.join(sorted(unknown))}")
    require(
        "test" in dataset.splits or "train" in dataset.splits, f"{name}: there is neither `train` nor `test`"
    )
    require(
        "val" in dataset.splits or not cls.has_validation,
        f"{name}: `has_validation` is True, but there is no split `val`",
    )
    seen: set[tuple[int, int, int, Modality]] = set()
    for split, samples in dataset.splits.items():
        require(len({s.pid for s in samples}) > 1, f"{name}: the split {split} holds fewer than two people")
        for sample in samples:
            where = f"{name}: {sample.path} of the split {split}"
            require(sample.path in on_disk, f"{where} is no file below the dataset's folder")
            require(isinstance(sample.modality, Modality), f"{where}: modality is {sample.modality!r}")
            ids = (sample.pid, sample.camid, sample.frame, sample.modality)
            require(
                all(isinstance(number, int) for number in ids[:3]),
                f"{where}: pid, camid and frame are integers",
            )
            require(sample.frame >= 1, f"{where}: frames count from 1; `number_frames` numbers them")
            require(
                sample.camid > NO_CAMERA or not dataset.has_cameras,
                f"{where}: camera {sample.camid} is none; count from 1, or say has_cameras=False in the scan",
            )
            told = cls.cameras.get(sample.camid, None if cls.cameras else sample.modality)
            require(
                told is sample.modality,
                f"{where} is {sample.modality}, but `cameras` says {told} of camera {sample.camid}",
            )
            require(ids not in seen, f"{where} has the pid, camera, frame and modality of another image")
            seen.add(ids)


def _check_protocol(name: str, dataset: Dataset) -> None:
    with explained(f"{name}: its protocol"):
        protocol = make_protocol(name, trial=dataset.trial)
        if "test" in dataset.splits:
            protocol.trials(dataset.table("test"))


def _check_fingerprint(cls: type[Reader], given: Path, folder: Path) -> None:
    """The fingerprint must be of all images, and the same wherever they lie."""
    name, one = cls.name, _load(cls, given)
    copy = Path(shutil.copytree(folder / "one", folder / "two"))
    two = _load(cls, copy / given.relative_to(folder / "one"))
    require(
        (one.splits, one.fingerprint) == (two.splits, two.fingerprint),
        f"{name}: a copy elsewhere reads differently; paths must start below the dataset's folder",
    )
    images = {
        path.relative_to(one.root).as_posix(): path.stat().st_size
        for path in one.root.rglob("*")
        if path.suffix.lower() in cls.suffixes
    }
    require(
        one.fingerprint == fingerprint(images.items()),
        f"{name}: `images` of the scan must hold every image on disk with its size in bytes",
    )


def _check_damage(cls: type[Reader], given: Path, folder: Path) -> None:
    """A damaged dataset is told in problems; reading never stops at one."""
    name, samples = cls.name, [s for rows in _load(cls, given).splits.values() for s in rows]
    for what, expected in (
        ("an empty image", {Kind.EMPTY_FILE}),
        ("a missing image", set()),
        ("no image", None),
    ):
        damaged = folder / what.replace(" ", "-")
        shutil.copytree(folder / "one", damaged)
        root = damaged / given.relative_to(folder / "one")
        base = root if root.is_dir() else root.parent
        _damage(what, base, samples)
        with explained(f"{name}: reading stops at {what}; note it in tree.problems instead"):
            found = datasets.check_dataset(name, root).problems
        kinds = {problem.kind for problem in found}
        require(
            bool(kinds) if expected is None else expected <= kinds,
            f"{name}: {what} is no problem in its report; list images with tree.images or tree.size",
        )


def _damage(what: str, base: Path, samples: Sequence[Sample]) -> None:
    first = base / samples[0].path
    if what == "an empty image":
        first.write_bytes(b"")
    elif what == "a missing image":
        first.unlink()
    else:
        for sample in samples:
            (base / sample.path).unlink(missing_ok=True)


def _load(cls: type[Reader], given: Path) -> Dataset:
    return load_dataset(cls.name, given, trial=cls.trials[0] if cls.trials else None)
