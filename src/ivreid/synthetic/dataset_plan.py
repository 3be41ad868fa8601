"""The plan of a dataset: its cameras, its pictures and its lists, before anything is drawn."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivreid.io import atomic_write, write_text
from ivreid.synthetic.camera import Camera
from ivreid.synthetic.streams import generator

TRIALS = 10
MAT_HEADER = b"MATLAB 5.0 MAT-file, synthetic gallery permutations"


@dataclass(frozen=True, slots=True)
class PlannedPicture:
    """One file to write.

    Attributes:
        path: Relative to the dataset's root.
        pid: Whom it shows.
        camera: Key of `DatasetPlan.cameras`.
        moment: Ids of the moment; two files of one moment show the same pose.
        spread: How far headings stray from the camera's, radians.
        vary: How much sizes vary around the dataset's, as a share.
        heading: The heading to keep, or None for the camera's.
    """

    path: str
    pid: int
    camera: str
    moment: tuple[int, ...]
    spread: float = 0.3
    vary: float = 0.0
    heading: float | None = None


@dataclass(frozen=True)
class DatasetPlan:
    """Everything a dataset will hold.

    Attributes:
        cameras: The cameras by name.
        pictures: The files with pictures, in the order of their paths.
        lists: Relative path and text of the lists.
        permutations: SYSU-MM01's gallery draws (see `permutations`), or None.
    """

    cameras: dict[str, Camera]
    pictures: tuple[PlannedPicture, ...]
    lists: dict[str, str]
    permutations: NDArray[np.object_] | None = None

    def write_lists(self, root: Path) -> None:
        """Write everything but the pictures."""
        for path, text in self.lists.items():
            write_text(root / path, text)
        if self.permutations is not None:
            from scipy.io import savemat

            buffer = io.BytesIO()
            savemat(buffer, {"rand_perm_cam": self.permutations}, do_compression=True)
            with atomic_write(root / "exp" / "rand_perm_cam.mat") as file:
                # the format opens with 116 bytes of free text, where scipy puts the time of day
                file.write(MAT_HEADER.ljust(116) + buffer.getvalue()[116:])


def split_identities(seed: int, identities: int, shares: tuple[float, ...]) -> list[list[int]]:
    """Identities 1..N dealt at random into these shares, at least two each; the last part takes the rest."""
    order = generator(seed, "split").permutation(identities) + 1
    sizes = [max(2, round(share * identities)) for share in shares]
    edges = np.cumsum([0, *sizes])
    parts = [order[a:b] for a, b in zip(edges, [*edges[1:]], strict=False)] + [order[edges[-1] :]]
    return [sorted(int(pid) for pid in part) for part in parts]


def cameras_passed(
    rng: np.random.Generator, cameras: tuple[int, ...], chance: dict[int, float], least: int
) -> list[int]:
    """The cameras an identity passes: each by its chance, but at least this many."""
    draws = {camera: float(rng.random()) / chance[camera] for camera in cameras}
    ranked = sorted(cameras, key=lambda camera: draws[camera])
    passed = sum(draws[camera] < 1 for camera in cameras)
    return sorted(ranked[: max(least, passed)])


def one_line(pids: list[int]) -> str:
    """Comma-separated identity numbers."""
    return ",".join(str(pid) for pid in pids) + "\n"


def draw_permutations(seed: int, counts: NDArray[np.int64]) -> NDArray[np.object_]:
    """Gallery draws in the authors' form: 6x1 cell of Nx1 cells of 10 x n arrays, 1-based, n = 0: absent.

    Args:
        seed: The dataset's seed.
        counts: (6, N) images of each identity in each camera.
    """
    cells = np.empty((len(counts), 1), dtype=object)
    for camera, row in enumerate(counts):
        cell = np.empty((len(row), 1), dtype=object)
        for index, count in enumerate(row):
            rng = generator(seed, "trial", camera + 1, index + 1)
            draws = [rng.permutation(int(count)) + 1 for _ in range(TRIALS)]
            cell[index, 0] = np.array(draws, dtype=np.uint16).reshape(TRIALS, int(count))
        cells[camera, 0] = cell
    return cells
