"""Which rows may be nearest: single-precision products over runs of rows. What is near is decided elsewhere.

faiss reads float16 as it lies in memory; without it, or for several queries at once, blocks of rows become float32
and are multiplied by torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.gallery.local.blocks import Run
from ivreid.gallery.vectors import HalfArray

Part = tuple[HalfArray, Run]
"""A matrix and rows of it."""
BLOCK = 2048
"""Rows that become float32 at a time: few enough to stay near a core, many enough that calls cost little."""
HEAP = 4096
"""faiss keeps the best in a heap, which is slow for more."""


def candidates(
    parts: Sequence[Part], queries: NDArray[np.float32], wanted: int
) -> list[tuple[NDArray[np.int64], float]]:
    """For each query the rows with the largest products, counted through all parts, and what the others stay below.

    Args:
        parts: Runs of rows; the first part's first row is number 0.
        queries: (Q, D).
        wanted: How many rows.

    Returns:
        For each query: at most `wanted` row numbers, and the largest product a row not among them may have; -inf
        where all are.
    """
    total = sum(stop - start for _, (start, stop) in parts)
    if total <= wanted:
        return [(np.arange(total), -np.inf)] * len(queries)
    faiss = _faiss()
    if faiss is not None and len(queries) < 4 and wanted <= HEAP:
        return [_by_faiss(faiss, parts, query, wanted) for query in queries]
    return _by_torch(parts, queries, wanted)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def _by_faiss(
    faiss: Any, parts: Sequence[Part], query: NDArray[np.float32], wanted: int
) -> tuple[NDArray[np.int64], float]:
    quantizer = faiss.ScalarQuantizer(len(query), faiss.ScalarQuantizer.QT_fp16)
    coarse = faiss.IndexFlatIP(len(query))
    scanner = quantizer.select_InvertedListScanner(faiss.METRIC_INNER_PRODUCT, coarse, True, None, False)
    scanner.set_query(faiss.swig_ptr(query))
    best = np.full(wanted, -np.inf, dtype=np.float32)
    labels = np.full(wanted, -1, dtype=np.int64)
    starts, total = [], 0
    for number, (matrix, (start, stop)) in enumerate(parts):
        codes = matrix[start:stop].reshape(-1).view(np.uint8)
        scanner.set_list(number, 0.0)
        scanner.scan_codes(
            stop - start, _pointer(faiss, codes), None, faiss.swig_ptr(best), faiss.swig_ptr(labels), wanted
        )
        starts.append(total)
        total += stop - start
    rows = np.array(starts, dtype=np.int64)[labels >> 32] + (labels & 0xFFFFFFFF)
    return rows, float(best.min())


def _pointer(faiss: Any, codes: NDArray[np.uint8]) -> Any:
    """The address of bytes that are only read; faiss's own way asks for writable ones."""
    return faiss.swigfaiss.cast_integer_to_uint8_ptr(codes.ctypes.data)


def _by_torch(
    parts: Sequence[Part], queries: NDArray[np.float32], wanted: int
) -> list[tuple[NDArray[np.int64], float]]:
    import torch

    columns = torch.from_numpy(np.ascontiguousarray(queries.T))
    buffer = torch.empty((BLOCK, queries.shape[1]))
    best = _Best(len(queries), wanted)
    done = 0
    with torch.inference_mode():
        for matrix, (start, stop) in parts:
            for at in range(start, stop, BLOCK):
                piece = matrix[at : min(at + BLOCK, stop)]
                rows = buffer[: len(piece)]
                rows.copy_(torch.from_numpy(piece))
                best.take((rows @ columns).numpy(), done)
                done += len(piece)
    return best.result()


class _Best:
    """The largest products of each query so far. Of a block only what beats them is looked at, which is little."""

    def __init__(self, queries: int, wanted: int) -> None:
        self._wanted, self._limit = wanted, 8 * queries * wanted
        self._floors = np.full(queries, -np.inf, dtype=np.float32)
        self._query = np.empty(0, dtype=np.int64)
        self._row = np.empty(0, dtype=np.int64)
        self._product = np.empty(0, dtype=np.float32)

    def take(self, products: NDArray[np.float32], first: int) -> None:
        """Look at the (rows, queries) products of a block whose first row has this number."""
        if len(products) > self._wanted and self._floors.max() == -np.inf:
            last = np.partition(products, -self._wanted, axis=0)[-self._wanted]
            self._floors = np.nextafter(last, np.float32(-np.inf))
        rows, queries = np.nonzero(products > self._floors)
        if not len(rows):
            return
        self._query = np.concatenate([self._query, queries])
        self._row = np.concatenate([self._row, rows + first])
        self._product = np.concatenate([self._product, products[rows, queries]])
        if len(self._row) > self._limit:
            self._keep_best()

    def _keep_best(self) -> None:
        order = np.lexsort((-self._product, self._query))
        query = self._query[order]
        place = np.arange(len(query)) - np.searchsorted(query, query)  # within its query
        order = order[place < self._wanted]
        self._query, self._row, self._product = self._query[order], self._row[order], self._product[order]
        full = np.flatnonzero(np.bincount(self._query, minlength=len(self._floors)) == self._wanted)
        lasts = np.searchsorted(self._query, full, side="right") - 1
        self._floors[full] = self._product[lasts]

    def result(self) -> list[tuple[NDArray[np.int64], float]]:
        """For each query its rows, and what the others do not exceed."""
        self._keep_best()
        ends = np.searchsorted(self._query, np.arange(len(self._floors) + 1))
        return [
            (self._row[a:b], float(floor))
            for a, b, floor in zip(ends[:-1], ends[1:], self._floors, strict=True)
        ]
