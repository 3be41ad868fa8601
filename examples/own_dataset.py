"""A dataset of your own, read by the command line without touching the package:

    ivreid data check night-and-day ROOT --plugin examples/own_dataset.py

Its layout: ROOT/{day,night}/{pid}_{camera}_{anything}.png. A CSV needs no code at all, see docs/datasets.md.
"""

from __future__ import annotations

from pathlib import Path

import ivreid
from ivreid.datasets.base import DatasetScan, Reader, number_frames
from ivreid.datasets.examples import write_picture
from ivreid.datasets.id_lists import whole_number
from ivreid.datasets.problems import Kind
from ivreid.datasets.tree import Tree
from ivreid.types import Modality

FOLDERS = {"day": Modality.VISIBLE, "night": Modality.INFRARED}


@ivreid.register_dataset
class NightAndDay(Reader):
    """Even identities are trained on, odd ones tested."""

    name = "night-and-day"
    recognised_by = ("day", "night")

    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Every picture of the two folders; whatever is wrong is noted, and reading goes on."""
        found, sizes = [], {}
        for folder in tree.require_folders(FOLDERS):
            for file, size in tree.images(folder).items():
                path = f"{folder}/{file}"
                pid, camera = (whole_number(part) for part in [*file.split("_"), "", ""][:2])
                if pid is None or not camera:
                    message = "a picture's name is PID_CAMERA_anything.png, such as 7_1_a.png"
                    tree.problems.add(Kind.WRONG_NAME, path, message)
                    continue
                found.append((path, pid, camera, FOLDERS[folder]))
                sizes[path] = size
        samples = number_frames(found)
        splits = {name: [s for s in samples if s.pid % 2 == odd] for name, odd in (("train", 0), ("test", 1))}
        return DatasetScan(splits, sizes)

    def modality_of(self, path: str) -> Modality | None:
        """By the first folder."""
        return FOLDERS.get(path.partition("/")[0])

    def example(self, root: Path) -> Path:
        """Four people, two pictures of each by day and by night: what the contract test reads."""
        for pid in range(1, 5):
            for camera, folder in ((1, "day"), (2, "night")):
                for shot in "ab":
                    write_picture(root, f"{folder}/{pid}_{camera}_{shot}.png")
        return root
