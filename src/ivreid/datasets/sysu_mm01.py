"""SYSU-MM01 (Wu et al., ICCV 2017): visible cameras 1, 2, 4, 5 and near-infrared cameras 3, 6."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import ClassVar

import numpy as np

from ivreid.datasets.base import DatasetScan, Reader, number_frames
from ivreid.datasets.examples import write_list, write_picture
from ivreid.datasets.id_lists import read_ids, whole_number
from ivreid.datasets.matlab import read_mat
from ivreid.datasets.problems import Kind
from ivreid.datasets.registry import register_dataset
from ivreid.datasets.tree import Tree
from ivreid.errors import DataError
from ivreid.types import Modality, Sample

CAMERAS = (1, 2, 3, 4, 5, 6)
INFRARED_CAMERAS = (3, 6)
LISTS = {"train": "exp/train_id.txt", "val": "exp/val_id.txt", "test": "exp/test_id.txt"}
AVAILABLE = "exp/available_id.txt"
PERMUTATIONS = "exp/rand_perm_cam.mat"
DRAWS = 10


@register_dataset
class SysuMM01(Reader):
    """`ROOT/cam{1..6}/{pid:04d}/{n:04d}.jpg` with identity lists in `ROOT/exp/`."""

    name = "sysu-mm01"
    cameras: ClassVar = {c: Modality.INFRARED if c in INFRARED_CAMERAS else Modality.VISIBLE for c in CAMERAS}
    has_validation = True
    recognised_by = ("cam1", "cam3", "exp")
    released = {  # noqa: RUF012
        **{
            f"camera {c} images": n
            for c, n in zip(CAMERAS, (6289, 7528, 9812, 8030, 8224, 5980), strict=True)
        },
        **{"train identities": 296, "val identities": 99, "test identities": 96},
        **{"train + val visible images": 22258, "train + val infrared images": 11909},
        **{f"camera {c} test identities": n for c, n in zip(CAMERAS, (56, 56, 93, 94, 95, 96), strict=True)},
    }

    def modality_of(self, path: str) -> Modality | None:
        """By the camera's folder."""
        camid = whole_number(path.partition("/")[0].removeprefix("cam"))
        if camid not in self.cameras:
            return None
        return self.cameras[camid]

    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Every image on disk, divided by the identity lists."""
        samples, sizes = self._images(tree)
        by_pid: dict[int, list[Sample]] = defaultdict(list)
        for sample in samples:
            by_pid[sample.pid].append(sample)
        splits, listed = {}, set()
        for split, path in LISTS.items():
            pids = read_ids(tree, path)
            listed |= set(pids)
            splits[split] = [sample for pid in pids for sample in by_pid.get(pid, ())]
            for pid in pids:
                if pid not in by_pid:
                    message = f"identity {pid} is listed, but no camera has a folder {pid:04d} with images"
                    tree.problems.add(Kind.MISSING_FILE, path, message)
        for pid in sorted(listed ^ set(read_ids(tree, AVAILABLE, required=False) or listed)):
            where = (
                "not among train, val and test"
                if pid not in listed
                else f"in a split, but not in {AVAILABLE}"
            )
            tree.problems.add(Kind.NOT_LISTED, AVAILABLE, f"identity {pid} is {where}", fatal=False)
        scan = DatasetScan(splits, sizes, facts=_facts(samples, splits))
        unused = set(by_pid) - listed
        if unused:
            images = sum(len(by_pid[pid]) for pid in unused)
            scan.notices.append(f"{images:,} images of {len(unused)} identities are in no split list")
        if tree.has_folder("exp") and tree.has_file(PERMUTATIONS):
            scan.permutations = PERMUTATIONS
        return scan

    def _images(self, tree: Tree) -> tuple[list[Sample], dict[str, int]]:
        found, sizes = [], {}
        for camera in tree.require_folders(f"cam{c}" for c in CAMERAS):
            camid = int(camera.removeprefix("cam"))
            for name in tree.folder(camera).folders:
                pid = whole_number(name)
                if pid is None or len(name) != 4 or pid < 1:
                    message = "an identity's folder is named by four digits, such as 0007"
                    tree.problems.add(Kind.WRONG_NAME, f"{camera}/{name}", message)
                    continue
                images = tree.images(f"{camera}/{name}")
                if not images:
                    tree.problems.add(Kind.EMPTY_FOLDER, f"{camera}/{name}", "no image in it", fatal=False)
                for file, size in images.items():
                    path = f"{camera}/{name}/{file}"
                    stem = file.rpartition(".")[0]
                    if whole_number(stem) is None or len(stem) != 4:
                        # a foreign file would move every later position, and with it the gallery draws
                        tree.problems.add(
                            Kind.WRONG_NAME, path, "an image is named by four digits, such as 0001.jpg"
                        )
                        continue
                    found.append((path, pid, camid, self.cameras[camid]))
                    sizes[path] = size
        return number_frames(found), sizes

    def example(self, root: Path) -> Path:
        """Six people, two in each split, two images of each at every camera."""
        for split, pids in {"train": (1, 2), "val": (3, 4), "test": (5, 6), "available": range(1, 7)}.items():
            write_list(root / f"exp/{split}_id.txt", [",".join(map(str, pids))])
        for camid in CAMERAS:
            for pid in range(1, 7):
                for number in (1, 2):
                    write_picture(root, f"cam{camid}/{pid:04d}/{number:04d}.jpg")
        return root

    def examine(self, tree: Tree, scan: DatasetScan) -> None:
        """Compare the authors' gallery draw with the test images on disk."""
        if scan.permutations is None:
            scan.notices.append(f"no {PERMUTATIONS}: the official gallery draw is not available")
            return
        counts: dict[tuple[int, int], int] = defaultdict(int)
        for sample in scan.splits["test"]:
            counts[sample.camid, sample.pid] += 1
        for message in permutation_faults(tree, counts):
            tree.problems.add(Kind.PERMUTATIONS, PERMUTATIONS, message, fatal=False)


