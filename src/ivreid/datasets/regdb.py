"""RegDB (Nguyen et al., Sensors 2017): visible and thermal images, ten train/test splits."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ivreid.datasets.base import DatasetScan, Reader, number_frames
from ivreid.datasets.examples import write_list, write_picture
from ivreid.datasets.id_lists import check_labels, read_entries, require_files, whole_number
from ivreid.datasets.problems import Kind
from ivreid.datasets.registry import register_dataset
from ivreid.datasets.tree import Tree
from ivreid.types import Modality, Sample

VISIBLE_CAMERA, THERMAL_CAMERA = 1, 2


@register_dataset
class RegDB(Reader):
    """`ROOT/{Visible,Thermal}/{pid}/..._{v|t}_{frame}_{pid}.bmp`, ten splits in `ROOT/idx/`."""

    name = "regdb"
    recognised_by = ("Visible", "Thermal", "idx")
    trials = tuple(range(1, 11))
    cameras: ClassVar = {VISIBLE_CAMERA: Modality.VISIBLE, THERMAL_CAMERA: Modality.INFRARED}
    released = {  # noqa: RUF012
        **{
            "visible identities": 412,
            "thermal identities": 412,
            "visible images": 4120,
            "thermal images": 4120,
        },
        **{"train identities": 206, "test identities": 206},
    }

    def modality_of(self, path: str) -> Modality | None:
        """By the first folder."""
        return {"Visible": Modality.VISIBLE, "Thermal": Modality.INFRARED}.get(path.partition("/")[0])

    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Every image on disk, divided by the lists of one trial."""
        facts: dict[str, int] = {}
        on_disk: dict[str, Sample] = {}
        sizes: dict[str, int] = {}
        for word, modality in (("visible", Modality.VISIBLE), ("thermal", Modality.INFRARED)):
            samples = self._images(tree, word, modality, sizes)
            on_disk.update({sample.path: sample for sample in samples})
            facts[f"{word} images"] = len(samples)
            facts[f"{word} identities"] = len({sample.pid for sample in samples})
        splits = {split: self._split(tree, split, trial or 1, on_disk) for split in ("train", "test")}
        facts.update({f"{split} identities": len({s.pid for s in rows}) for split, rows in splits.items()})
        _note_unlisted(tree, splits, on_disk)
        return DatasetScan(splits, sizes, facts)

    def _images(self, tree: Tree, word: str, modality: Modality, sizes: dict[str, int]) -> list[Sample]:
        found = []
        camid = VISIBLE_CAMERA if modality is Modality.VISIBLE else THERMAL_CAMERA
        for top in tree.require_folders([word.capitalize()]):
            for name in tree.folder(top).folders:
                pid = whole_number(name)
                if pid is None or str(pid) != name or pid < 1:
                    message = "an identity's folder is named by its number, such as 7"
                    tree.problems.add(Kind.WRONG_NAME, f"{top}/{name}", message)
                    continue
                for file, size in tree.images(f"{top}/{name}").items():
                    path = f"{top}/{name}/{file}"
                    fault = _name_fault(file, pid, word[0])
                    if fault:
                        contradicts = _words(file) is not None
                        tree.problems.add(Kind.WRONG_NAME, path, fault, fatal=contradicts)
                    found.append((path, pid, camid, modality))
                    sizes[path] = size
        return number_frames(found)

    def _split(self, tree: Tree, split: str, trial: int, on_disk: dict[str, Sample]) -> list[Sample]:
        entries = [
            entry
            for word in ("visible", "thermal")
            for entry in read_entries(tree, f"idx/{split}_{word}_{trial}.txt", word.capitalize())
        ]
        require_files(tree, entries, on_disk)
        named = [(entry, on_disk[entry.path]) for entry in entries if entry.path in on_disk]
        lists = f"idx/{split}_{{visible,thermal}}_{trial}.txt"
        pids = ((entry, sample.pid) for entry, sample in named)
        check_labels(tree, pids, lists=lists, contiguous=split == "train")
        return [sample for _, sample in named]

    def example(self, root: Path) -> Path:
        """Four people; each trial trains on two that follow each other and tests on the others."""
        for top in ("Visible", "Thermal"):
            images = {
                pid: [
                    write_picture(root, f"{top}/{pid}/male_front_{top[0].lower()}_{frame:05d}_{pid}.bmp")
                    for frame in (5, 15)
                ]
                for pid in (1, 2, 9, 10)
            }
            pids = list(images)
            for trial in self.trials:
                turned = pids[trial % 4 :] + pids[: trial % 4]
                for split, chosen in (("train", sorted(turned[:2])), ("test", sorted(turned[2:]))):
                    lines = [f"{name} {label}" for label, pid in enumerate(chosen) for name in images[pid]]
                    write_list(root / f"idx/{split}_{top.lower()}_{trial}.txt", lines)
        return root


def _note_unlisted(tree: Tree, splits: dict[str, list[Sample]], on_disk: dict[str, Sample]) -> None:
    listed = {sample.path for rows in splits.values() for sample in rows}
    read = {(split, sample.modality) for split, rows in splits.items() for sample in rows}
    if len(read) < 4:  # a list is missing, which is the problem to tell
        return
    for path in sorted(set(on_disk) - listed):
        # the same words for every trial, so that it is told once
        tree.problems.add(
            Kind.NOT_LISTED, path, "an image on disk that a trial's lists do not name", fatal=False
        )


def _name_fault(file: str, pid: int, letter: str) -> str | None:
    words = _words(file)
    if words is None:
        return f"a file is named like male_front_{letter}_00001_{pid}.bmp"
    if int(words[-1]) != pid:
        return f"the name says identity {int(words[-1])}, the folder {pid}"
    if words[-3] != letter:
        return f"the name has {words[-3]!r} where this folder's files have {letter!r}"
    return None


def _words(file: str) -> list[str] | None:
    """The parts of a name that follows the released pattern; None of another one, which says nothing wrong."""
    words = file.rpartition(".")[0].split("_")
    follows = len(words) >= 3 and None not in (whole_number(words[-1]), whole_number(words[-2]))
    return words if follows else None
