"""Tiny datasets in every layout, made of one-pixel images."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ivreid.datasets import DATASETS


def pixel(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (1, 1), (90, 60, 30)).save(out, kind)
    return out.getvalue()


JPEG, PNG, BMP = pixel("JPEG"), pixel("PNG"), pixel("BMP")


def empty_png(width: int, height: int) -> bytes:
    """A PNG whose structure is whole, but which holds 100 bytes instead of its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def put(path: Path, data: bytes = JPEG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def make_example(name: str, root: Path) -> Path:
    """A dataset as its own reader writes it; what a user would give."""
    return DATASETS[name]().example(root)


def ids(pids: Sequence[int]) -> str:
    return ",".join(map(str, pids)) + "\n"


def make_sysu(root: Path, train=(1, 2), val=(3,), test=(4, 5), images: int = 2) -> Path:
    for camid in range(1, 7):
        for pid in (*train, *val, *test):
            for n in range(1, images + 1):
                put(root / f"cam{camid}" / f"{pid:04d}" / f"{n:04d}.jpg")
    lists = {"train": train, "val": val, "test": test, "available": (*train, *val, *test)}
    (root / "exp").mkdir()
    for name, pids in lists.items():
        (root / "exp" / f"{name}_id.txt").write_text(ids(pids))
    return root


def permutations(counts: dict[tuple[int, int], int], identities: int, seed: int = 0) -> np.ndarray:
    """A 6x1 cell of Nx1 cells of 10 x n permutations, as MATLAB would hold them."""
    rng = np.random.default_rng(seed)
    outer = np.empty((6, 1), dtype=object)
    for c in range(6):
        inner = np.empty((identities, 1), dtype=object)
        for i in range(identities):
            n = counts.get((c + 1, i + 1), 0)
            rows = [rng.permutation(n) + 1 for _ in range(10)]
            inner[i, 0] = np.array(rows, dtype=np.uint8).reshape(10, n)
        outer[c, 0] = inner
    return outer


def regdb_name(pid: int, frame: int, letter: str) -> str:
    return f"male_front_{letter}_{frame:05d}_{pid}.bmp"


def make_regdb(root: Path, pids: Sequence[int] = (1, 2, 9, 10), images: int = 2) -> Path:
    """Trial t trains on the pids rotated by t; the first half trains, the second tests."""
    for word, letter in (("Visible", "v"), ("Thermal", "t")):
        for pid in pids:
            for n in range(images):
                put(root / word / str(pid) / regdb_name(pid, 10 * n + 5, letter), BMP)
    (root / "idx").mkdir()
    for trial in range(1, 11):
        turned = [*pids[trial % len(pids) :], *pids[: trial % len(pids)]]
        half = len(turned) // 2
        for split, chosen in (("train", sorted(turned[:half])), ("test", sorted(turned[half:]))):
            for word, letter in (("Visible", "v"), ("Thermal", "t")):
                lines = [
                    f"{word}/{pid}/{regdb_name(pid, 10 * n + 5, letter)} {label}"
                    for label, pid in enumerate(chosen)
                    for n in range(images)
                ]
                (root / "idx" / f"{split}_{word.lower()}_{trial}.txt").write_text("\n".join(lines) + "\n")
    return root


def make_llcm(root: Path, train: Sequence[int] = (3, 7), test: Sequence[int] = (4, 9)) -> Path:
    (root / "idx").mkdir(parents=True)
    for word, cameras in (("vis", range(1, 10)), ("nir", (1, 2, 4, 5, 6, 7, 8, 9))):
        lines = []
        for label, pid in enumerate(train):
            for camid in (1, 2):
                for frame in (8, 12):
                    name = f"{word}/{pid:04d}/{pid:04d}_c{camid:02d}_s100_f{frame}_{word}.jpg"
                    put(root / name)
                    lines.append(f"{name} {label}")
        (root / "idx" / f"train_{word}.txt").write_text("\n".join(lines) + "\n")
        lines = []
        for camid in cameras:
            for pid in test:
                name = f"test_{word}/cam{camid}/{pid:04d}/{pid:04d}_c{camid:02d}_s1_f1_{word}.jpg"
                put(root / name)
                lines.append(f"{name} {pid}")
        (root / "idx" / f"test_{word}.txt").write_text("\n".join(lines) + "\n")
    (root / "idx" / "test_id.txt").write_text(ids(test))
    return root


def make_folder(root: Path, pids: Sequence[int] = (1, 2, 10)) -> Path:
    for modality, suffix, data in (("visible", "png", PNG), ("infrared", "JPG", JPEG)):
        for pid in pids:
            for name in ("b", "a"):
                put(root / modality / str(pid) / f"{name}.{suffix}", data)
    return root


def make_csv(root: Path, header: str = "path,pid,modality,camid,split") -> Path:
    lines = [header]
    for pid, split in ((1, "train"), (2, "train"), (3, "test")):
        for modality, camid in (("visible", 1), ("infrared", 2)):
            for name in ("x", "y"):
                path = put(root / "pictures" / f"{pid}{modality[0]}{name}.png", PNG)
                cells = {
                    "path": path.relative_to(root).as_posix(),
                    "pid": pid,
                    "modality": modality,
                    "camid": camid,
                    "split": split,
                }
                lines.append(",".join(str(cells[column]) for column in header.split(",")))
    table = root / "people.csv"
    table.write_text("\n".join(lines) + "\n")
    return table
