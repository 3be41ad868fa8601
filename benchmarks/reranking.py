"""k-reciprocal re-ranking: time and peak memory, sparse and dense.

    python benchmarks/reranking.py [--queries 20000] [--gallery 20000] [--dimensions 512] [--dense 1500]

The input is seeded noise around identity centres, about ten images an identity. Each size runs in a process
of its own, so that its peak resident memory is its own; the dense form is plain numpy, as public code writes
it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time

import numpy as np

from ivreid.retrieval import KReciprocal


def features(queries: int, gallery: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    total = queries + gallery
    centres = rng.standard_normal((max(2, total // 10), dimensions), dtype=np.float32)
    points = centres[rng.integers(0, len(centres), total)]
    points += 1.5 * rng.standard_normal(points.shape, dtype=np.float32)
    return points[:queries], points[queries:]


def sparse(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    return KReciprocal()(query, gallery)


def dense(
    query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> np.ndarray:
    points = np.concatenate([query, gallery]).astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    d = np.maximum(2 - 2 * points @ points.T, 0)
    np.fill_diagonal(d, -1)
    lists = np.argsort(d, axis=1, kind="stable")
    np.fill_diagonal(d, 0)
    d /= d.max(axis=1, keepdims=True)
    v = np.zeros_like(d)

    def reciprocal(i: int, k: int) -> np.ndarray:
        near = lists[i, : k + 1]
        return near[(lists[near, : k + 1] == i).any(axis=1)]

    for i in range(len(points)):
        base = reciprocal(i, k1)
        full = base
        for j in base:
            extra = reciprocal(j, round(k1 / 2))
            if 3 * len(np.intersect1d(base, extra)) >= 2 * len(extra):
                full = np.union1d(full, extra)
        v[i, full] = np.exp(-d[i, full])
        v[i] /= v[i].sum()
    v = np.stack([v[row[:k2]].mean(axis=0) for row in lists])
    q = len(query)
    jaccard = np.empty((q, len(gallery)))
    for i in range(q):
        shared = np.minimum(v[i], v[q:]).sum(axis=1)
        jaccard[i] = 1 - shared / (2 - shared)
    return (1 - weight) * jaccard + weight * d[:q, q:]


def peak_mib() -> float:
    """Peak resident memory of this process (kibibytes on Linux, bytes on macOS)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(form: str, sizes: tuple[int, int, int], pipe) -> None:
    query, gallery = features(*sizes)
    before, start = peak_mib(), time.perf_counter()
    distances = {"sparse": sparse, "dense": dense}[form](query, gallery)
    pipe.send((time.perf_counter() - start, before, peak_mib(), distances[:200, :200].copy()))


def isolated(form: str, sizes: tuple[int, int, int]) -> np.ndarray:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(form, sizes, sender))
    process.start()
    seconds, before, peak, corner = receiver.recv()
    process.join()
    name = f"{form} {sizes[0]:,} x {sizes[1]:,} x {sizes[2]}"
    print(f"{name:<32} {seconds:8.1f} s   peak {peak:8,.0f} MiB (input alone {before:,.0f} MiB)", flush=True)
    return corner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--gallery", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument(
        "--dense", type=int, default=1_500, help="queries and gallery of the dense comparison"
    )
    options = parser.parse_args()
    small = (options.dense, options.dense, options.dimensions)
    gap = np.abs(isolated("sparse", small) - isolated("dense", small)).max()
    print(f"largest difference between the two: {gap:.1e}")
    if gap > 1e-5:
        sys.exit("the two forms differ")
    isolated("sparse", (options.queries, options.gallery, options.dimensions))


if __name__ == "__main__":
    main()
