"""What a dataset of each layout holds: who is seen by which camera in which file, and the lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ivreid.synthetic.appearance import draw_identity
from ivreid.synthetic.camera import draw_camera
from ivreid.synthetic.dataset_plan import (
    TRIALS,
    DatasetPlan,
    PlannedPicture,
    cameras_passed,
    draw_permutations,
    one_line,
    split_identities,
)
from ivreid.synthetic.streams import generator
from ivreid.synthetic.surface import Band

SYSU_ROOMS = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}
"""Place each SYSU-MM01 camera watches; cameras 2 and 3 stand in the same room."""
SYSU_INFRARED, SYSU_INDOOR = (3, 6), (1, 2, 3)
SYSU_PRESENCE = {1: 0.75, 2: 0.75, 3: 0.92, 4: 0.92, 5: 0.92, 6: 0.95}
LLCM_CAMERAS, LLCM_NIR = tuple(range(1, 10)), (1, 2, 4, 5, 6, 7, 8, 9)


@dataclass(frozen=True, slots=True)
class Layout:
    """A dataset layout the generator can write.

    Attributes:
        plan: (seed, identities, images) -> DatasetPlan.
        fewest: Identities below which a split would be empty.
        even: Whether the number of identities must be even.
    """

    plan: Callable[[int, int, int], DatasetPlan]
    fewest: int
    even: bool = False


def plan_sysu(seed: int, identities: int, images: int) -> DatasetPlan:
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
    pictures: list[PlannedPicture] = []
    counts = np.zeros((len(SYSU_ROOMS), identities), dtype=np.int64)
    for pid in range(1, identities + 1):
        rng = generator(seed, "plan", pid)
        for number in sorted(
            cameras_passed(rng, visible, SYSU_PRESENCE, 2)
            + cameras_passed(rng, SYSU_INFRARED, SYSU_PRESENCE, 1)
        ):
            counts[number - 1, pid - 1] = images
            pictures += [
                PlannedPicture(
                    f"cam{number}/{pid:04d}/{frame:04d}.jpg",
                    pid,
                    str(number),
                    (pid, number, frame),
                    vary=0.15,
                )
                for frame in range(1, images + 1)
            ]
    test, val, train = split_identities(seed, identities, (0.2, 0.2))
    lists = {"train": train, "val": val, "test": test, "available": sorted(train + val + test)}
    return DatasetPlan(
        cameras=cameras,
        pictures=tuple(sorted(pictures, key=lambda picture: picture.path)),
        lists={f"exp/{name}_id.txt": one_line(pids) for name, pids in lists.items()},
        permutations=draw_permutations(seed, counts),
    )


def plan_regdb(seed: int, identities: int, images: int) -> DatasetPlan:
    """RegDB: a colour and a thermal camera released together; half the identities train, ten times over."""
    cameras = {
        band: draw_camera(seed, 1, band=Band(band), place=1, indoor=False, headings=(0.0,))
        for band in ("visible", "thermal")
    }
    pictures: list[PlannedPicture] = []
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
                PlannedPicture(path, pid, band, (pid, 0, frame), spread=0.22, heading=np.pi if back else 0.0)
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
    return DatasetPlan(cameras, tuple(sorted(pictures, key=lambda picture: picture.path)), lists)


def plan_llcm(seed: int, identities: int, images: int) -> DatasetPlan:
    """LLCM: nine cameras, colour by day and near infrared by night (not camera 3); two thirds train."""
    cameras = {
        f"{letter}{number}": draw_camera(seed, number, band=band, place=number, indoor=number in (1, 2, 3))
        for letter, band, numbers in (("vis", Band.VISIBLE, LLCM_CAMERAS), ("nir", Band.NIR, LLCM_NIR))
        for number in numbers
    }
    train, test = split_identities(seed, identities, (0.67,))
    chance = dict.fromkeys(LLCM_CAMERAS, 0.45)
    rows: dict[tuple[str, str], list[str]] = {(s, m): [] for s in ("train", "test") for m in ("vis", "nir")}
    pictures: list[PlannedPicture] = []
    for split, pids in (("train", train), ("test", test)):
        for label, pid in enumerate(pids):
            rng = generator(seed, "plan", pid)
            for mode, numbers in (("vis", LLCM_CAMERAS), ("nir", LLCM_NIR)):
                for number in cameras_passed(rng, numbers, chance, 2):
                    start, clock = int(rng.integers(1, 9000)), int(rng.integers(90000, 220000))
                    folder = f"{mode}/{pid:04d}" if split == "train" else f"test_{mode}/cam{number}/{pid:04d}"
                    for shot in range(images):
                        name = f"{pid:04d}_c{number:02d}_s{clock:06d}_f{start + 7 * shot:05d}_{mode}.jpg"
                        moment = (pid, number, shot, int(mode == "nir"))
                        pictures.append(
                            PlannedPicture(f"{folder}/{name}", pid, f"{mode}{number}", moment, vary=0.1)
                        )
                        rows[split, mode].append(f"{folder}/{name} {label if split == 'train' else pid}\n")
    lists = {f"idx/{split}_{mode}.txt": "".join(sorted(lines)) for (split, mode), lines in rows.items()}
    lists["idx/test_id.txt"] = one_line(test)
    return DatasetPlan(cameras, tuple(sorted(pictures, key=lambda picture: picture.path)), lists)


LAYOUTS: dict[str, Layout] = {
    "sysu-mm01": Layout(plan_sysu, fewest=6),
    "regdb": Layout(plan_regdb, fewest=4, even=True),
    "llcm": Layout(plan_llcm, fewest=4),
}
"""Layouts by the name the readers use."""
