"""How a gallery is drawn: three ways are in use, and they do not give the same figures; a fourth is ours."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.datasets.matlab import read_cells
from ivreid.errors import DataError, ProtocolError
from ivreid.types import IntArray

DRAWS = ("official", "agw", "iv-reid", "seeded")
TRIALS = 10

ImageGroups = Mapping[tuple[int, int], IntArray]
"""(pid, camid) -> rows of its images in the order of their sorted files; keys ascending."""


def draw_agw(groups: ImageGroups, trial: int) -> list[int]:
    """One image per identity and camera as most Python code draws it (Ye et al., TPAMI 2021; also LLCM).

    `random.seed(trial)`, identities ascending, cameras ascending, one `random.choice` of the sorted files.
    """
    generator = random.Random(trial)
    return [int(generator.choice(groups[group])) for group in sorted(groups)]


def draw_iv_reid(groups: ImageGroups, trial: int) -> list[int]:
    """One image per identity and camera as the published IV-ReID code draws it.

    `random.seed(2019 + 33 trial)`, cameras outermost, then identities. That code took folders and files
    as the file system listed them; here they are sorted.
    """
    generator = random.Random(2019 + 33 * trial)
    return [int(generator.choice(groups[group])) for group in sorted(groups, key=lambda group: group[::-1])]


def draw_seeded(groups: ImageGroups, trial: int, shots: int) -> list[int]:
    """`shots` images per identity and camera, drawn here: those of the smallest hashes.

    An image's hash is SHA-256 of "trial pid camid position" in decimal, the position being its 1-based place among
    the sorted files. So the draw is the same everywhere, and a single-shot gallery is part of the ten-shot one. It
    stands in for the authors' permutations where their file is missing, and is not comparable with them.

    Raises:
        ProtocolError: An identity with fewer images than shots before a camera.
    """
    rows: list[int] = []
    for (pid, camid), images in groups.items():
        if len(images) < shots:
            raise _too_few(pid, camid, len(images), shots)
        keys = [
            hashlib.sha256(f"{trial} {pid} {camid} {place}".encode()).digest()
            for place in range(1, len(images) + 1)
        ]
        order = sorted(range(len(images)), key=keys.__getitem__)
        rows.extend(int(images[place]) for place in order[:shots])
    return rows


def _too_few(pid: int, camid: int, found: int, shots: int) -> ProtocolError:
    return ProtocolError(
        f"camera {camid}, identity {pid}: {shots} shots asked for, {found} image(s) found; "
        "single-shot (shots 1) needs one image of each"
    )


@dataclass(frozen=True, eq=False)
class Permutations:
    """The dataset authors' permutations: for each camera and identity a (10, n) matrix over its n images.

    Attributes:
        path: The file they come from, for messages.
        cells: cells[camid - 1][pid - 1] is the matrix of 1-based positions, with n = 0 where there are no
            images.
    """

    path: Path
    cells: tuple[tuple[NDArray[Any], ...], ...]

    def draw(self, groups: ImageGroups, trial: int, shots: int) -> list[int]:
        """The first `shots` positions of row `trial` of every identity and camera (Wu et al., ICCV 2017).

        Raises:
            ProtocolError: Permutations that do not fit the images: camera, identity, expected and found.
        """
        rows: list[int] = []
        for (pid, camid), images in groups.items():
            positions = self._matrix(pid, camid, len(images))[trial, :shots]
            if len(positions) < shots:
                raise _too_few(pid, camid, len(images), shots)
            rows.extend(images[positions.astype(np.int64) - 1].tolist())
        return rows

    def _matrix(self, pid: int, camid: int, found: int) -> NDArray[Any]:
        where = f"{self.path} does not fit the images: camera {camid}, identity {pid}"
        cells = self.cells[camid - 1]
        if not 1 <= pid <= len(cells):
            raise ProtocolError(f"{where}: the permutations know identities 1 to {len(cells)} there")
        matrix = cells[pid - 1]
        expected = matrix.shape[1] if matrix.ndim == 2 else 0
        if expected != found:
            raise ProtocolError(f"{where}: expected {expected} image(s), found {found}")
        if len(matrix) < TRIALS or not (np.sort(matrix[:TRIALS], axis=1) == np.arange(1, found + 1)).all():
            raise ProtocolError(
                f"{where}: expected {TRIALS} permutations of 1 to {found}, found something else"
            )
        return matrix

    @classmethod
    def read(cls, path: Path | str) -> Permutations:
        """Read `rand_perm_cam.mat`.

        Raises:
            DataError: Not that file.
        """
        path = Path(path)
        cameras = read_cells(path, "rand_perm_cam")
        if len(cameras) != 6:
            raise DataError(
                f"{path}: `rand_perm_cam` must have one cell for each of 6 cameras, it has {len(cameras)}"
            )
        for camid, cells in enumerate(cameras, start=1):
            if cells.dtype != object or not all(isinstance(cell, np.ndarray) for cell in cells.ravel()):
                raise DataError(
                    f"{path}: `rand_perm_cam` camera {camid} must be a cell vector over identities"
                )
        return cls(path, tuple(tuple(cells.ravel()) for cells in cameras))
