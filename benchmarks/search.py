"""Search in a gallery against the plain reading of the same bytes, in one run.

python benchmarks/search.py [--crops 1000000] [--dimension 512] [--queries 20] [--against pgvector,lancedb]

A million crops of 512 values take about 3 GB on disk and two minutes, each other system half a minute more. What is
compared: CPU seconds of one thread for one query over all crops, and over one camera and 30% of the time, with numpy's sum over the bytes of exactly those
vectors; a batch of 64 with 64 single queries; opening; durable adding in batches of 1,000. `--against` puts the same
vectors into other systems, without an approximate index, and compares the CPU seconds of all processes taking part.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from search_elsewhere import ELSEWHERE, Cpu, missing

from ivreid.gallery import Binding, Crop, Where
from ivreid.gallery.local import LocalStore, kernels
from ivreid.gallery.vectors import distances, stored
from ivreid.types import Modality

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, CAMERAS = 30, 10
BATCH = 1000
PEOPLE_ROWS = 50


def vectors_of(rows: range, dimension: int) -> np.ndarray:
    """People of 50 crops each: a centre and noise, as embeddings lie."""
    out = np.empty((len(rows), dimension), dtype=np.float32)
    for place, row in enumerate(rows):
        if place == 0 or row % PEOPLE_ROWS == 0:
            centre = np.random.default_rng(row // PEOPLE_ROWS).standard_normal(dimension, dtype=np.float32)
        out[place] = centre
    noise = np.random.default_rng(10**9 + rows[0]).standard_normal(out.shape, dtype=np.float32)
    return out + 0.8 * noise


def crop_of(row: int, total: int) -> Crop:
    return Crop(
        pixels=f"{row:032x}",
        camera=f"cam{row * 7919 % CAMERAS}",
        time=START + timedelta(days=DAYS) * row / total,
        modality=Modality.VISIBLE,
    )


def fill(store: LocalStore, total: int, dimension: int) -> float:
    """Add all crops; crops a second of the store's own work."""
    spent = 0.0
    for at in range(0, total, BATCH):
        rows = range(at, min(at + BATCH, total))
        crops, vectors = [crop_of(row, total) for row in rows], vectors_of(rows, dimension)
        began = time.perf_counter()
        store.add(crops, vectors)
        spent += time.perf_counter() - began
    return total / spent


def best(work: Callable[[], object], repeats: int, cpu: Cpu = time.process_time) -> float:
    """The least CPU seconds of some repeats."""
    found = []
    for _ in range(repeats):
        began = cpu()
        work()
        found.append(cpu() - began)
    return min(found)


def read(store: LocalStore, where: Where) -> tuple[Callable[[], object], int]:
    """The plain reading of the vectors that pass, and their bytes."""
    view = store._views.newest()
    pieces = [
        block.matrix[a:b].view(np.uint64) for block in view.blocks for a, b in block.runs(where) if a < b
    ]
    return lambda: [piece.sum() for piece in pieces], sum(piece.nbytes for piece in pieces)