def permutation_faults(tree: Tree, counts: dict[tuple[int, int], int]) -> list[str]:
    """What in `rand_perm_cam.mat` does not fit.

    Args:
        tree: The dataset's files.
        counts: Images on disk by (camid, pid), of the test identities.

    Returns:
        One message a fault; empty where cell c, entry pid - 1 is a 10 x n matrix of permutations of 1..n for
        the n images on disk.
    """
    try:
        cells = read_mat(tree.root / PERMUTATIONS, "rand_perm_cam")
    except DataError as error:
        return [str(error)]
    if cells.shape != (6, 1) or cells.dtype != object:
        return [f"`rand_perm_cam` must be a 6x1 cell, it is {cells.dtype} of shape {cells.shape}"]
    pids = sorted({pid for _, pid in counts})
    faults = (_entry_fault(cells[c - 1, 0], c, pid, counts.get((c, pid), 0)) for c in CAMERAS for pid in pids)
    return [fault for fault in faults if fault]


def _entry_fault(cell: object, camid: int, pid: int, images: int) -> str | None:
    entries = np.asarray(cell).reshape(-1)
    entry = np.asarray(entries[pid - 1]) if pid <= len(entries) else np.zeros((DRAWS, 0))
    where = f"camera {camid}, identity {pid}"
    drawn = entry.shape[-1] if entry.size else 0
    if drawn != images:
        return f"{where}: drawn from {drawn} images, on disk are {images}"
    if not images:
        return None
    if entry.shape != (DRAWS, images) or entry.dtype == object:
        return f"{where}: the entry must be {DRAWS} x {images} numbers, it is {entry.dtype} {entry.shape}"
    if not (np.sort(entry, axis=1) == np.arange(1, images + 1)).all():
        return f"{where}: a row is no permutation of 1 to {images}"
    return None


def _facts(samples: list[Sample], splits: dict[str, list[Sample]]) -> dict[str, int]:
    training = [*splits["train"], *splits["val"]]
    facts = {f"{split} identities": len({s.pid for s in rows}) for split, rows in splits.items()}
    for modality in Modality:
        facts[f"train + val {modality} images"] = sum(s.modality is modality for s in training)
    for c in CAMERAS:
        facts[f"camera {c} images"] = sum(s.camid == c for s in samples)
        facts[f"camera {c} test identities"] = len({s.pid for s in splits["test"] if s.camid == c})
    return facts
