"""The whole examination of a dataset: counts, and every problem in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ivreid.datasets.base import DatasetScan, Reader
from ivreid.datasets.extra_checks import note_same_names, note_unused, some
from ivreid.datasets.problems import Kind, Problem
from ivreid.datasets.registry import get_reader, inspect_splits
from ivreid.datasets.tree import Tree
from ivreid.io import REFUSE, ImageInspection, ValueRange, fingerprint, inspect_image
from ivreid.machine import available_cores
from ivreid.types import Modality, Progress, Sample


@dataclass(frozen=True, slots=True)
class Count:
    """How many identities and images one split holds of one modality, by camera (None: all cameras together).

    Attributes:
        trials: The trials that have exactly these counts, e.g. "1-10"; empty for datasets with one split.
    """

    trials: str
    split: str
    modality: Modality
    camid: int | None
    identities: int
    images: int


@dataclass(frozen=True)
class DatasetReport:
    """What `check_dataset` found.

    Attributes:
        name: The dataset's registry name.
        root: The folder that problem paths start from.
        fingerprint: The dataset's fingerprint.
        counts: Identities and images per split, modality and camera.
        problems: Every problem, by kind and path.
        notices: Remarks that are no problems.
        checked: What was looked at, in one sentence.
    """

    name: str
    root: Path
    fingerprint: str
    counts: tuple[Count, ...]
    problems: tuple[Problem, ...]
    notices: tuple[str, ...]
    checked: str

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def check_dataset(
    name: str,
    root: Path | str,
    *,
    decode: bool = False,
    value_range: ValueRange | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> DatasetReport:
    """Examine a dataset, all its trials, and tell everything that is wrong.

    Args:
        name: A dataset's registry name.
        root: The dataset's folder (for "csv" also the file itself).
        decode: Decode every image whole. Otherwise its structure is read, which finds files that are no images,
            too large, cut short, or of wrong checksums; where it does not tell, the image is decoded.
        value_range: The rule that grey of more than eight bits will follow; None, such pictures are problems.
        workers: Threads that read images; as many as there are cores when not given.
        progress: Called with (images done, images in all).

    Raises:
        UsageError: Unknown dataset.
        DataError: The root does not exist.
    """
    reader = get_reader(name)
    tree = reader.open(Path(root))
    read: dict[int | None, DatasetScan] = {}
    for trial in reader.trials or (None,):
        read[trial] = reader.read(tree, trial)
        inspect_splits(tree, read[trial].splits)
    first = next(iter(read.values()))
    reader.examine(tree, first)
    note_same_names(tree, first)
    if reader.owns_root:
        note_unused(tree, first)
    looks = _look_at_images(tree, first.images, decode, value_range, workers, progress)
    first.notices.extend(_about_pictures(looks))
    depth = "decoded every image" if decode else "read the structure of every image (--decode decodes each)"
    return DatasetReport(
        name=name,
        root=tree.root,
        fingerprint=fingerprint(first.images.items()),
        counts=tuple(_count({trial: scan.splits for trial, scan in read.items()})),
        problems=tuple(tree.problems),
        notices=tuple(_notices(reader, first, tree)),
        checked=f"names, sizes and lists of {len(first.images):,} images; {depth}",
    )


def _look_at_images(
    tree: Tree,
    images: Mapping[str, int],
    decode: bool,
    value_range: ValueRange | None,
    workers: int | None,
    progress: Progress | None,
) -> dict[str, ImageInspection]:
    """Note every picture that cannot be used, and return what was found of the others."""
    paths = [path for path, size in images.items() if size]
    found: dict[str, ImageInspection] = {}

    def look(path: str) -> ImageInspection:
        return inspect_image(tree.root / path, decode=decode, value_range=value_range or REFUSE)

    with ThreadPoolExecutor(workers or available_cores()) as pool:
        for done, (path, seen) in enumerate(zip(paths, pool.map(look, paths), strict=True), start=1):
            if seen.fault:
                tree.problems.add(Kind.NOT_AN_IMAGE if seen.no_image else Kind.UNDECODABLE, path, seen.fault)
            else:
                found[path] = seen
            if seen.value_range and value_range is None:
                message = f"values from {seen.value_range[0]:,g} to {seen.value_range[1]:,g}; data.value_range must say how they become grey"
                tree.problems.add(Kind.HIGH_BIT_DEPTH, path, message, fatal=False)
            if progress and (done % 256 == 0 or done == len(paths)):
                progress(done, len(paths))
    return found


def _about_pictures(looks: Mapping[str, ImageInspection]) -> Iterator[str]:
    spans = [look.value_range for look in looks.values() if look.value_range]
    if spans:
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        yield f"{len(spans):,} picture(s) are grey of more than eight bits, with values from {low:,g} to {high:,g}"
    for words, chosen in (
        (
            "may have transparent pixels, which are black",
            [p for p, look in looks.items() if look.transparent],
        ),
        (
            "are colour of 16 bits, of which the upper eight count",
            [p for p, s in looks.items() if s.colour_16],
        ),
        ("are of another kind than their names say", [f"{p} ({s.kind})" for p, s in looks.items() if s.kind]),
    ):
        if chosen:
            yield f"{len(chosen):,} picture(s) {words}: {some(chosen)}"


def _count(splits: Mapping[int | None, Mapping[str, Sequence[Sample]]]) -> Iterator[Count]:
    alike: dict[tuple[Count, ...], list[int]] = defaultdict(list)
    for trial, by_split in splits.items():
        rows = [row for split, samples in by_split.items() for row in _count_split(split, samples)]
        alike[tuple(rows)].append(trial or 0)
    for kept, trials in alike.items():
        for row in kept:
            yield Count(_ranges(trials), row.split, row.modality, row.camid, row.identities, row.images)


def _count_split(split: str, samples: Sequence[Sample]) -> Iterator[Count]:
    for modality in (Modality.VISIBLE, Modality.INFRARED):
        rows = [sample for sample in samples if sample.modality is modality]
        cameras = sorted({sample.camid for sample in rows})
        for camid in cameras if len(cameras) > 1 else ():
            pids = [sample.pid for sample in rows if sample.camid == camid]
            yield Count("", split, modality, camid, len({pid for pid in pids if pid >= 0}), len(pids))
        only = cameras[0] if len(cameras) == 1 else None
        yield Count(
            "", split, modality, only, len({sample.pid for sample in rows if sample.pid >= 0}), len(rows)
        )


def _ranges(trials: Sequence[int]) -> str:
    if not any(trials):
        return ""
    if list(trials) == list(range(trials[0], trials[-1] + 1)) and len(trials) > 1:
        return f"{trials[0]}-{trials[-1]}"
    return ", ".join(map(str, trials))


def _notices(reader: Reader, scan: DatasetScan, tree: Tree) -> Iterator[str]:
    yield from scan.notices
    if tree.ignored:
        yield f"{len(tree.ignored):,} hidden or system files and folders are ignored: {some(sorted(tree.ignored))}"
    if not reader.released:
        return
    differ = [
        f"{k} {scan.facts.get(k, 0):,} ({n:,})" for k, n in reader.released.items() if scan.facts.get(k) != n
    ]
    if differ:
        yield f"counts that differ from the released dataset's (in brackets): {', '.join(differ)}"
    else:
        yield "counts equal the released dataset's"
