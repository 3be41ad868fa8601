"""What a dataset of each layout holds: who is seen by which camera in which file, and the lists."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivreid.datasets.synthetic.camera import Camera, draw_camera
from ivreid.datasets.synthetic.identity import draw_identity
from ivreid.datasets.synthetic.rng import generator
from ivreid.datasets.synthetic.surface import Band
from ivreid.io import atomic_write, write_text

SYSU_ROOMS = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}
"""Place each SYSU-MM01 camera watches; cameras 2 and 3 stand in the same room."""
SYSU_INFRARED, SYSU_INDOOR = (3, 6), (1, 2, 3)
SYSU_PRESENCE = {1: 0.75, 2: 0.75, 3: 0.92, 4: 0.92, 5: 0.92, 6: 0.95}
LLCM_CAMERAS, LLCM_NIR = tuple(range(1, 10)), (1, 2, 4, 5, 6, 7, 8, 9)
TRIALS = 10
MAT_HEADER = b"MATLAB 5.0 MAT-file, synthetic gallery permutations"


@dataclass(frozen=True, slots=True)
class Picture:
    """One file to write.

    Attributes:
        path: Relative to the dataset's root.
        pid: Whom it shows.
        camera: Key of `Plan.cameras`.
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
class Plan:
    """Everything a dataset will hold.

    Attributes:
        cameras: The cameras by name.
        pictures: The files with pictures, in the order of their paths.
        lists: Relative path and text of the lists.
        permutations: SYSU-MM01's gallery draws (see `_permutations`), or None.
    """

    cameras: dict[str, Camera]
    pictures: tuple[Picture, ...]
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


@dataclass(frozen=True, slots=True)
class Layout:
    """A dataset layout the generator can write.

    Attributes:
        plan: (seed, identities, images) -> Plan.
        fewest: Identities below which a split would be empty.
        even: Whether the number of identities must be even.
    """

    plan: Callable[[int, int, int], Plan]
    fewest: int
    even: bool = False


def _shares(seed: int, identities: int, shares: tuple[float, ...]) -> list[list[int]]:
    """Identities 1..N dealt at random into these shares, at least two each; the last part takes the rest."""
    order = generator(seed, "split").permutation(identities) + 1
    sizes = [max(2, round(share * identities)) for share in shares]
    edges = np.cumsum([0, *sizes])
    parts = [order[a:b] for a, b in zip(edges, [*edges[1:]], strict=False)] + [order[edges[-1] :]]
    return [sorted(int(pid) for pid in part) for part in parts]


def _present(
    rng: np.random.Generator, cameras: tuple[int, ...], chance: dict[int, float], least: int
) -> list[int]:
    """The cameras an identity passes: each by its chance, but at least this many."""
    draws = {camera: float(rng.random()) / chance[camera] for camera in cameras}
    ranked = sorted(cameras, key=lambda camera: draws[camera])
    passed = sum(draws[camera] < 1 for camera in cameras)
    return sorted(ranked[: max(least, passed)])


def _one_line(pids: list[int]) -> str:
    return ",".join(str(pid) for pid in pids) + "\n"


def plan_sysu(seed: int, identities: int, images: int) -> Plan:
    """SYSU-MM01: six cameras, two of them infrared; nobody passes all of them for certain."""
    cameras = {
        str(number): draw_camera(
            seed,
            number,
            band=Band.NIR if number in SYSU_INFRARED else Band.VISIBLE,
            place=place,
            indoor=number in SYSU_INDOOR,
        )
        for number, place in SYSU_ROOMS.items()
    }
    visible = tuple(number for number in SYSU_ROOMS if number not in SYSU_INFRARED)
    pictures: list[Picture] = []
    counts = np.zeros((len(SYSU_ROOMS), identities), dtype=np.int64)
    for pid in range(1, identities + 1):
        rng = generator(seed, "plan", pid)
        for number in sorted(
            _present(rng, visible, SYSU_PRESENCE, 2) + _present(rng, SYSU_INFRARED, SYSU_PRESENCE, 1)
        ):
            counts[number - 1, pid - 1] = images
            pictures += [
                Picture(
                    f"cam{number}/{pid:04d}/{frame:04d}.jpg",
                    pid,
                    str(number),
                    (pid, number, frame),
                    vary=0.15,
                )
                for frame in range(1, images + 1)
            ]
    test, val, train = _shares(seed, identities, (0.2, 0.2))
    lists = {"train": train, "val": val, "test": test, "available": sorted(train + val + test)}
    return Plan(
        cameras=cameras,
        pictures=tuple(sorted(pictures, key=lambda picture: picture.path)),
        lists={f"exp/{name}_id.txt": _one_line(pids) for name, pids in lists.items()},
        permutations=_permutations(seed, counts),
    )


