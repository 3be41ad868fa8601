"""The evaluator against the usual loop over queries: same input, same run, equal results.

    python benchmarks/evaluation.py [--quick] [--large]

The input has SYSU-MM01's test set's shape (96 identities, 3,803 infrared queries, 6,775 visible images) and
random content around identity centres. Two loops are timed. "lists" does for every query what public
evaluation code does: numpy, with Python lists where that code has them (the reduced list of identities, the
running precision). "numpy" is the same loop with every step inside the query vectorised. Best of three runs
each (one of "lists", which takes long); results are compared with the loop's under a stable sort, and the
command fails where they differ. (The timed loops sort as public code does, which is faster and leaves equal
distances in no particular order.)

`--large` adds a ranking of 20,000 x 100,000 with its time and peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivreid.metrics import figures, rank_queries
from ivreid.protocols import evaluate, make_protocol
from ivreid.types import Embeddings, ImageTable

TOP = 20
NAMES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


@dataclass(frozen=True)
class Row:
    what: str
    loop: str
    loop_seconds: float
    seconds: float
    target: float
    difference: float
    allowed: float

    @property
    def equal(self) -> bool:
        return self.difference <= self.allowed


def loop_over_queries(
    distances: np.ndarray,
    query_pids: np.ndarray,
    query_camids: np.ndarray,
    gallery_pids: np.ndarray,
    gallery_camids: np.ndarray,
    *,
    lists: bool,
    stable: bool = False,
) -> list[float]:
    """SYSU-MM01's figures as public code computes them: sort the matrix, then one query after the other."""
    order = np.argsort(distances, axis=1, kind="stable" if stable else None)
    ranked = gallery_pids[order]
    hits = ranked == query_pids[:, None]
    curves, precisions, penalties = [], [], []
    for q in range(len(query_pids)):
        allowed = ~((query_camids[q] == 3) & (gallery_camids[order[q]] == 2))
        hit, people = hits[q][allowed].astype(np.int32), ranked[q][allowed]
        if not hit.any():
            continue
        first = np.unique(people, return_index=True)[1]
        reduced = np.array([people[i] for i in sorted(first)]) if lists else people[np.sort(first)]
        curves.append((reduced == query_pids[q]).cumsum()[:TOP])
        so_far = hit.cumsum()
        if lists:
            running = np.array([n / (rank + 1.0) for rank, n in enumerate(so_far)])
        else:
            running = so_far / np.arange(1.0, len(hit) + 1)
        precisions.append((running * hit).sum() / hit.sum())
        last = np.flatnonzero(hit)[-1]
        penalties.append(so_far[last] / (last + 1.0))
    cmc = np.mean(curves, axis=0)
    return [*cmc[[0, 4, 9, 19]].tolist(), float(np.mean(precisions)), float(np.mean(penalties))]


def ours(
    distances: np.ndarray,
    query_pids: np.ndarray,
    query_camids: np.ndarray,
    gallery_pids: np.ndarray,
    gallery_camids: np.ndarray,
) -> list[float]:
    excluded = (query_camids == 3)[:, None] & (gallery_camids == 2)
    found = figures(rank_queries(distances, query_pids, gallery_pids, excluded), "identity")
    return [*found.cmc[[0, 4, 9, 19]].tolist(), found.mean_ap, found.mean_inp]