def plain_product(rows: int, dimension: int) -> Callable[[], object]:
    """64 queries times so many rows, in blocks that fit the cache of a core: the least a batch can take."""
    import torch

    block, queries = torch.randn(2048, dimension), torch.randn(dimension, 64)
    return lambda: [block @ queries for _ in range(rows // len(block))]


def check(store: LocalStore, query: np.ndarray, where: Where, k: int) -> None:
    """The answer equals that of every distance computed."""
    everything = []
    for crops, rows, _ in store.iterate(where, batch=20_000):
        gaps = distances(stored(query)[0], rows)
        everything += [(gap, crop.id) for gap, crop in zip(gaps.tolist(), crops, strict=True)]
    found = [(hit.distance, hit.crop.id) for hit in store.search(query, where, k).hits[0]]
    if found != sorted(everything)[:k]:
        sys.exit("the answer differs from that of every distance computed")


def measure(store: LocalStore, options: argparse.Namespace) -> None:
    dimension, k = options.dimension, 20
    rng = np.random.default_rng(5)
    queries = vectors_of(range(0, 64 * PEOPLE_ROWS, PEOPLE_ROWS), dimension) + rng.standard_normal(
        (64, dimension)
    )
    narrow = Where(
        cameras=frozenset(["cam3"]),
        start=START + timedelta(days=9.5),
        stop=START + timedelta(days=9.5 + 0.3 * DAYS),
    )
    for name, where in (("all crops", Where()), ("one camera, 30% of the time", narrow)):
        plain, size = read(store, where)
        plain()
        ours = best(lambda w=where: store.search(queries[0], w, k), options.queries)
        floor = best(plain, options.queries)
        print(
            f"{name}: {1e3 * ours:.2f} CPU ms, plain reading of {size / 1e6:,.1f} MB {1e3 * floor:.2f} ms: {ours / floor:.2f} times"
        )
        check(store, queries[0], where, k)
    single = best(lambda: store.search(queries[0], Where(), k), 3)
    batch = best(lambda: store.search(queries, Where(), k), 2)
    product = best(plain_product(options.crops, dimension), 2)
    print(
        f"a batch of 64: {64 / batch:.1f} queries a CPU second, single {1 / single:.1f}: {64 * single / batch:.1f} times; "
        f"{batch / product:.2f} times the plain product of those matrices in single precision"
    )


def compare(name: str, store: LocalStore, options: argparse.Namespace, folder: Path) -> None:
    """One query over all crops: CPU seconds elsewhere and here."""
    total, dimension, k = options.crops, options.dimension, 20
    query = stored(vectors_of(range(0, PEOPLE_ROWS, PEOPLE_ROWS), dimension))[0]
    batches = (
        (at, stored(vectors_of(range(at, min(at + BATCH, total)), dimension)))
        for at in range(0, total, BATCH)
    )
    repeats = max(3, options.queries // 4)
    with ELSEWHERE[name](batches, dimension, folder) as (search, cpu):
        found = search(query, k)
        theirs = best(lambda: search(query, k), repeats, cpu)
    hits = store.search(query, Where(), k).hits[0]
    ours = best(lambda: store.search(query, Where(), k), options.queries)
    same = len({int(hit.crop.pixels, 16) for hit in hits} & set(found))
    print(
        f"{name}, exact: {1e3 * theirs:.1f} CPU ms against {1e3 * ours:.1f}: {theirs / ours:.1f} times; "
        f"{same} of {k} crops the same"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=20, help="repeats, of which the fastest counts")
    parser.add_argument("--folder", type=Path, help="where the gallery is made; a temporary folder otherwise")
    parser.add_argument("--torch", action="store_true", help="without faiss, even where it is installed")
    parser.add_argument("--against", default="", help=f"of {', '.join(ELSEWHERE)}, with commas between")
    options = parser.parse_args()
    others = [name for name in options.against.split(",") if name]
    if unknown := set(others) - set(ELSEWHERE):
        parser.error(f"--against knows {', '.join(ELSEWHERE)}, not {', '.join(sorted(unknown))}")
    for lack in filter(None, map(missing, others)):  # before minutes of work, not after
        parser.error(lack)
    if options.torch:
        kernels._faiss = lambda: None
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        weights = Path(folder) / "w.safetensors"
        weights.write_bytes(b"")
        store = LocalStore.create(
            Path(folder) / "gallery", Binding("benchmark", options.dimension, "random"), weights
        )
        print(
            f"{options.crops:,} crops of {options.dimension} values, {'torch' if kernels._faiss() is None else 'faiss'}"
        )
        rate = fill(store, options.crops, options.dimension)
        print(f"durable adding in batches of {BATCH:,}: {rate:,.0f} crops a second")
        store.compact()
        store.close()
        began = time.perf_counter()
        store = LocalStore(Path(folder) / "gallery")
        store._views.newest()
        print(f"opening: {time.perf_counter() - began:.3f} s")
        measure(store, options)
        for name in others:
            compare(name, store, options, Path(folder))
        store.close()


if __name__ == "__main__":
    main()