def _permutations(seed: int, counts: NDArray[np.int64]) -> NDArray[np.object_]:
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


def plan_regdb(seed: int, identities: int, images: int) -> Plan:
    """RegDB: a colour and a thermal camera released together; half the identities train, ten times over."""
    cameras = {
        band: draw_camera(seed, 1, band=Band(band), place=1, indoor=False, headings=(0.0,))
        for band in ("visible", "thermal")
    }
    pictures: list[Picture] = []
    files: dict[str, dict[int, list[str]]] = {"visible": {}, "thermal": {}}
    for pid in range(1, identities + 1):
        identity = draw_identity(seed, pid)
        back = bool(generator(seed, "plan", pid).random() < 256 / 412)
        name = f"{'female' if identity.female else 'male'}_{'back' if back else 'front'}"
        for band, folder, letter in (("visible", "Visible", "v"), ("thermal", "Thermal", "t")):
            paths = [
                f"{folder}/{pid}/{name}_{letter}_{frame:05d}_{pid}.bmp" for frame in range(1, images + 1)
            ]
            files[band][pid] = paths
            pictures += [
                Picture(path, pid, band, (pid, 0, frame), spread=0.22, heading=np.pi if back else 0.0)
                for frame, path in enumerate(paths, 1)
            ]
    lists: dict[str, str] = {}
    for trial in range(1, TRIALS + 1):
        order = generator(seed, "split", trial).permutation(identities) + 1
        half = identities // 2
        for split, pids in (
            ("train", sorted(order[:half].tolist())),
            ("test", sorted(order[half:].tolist())),
        ):
            for band in files:
                rows = [f"{path} {label}\n" for label, pid in enumerate(pids) for path in files[band][pid]]
                lists[f"idx/{split}_{band}_{trial}.txt"] = "".join(rows)
    return Plan(cameras, tuple(sorted(pictures, key=lambda picture: picture.path)), lists)


def plan_llcm(seed: int, identities: int, images: int) -> Plan:
    """LLCM: nine cameras, colour by day and near infrared by night (not camera 3); two thirds train."""
    cameras = {
        f"{letter}{number}": draw_camera(seed, number, band=band, place=number, indoor=number in (1, 2, 3))
        for letter, band, numbers in (("vis", Band.VISIBLE, LLCM_CAMERAS), ("nir", Band.NIR, LLCM_NIR))
        for number in numbers
    }
    train, test = _shares(seed, identities, (0.67,))
    chance = dict.fromkeys(LLCM_CAMERAS, 0.45)
    rows: dict[tuple[str, str], list[str]] = {(s, m): [] for s in ("train", "test") for m in ("vis", "nir")}
    pictures: list[Picture] = []
    for split, pids in (("train", train), ("test", test)):
        for label, pid in enumerate(pids):
            rng = generator(seed, "plan", pid)
            for mode, numbers in (("vis", LLCM_CAMERAS), ("nir", LLCM_NIR)):
                for number in _present(rng, numbers, chance, 2):
                    start, clock = int(rng.integers(1, 9000)), int(rng.integers(90000, 220000))
                    folder = f"{mode}/{pid:04d}" if split == "train" else f"test_{mode}/cam{number}/{pid:04d}"
                    for shot in range(images):
                        name = f"{pid:04d}_c{number:02d}_s{clock:06d}_f{start + 7 * shot:05d}_{mode}.jpg"
                        moment = (pid, number, shot, int(mode == "nir"))
                        pictures.append(Picture(f"{folder}/{name}", pid, f"{mode}{number}", moment, vary=0.1))
                        rows[split, mode].append(f"{folder}/{name} {label if split == 'train' else pid}\n")
    lists = {f"idx/{split}_{mode}.txt": "".join(sorted(lines)) for (split, mode), lines in rows.items()}
    lists["idx/test_id.txt"] = _one_line(test)
    return Plan(cameras, tuple(sorted(pictures, key=lambda picture: picture.path)), lists)


LAYOUTS: dict[str, Layout] = {
    "sysu-mm01": Layout(plan_sysu, fewest=6),
    "regdb": Layout(plan_regdb, fewest=4, even=True),
    "llcm": Layout(plan_llcm, fewest=4),
}
"""Layouts by the name the readers use."""
