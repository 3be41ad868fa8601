"""The image cache's file: rows of pixels, each with a checksum of its own.

It is a safetensors file, so any tool can open it: `images` (N, H, W, 3) uint8, `readable` (N,) uint8 (0 where
the source could not be decoded), `checksums` (N, 4) uint8 (CRC-32 of a row, little-endian), `names`, the
pictures' relative paths as JSON, and `seal`, the CRC-32 of these three. Rows are read, not mapped: a file that is cut short while it is open gives a
message, where a mapped one would end the process.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ivreid.data.pixels import Pixels
from ivreid.errors import DataError
from ivreid.io import atomic_write
from ivreid.reading import clean, decode_text, parse_json, reason
from ivreid.types import BoolArray

MAX_HEADER = 1 << 20
MARK = "ivreid_cache"
"""The metadata's key that says of what format the cache is."""


def write_cache_file(
    path: Path,
    metadata: Mapping[str, str],
    names: tuple[str, ...],
    size: tuple[int, int],
    rows: Iterable[tuple[Pixels, bool]],
) -> None:
    """Write a cache whole or not at all.

    Args:
        path: The file.
        metadata: Of what it is a cache; it holds `MARK`.
        names: The pictures' relative paths.
        size: Height and width of a row.
        rows: Pixels (H, W, 3) of each picture, and whether it could be decoded.

    Raises:
        DataError: The file cannot be written.
    """
    table = json.dumps(names).encode()
    with atomic_write(path) as file:
        file.write(_header(metadata, len(names), size, len(table)))
        flags, sums = bytearray(), bytearray()
        for number, (pixels, readable) in enumerate(rows):
            data = pixels.tobytes()
            file.write(data)
            flags.append(readable)
            sums += struct.pack("<I", _checksum(number, readable, data))
        tail = bytes(flags + sums + table)
        file.write(tail + struct.pack("<I", zlib.crc32(tail)))


def _header(metadata: Mapping[str, str], count: int, size: tuple[int, int], table: int) -> bytes:
    parts = {"images": [count, *size, 3], "readable": [count], "checksums": [count, 4]}
    parts |= {"names": [table], "seal": [4]}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, shape in parts.items():
        start, end = end, end + int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 4096)  # pixels start on a page
    return struct.pack("<Q", len(text)) + text


def _checksum(number: int, readable: bool, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(struct.pack("<QB", number, readable)))


class CacheFile:
    """An open cache file.

    Attributes:
        path: The file.
        metadata: Of what it is a cache.
        size: Height and width of a row.
        readable: (N,) bool, False where the source could not be decoded.
    """

    def __init__(self, path: Path) -> None:
        """Open a file; its rows are checked when they are read.

        Raises:
            DataError: Missing, foreign or cut short.
        """
        self.path = path
        try:
            file = path.open("rb", buffering=0)
        except OSError as error:
            raise DataError(f"cannot read the image cache {path}: {reason(error)}") from error
        self._file, self._lock = file, threading.Lock()
        weakref.finalize(self, file.close)
        length = int.from_bytes(self._read(0, 8), "little")
        if not 0 < length <= MAX_HEADER:
            raise self._foreign("no header")
        self._start = 8 + length
        self.metadata, shapes = self._described(self._read(8, length))
        count, height, width, _ = shapes["images"]
        self.size = (height, width)
        self._row = height * width * 3
        end, tail = self._start + count * self._row, 5 * count + shapes["names"][0]
        if os.fstat(file.fileno()).st_size != end + tail + 4:
            raise DataError(f"{path} is cut short; delete it, and it will be built again")
        data = self._read(end, tail + 4)
        if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise DataError(f"{path} is damaged; delete it, and it will be built again")
        self.readable: BoolArray = np.frombuffer(data, np.uint8, count) != 0
        self._sums = np.frombuffer(data, "<u4", count, offset=count)
        self._names = data[5 * count : -4]

    def _foreign(self, why: object) -> DataError:
        return DataError(f"{self.path} is not an ivreid image cache ({why}); delete it or name another")

    def _described(self, text: bytes) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
        try:
            header = parse_json(decode_text(text, "header"), "header")
            metadata = {str(key): str(value) for key, value in header["__metadata__"].items()}
            shapes = {name: tuple(map(int, header[name]["shape"])) for name in ("images", "names")}
        except (DataError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._foreign(clean(error)) from error
        images = shapes["images"]
        if MARK not in metadata or len(images) != 4 or len(shapes["names"]) != 1 or min(images) < 0:
            raise self._foreign("no cache metadata")
        return metadata, shapes

    def __len__(self) -> int:
        return len(self.readable)

    def row(self, number: int) -> Pixels:
        """The pixels of one picture, (H, W, 3) uint8, read-only.

        Raises:
            DataError: The row is not what was written, or the file has been cut short or cannot be read.
        """
        data = self._read(self._start + number * self._row, self._row)
        if _checksum(number, bool(self.readable[number]), data) != self._sums[number]:
            raise DataError(f"the image cache {self.path} is damaged: the checksum of row {number} differs")
        return np.frombuffer(data, dtype=np.uint8).reshape(*self.size, 3)

    def names(self) -> tuple[str, ...]:
        """The pictures' relative paths.

        Raises:
            DataError: They cannot be read.
        """
        source = f"the list of pictures in {self.path}"
        names = parse_json(decode_text(self._names, source), source)
        if not isinstance(names, list) or len(names) != len(self) or not all(type(n) is str for n in names):
            raise DataError(f"{source} is damaged; delete the cache, and it will be built again")
        return tuple(names)

    def _read(self, start: int, length: int) -> bytes:
        try:
            data = self._read_at(start, length)
        except OSError as error:
            raise DataError(f"cannot read the image cache {self.path}: {reason(error)}") from error
        if len(data) != length:
            raise DataError(f"{self.path} is cut short; delete it, and it will be built again")
        return data

    def _read_at(self, start: int, length: int) -> bytes:
        if hasattr(os, "pread"):  # many threads at once, also after a fork
            data = os.pread(self._file.fileno(), length, start)
            while data and len(data) < length:
                more = os.pread(self._file.fileno(), length - len(data), start + len(data))
                if not more:
                    break
                data += more
            return data
        with self._lock:
            self._file.seek(start)
            return self._file.read(length) or b""