def best_of(repeats: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest run, and the first run's result."""
    seconds, first = [], None
    for number in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
        first = result if number == 0 else first
    return min(seconds), first


def sysu_like(dimensions: int) -> Embeddings:
    """SYSU-MM01's test set in numbers: who appears in which camera, and how often."""
    rng = np.random.default_rng(0)
    rows = []
    for camid, people, total in (
        (1, 56, 1260),
        (2, 56, 1260),
        (4, 94, 2115),
        (5, 95, 2140),
        (3, 93, 1883),
        (6, 96, 1920),
    ):
        pids = np.sort(rng.choice(96, people, replace=False)) + 1
        counts = np.full(people, total // people)
        counts[: total - counts.sum()] += 1
        rows += [
            (pid, camid, frame) for pid, n in zip(pids, counts, strict=True) for frame in range(1, n + 1)
        ]
    pids, camids, frames = np.array(rows).T
    centres = rng.standard_normal((97, dimensions), dtype=np.float32)
    vectors = centres[pids] + 4 * rng.standard_normal((len(pids), dimensions), dtype=np.float32)
    return Embeddings(vectors, ImageTable(pids, camids, frames, np.isin(camids, (3, 6))))


def compare(
    what: str,
    target: float,
    repeats: int,
    loop: Callable[..., Any],
    mine: Callable[[], Any],
    allowed: float = 1e-9,
) -> list[Row]:
    """Time `mine` against both forms of the loop, and measure how far the results are apart."""
    seconds, result = best_of(max(3, repeats), mine)
    difference = float(np.abs(np.subtract(result, loop(lists=False, stable=True))).max())
    rows = []
    for form, runs in (("lists", 1), ("numpy", repeats)):
        loop_seconds, _ = best_of(runs, lambda form=form: loop(lists=form == "lists"))
        rows.append(Row(what, form, loop_seconds, seconds, target, difference, allowed))
    return rows


def from_distances(embeddings: Embeddings, repeats: int) -> list[Row]:
    """Ten trials, each with its matrix of distances given."""
    images, vectors = embeddings.images, embeddings.vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    inputs = [
        (
            1 - unit[t.query] @ unit[t.gallery].T,
            images.pids[t.query],
            images.camids[t.query],
            images.pids[t.gallery],
            images.camids[t.gallery],
        )
        for t in make_protocol("sysu-mm01").trials(images)
    ]
    return compare(
        "SYSU-MM01 all-search, ten trials, from distances",
        100,
        repeats,
        lambda **form: [loop_over_queries(*one, **form) for one in inputs],
        lambda: [ours(*one) for one in inputs],
    )


def from_features(embeddings: Embeddings, repeats: int) -> list[Row]:
    """Ten trials from embeddings to the final table, in either precision."""
    images, protocol = embeddings.images, make_protocol("sysu-mm01")
    rows = []
    for precision, dtype in (("single", np.float32), ("double", np.float64)):

        def loop(dtype: Any = dtype, **form: bool) -> list[list[float]]:
            result = []
            for t in protocol.trials(images):
                query, gallery = (embeddings.vectors[r].astype(dtype) for r in (t.query, t.gallery))
                query /= np.linalg.norm(query, axis=1, keepdims=True)
                gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
                ids = [column[r] for r in (t.query, t.gallery) for column in (images.pids, images.camids)]
                result.append(loop_over_queries(-(query @ gallery.T), *ids, **form))
            return result

        def mine(precision: Any = precision) -> list[list[float]]:
            result = evaluate(embeddings, protocol, precision=precision)
            return [[getattr(trial, name) for name in NAMES] for trial in result.trials]

        width = f"{embeddings.vectors.shape[1]:,}-d"
        what = f"SYSU-MM01 all-search, ten trials, from {width} features, {precision} precision"
        allowed = 1e-4 if precision == "single" else 1e-9
        rows += compare(what, 20, repeats, loop, mine, allowed)
    return rows


def one_ranking(gallery: int, identities: int, repeats: int) -> list[Row]:
    rng = np.random.default_rng(1)
    pids = np.sort(rng.integers(0, identities, gallery))
    query_pids, query_camids = rng.integers(0, identities, 3803), np.where(np.arange(3803) < 1883, 3, 6)
    distances = rng.random((3803, gallery), dtype=np.float32) - 0.1 * (query_pids[:, None] == pids)
    arguments = (distances.astype(np.float32), query_pids, query_camids, pids, rng.integers(1, 3, gallery))
    return compare(
        f"one ranking, 3,803 x {gallery:,}, {identities:,} identities",
        50,
        repeats,
        lambda **form: loop_over_queries(*arguments, **form),
        lambda: ours(*arguments),
    )


def large(queries: int, gallery: int, dimensions: int) -> None:
    """Rank 20,000 x 100,000 with time left on the way, then say what it took."""
    rng = np.random.default_rng(2)
    total = queries + gallery
    infrared = np.arange(total) < queries
    pids = rng.integers(0, 5000, total)
    images = ImageTable(pids, np.zeros(total), np.arange(1, total + 1), infrared)
    vectors = rng.standard_normal((total, dimensions), dtype=np.float32)
    embeddings = Embeddings(vectors, images)
    del vectors
    start = time.perf_counter()

    def tick(done: int, of: int) -> None:
        passed = time.perf_counter() - start
        print(
            f"\r{done:,} of {of:,} queries, {passed * (of - done) / done:.0f} s left ",
            end="",
            file=sys.stderr,
        )

    evaluate(embeddings, make_protocol("cross-modality"), progress=tick)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / (1 << 30)
    print(file=sys.stderr)
    print(
        f"\nOne ranking of {queries:,} x {gallery:,}, {dimensions}-d, double precision: "
        f"{seconds:.1f} s, peak memory {peak:.2f} GiB"
    )
    if peak >= 2:
        sys.exit("peak memory is over 2 GiB")


def show(rows: list[Row]) -> None:
    print("| ranking | loop | loop, s | ivreid, s | ratio | target | largest difference |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for row in rows:
        ratio = row.loop_seconds / row.seconds
        print(
            f"| {row.what} | {row.loop} | {row.loop_seconds:.3f} | {row.seconds:.4f} | "
            f"{ratio:.0f}x | {row.target:.0f}x | {row.difference:.0e}{'' if row.equal else ' DIFFERS'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one run each, smaller rankings")
    parser.add_argument("--large", action="store_true", help="only the 20,000 x 100,000 ranking")
    arguments = parser.parse_args()
    if arguments.large:
        large(20_000, 100_000, 512)
        return
    repeats = 1 if arguments.quick else 3
    print(f"{os.cpu_count()} cores, numpy {np.__version__}\n")
    embeddings = sysu_like(256 if arguments.quick else 2048)
    rows = from_distances(embeddings, repeats)
    rows += one_ranking(2_000, 200, repeats) if arguments.quick else one_ranking(20_000, 1_000, repeats)
    rows += from_features(embeddings, repeats)
    show(rows)
    if not all(row.equal for row in rows):
        sys.exit("results differ")


if __name__ == "__main__":
    main()
