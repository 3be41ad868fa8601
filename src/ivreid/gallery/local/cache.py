"""The mapped matrix on disk: rebuilt from the catalogue whenever it does not fit, never the truth.

A file holds a head (magic, checksum, length, JSON), then the rows' numbers, their times and the matrix. What a
search reports is decided by the catalogue's own vectors; a damaged matrix could only hide a row, and `verify`
compares it byte by byte.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.gallery.local.blocks import Block, Place, Run
from ivreid.gallery.vectors import HalfArray
from ivreid.types import IntArray

FOLDER, FILE = "cache", "scan"
MAGIC = b"ivrscan1"
_HEAD = struct.Struct("<8sIQ")
_ALIGN = 4096
_NONE = np.empty(0, dtype=np.int64)

log = logging.getLogger(__name__)

Fill = Callable[[HalfArray], None]
"""Writes every vector into its row."""


@dataclass(frozen=True)
class Stamp:
    """The state of a catalogue that a cache is of.

    Attributes:
        generation: Grows by one with every change.
        token: Random, drawn with the generation.
        removed: Rows that were ever removed.
        last: The largest number of a row.
    """

    generation: int
    token: str
    removed: int
    last: int


class Cache:
    """The file of one gallery.

    Args:
        root: The gallery's folder.
        dimension: Of its vectors.
    """

    def __init__(self, root: Path, dimension: int) -> None:
        self.folder = root / FOLDER
        self.path = self.folder / FILE
        self._dimension = dimension

    def load(self) -> tuple[Stamp, Block] | None:
        """The block on disk and the state it is of; None without a usable one."""
        try:
            return self._load()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            log.warning("%s is damaged (%s) and is built anew from the catalogue", self.path, error)
            return None

    def _load(self) -> tuple[Stamp, Block]:
        with self.path.open("rb") as file:
            magic, digest, length = _HEAD.unpack(file.read(_HEAD.size))
            if magic != MAGIC or length > os.fstat(file.fileno()).st_size:
                raise ValueError("it has another head")
            text = file.read(length)
            start = _aligned(_HEAD.size + length)
            file.seek(start)
            head = json.loads(text)
            rows = int(head["rows"])
            size = start + _aligned(16 * rows) + 2 * rows * self._dimension
            if head["dimension"] != self._dimension or os.fstat(file.fileno()).st_size != size:
                raise ValueError(f"{os.fstat(file.fileno()).st_size:,} bytes where {size:,} should be")
            columns = file.read(16 * rows)
        if zlib.crc32(columns, zlib.crc32(text)) != digest:
            raise ValueError("its checksum differs")
        seq, time = np.frombuffer(columns, dtype=np.int64).reshape(2, rows)
        places = {(day, camera, kind): (a, b) for day, camera, kind, a, b in head["places"]}
        stamp = Stamp(head["generation"], head["token"], head["removed"], head["last"])
        shape = (rows, self._dimension)
        # private to this process: nothing ever writes to it, and torch takes no read-only arrays
        matrix: HalfArray = (
            np.memmap(self.path, np.float16, "c", start + _aligned(16 * rows), shape)
            if rows
            else np.empty(shape, dtype=np.float16)
        )
        return stamp, Block(matrix, seq, time, places, _NONE)

    def build(
        self, stamp: Stamp, seq: IntArray, time: IntArray, places: Mapping[Place, Run], fill: Fill
    ) -> Block:
        """A block of these rows, written to disk and mapped; in memory where the disk takes none."""
        try:
            self._write(stamp, seq, time, places, fill)
            loaded = self._load()
            if loaded[0] == stamp:
                return loaded[1]
        except (OSError, ValueError) as error:
            log.warning(
                "%s cannot be written (%s): searches work, but must read the catalogue first",
                self.path,
                error,
            )
        matrix = np.empty((len(seq), self._dimension), dtype=np.float16)
        fill(matrix)
        return Block(matrix, seq, time, places, _NONE)

    def _write(
        self, stamp: Stamp, seq: IntArray, time: IntArray, places: Mapping[Place, Run], fill: Fill
    ) -> None:
        head = {
            **stamp.__dict__,
            "rows": len(seq),
            "dimension": self._dimension,
            "places": [[*place, *run] for place, run in places.items()],
        }
        text = json.dumps(head).encode()
        columns = seq.tobytes() + time.tobytes()
        start = _aligned(_HEAD.size + len(text))
        offset = start + _aligned(len(columns))
        size = offset + 2 * len(seq) * self._dimension
        self.folder.mkdir(exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{FILE}.", suffix=".tmp", dir=self.folder)
        try:
            with os.fdopen(fd, "r+b") as file:
                _reserve(file.fileno(), size)
                file.write(_HEAD.pack(MAGIC, zlib.crc32(columns, zlib.crc32(text)), len(text)) + text)
                file.seek(start)
                file.write(columns)
                file.flush()
                if len(seq):
                    matrix = np.memmap(name, np.float16, "r+", offset, (len(seq), self._dimension))
                    fill(matrix)
                    matrix.flush()
                    del matrix
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        finally:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)

    def remove(self) -> list[Path]:
        """Remove the file and what killed processes have left; gives what could not be removed."""
        left = []
        for path in self._files():
            try:
                path.unlink(missing_ok=True)
            except OSError:
                left.append(path)
        return left

    def _files(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from list(self.folder.iterdir())


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _reserve(fd: int, size: int) -> None:
    """Take the space at once: a full disk is found here, and not by a signal while a mapping is written to."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        zeros = bytes(1 << 20)
        for at in range(0, size, len(zeros)):
            os.write(fd, zeros[: size - at])
        os.lseek(fd, 0, os.SEEK_SET)


def same_bytes(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Whether two float16 arrays hold the same bytes."""
    return bool(np.array_equal(left.view(np.uint16), right.view(np.uint16)))
