"""MATLAB files (level 5: versions 5 to 7), read as the untrusted input they are.

Only numbers and cells are understood, which is all that evaluation needs: no code, no objects. The file is
walked through from its beginning: what is not wanted is passed over unread, and an array's bytes are taken
only when its dimensions account for each of them, so that reading takes the memory of the arrays that are
there. (A damaged file can end the whole process in readers written in C.) The layout is that of "MAT-File
Format", The MathWorks.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError
from ivreid.io import START, kind_of, way_out
from ivreid.reading import clean, reason, unpacked_limit

MAX_BYTES = 1 << 30
"""Larger files, and variables that unpack to more, are refused."""
MAX_ARRAYS = 100_000
"""Arrays in a variable, cells in cells included: 3,200 in SYSU-MM01's permutations."""

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_INT32, _MATRIX, _COMPRESSED = 5, 14, 15
_CELL, _NUMERIC = 1, range(6, 16)
_COMPLEX = 0x0800
_MAX_DEPTH = 4
_MAX_HEAD = 1024
"""Bytes of an array's flags, dimensions or name."""


class _Malformed(Exception):
    """What is wrong with the bytes."""


def read_mat(path: Path | str, variable: str) -> NDArray[Any]:
    """One variable of a MATLAB file: numbers, or an object array of its cells.

    Raises:
        DataError: Missing, damaged or foreign file, version 7.3, a file without that variable, or a variable
            of another kind.
    """
    path = Path(path)
    names: list[str] = []
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise DataError(f"{path}: {size:,} bytes; files over {MAX_BYTES:,} are refused")
            found = _find(_Part(_Plain(file), size), variable, names, min(MAX_BYTES, unpacked_limit(size)))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {clean(path)}: {reason(error)}") from error
    except _Malformed as error:
        if str(error) == "7.3":
            raise DataError(f"{path} is a MATLAB 7.3 file; save it with save(..., '-v7') instead") from error
        raise DataError(f"{path} is not a readable MATLAB file: {error}") from error
    if found is None:
        listed = ", ".join(clean(name, 40) for name in names[:20]) or "none"
        raise DataError(f"{path} has no variable `{variable}`; it has {listed}")
    return found


def read_cells(path: Path | str, variable: str) -> list[NDArray[Any]]:
    """The cells of a MATLAB cell vector.

    Raises:
        DataError: As `read_mat`; or the variable is not a cell vector.
    """
    cells = read_mat(path, variable)
    if cells.dtype != object or cells.size != max(cells.shape, default=0):
        raise DataError(
            f"{path}: `{variable}` must be a cell vector, it is {cells.dtype} of shape {cells.shape}"
        )
    return list(cells.ravel())


class _Bytes(Protocol):
    """Bytes one after the other."""

    def read(self, count: int) -> bytes | bytearray: ...

    def skip(self, count: int) -> None: ...


@dataclass
class _Plain:
    """A file's own bytes."""

    file: BinaryIO

    def read(self, count: int) -> bytearray:
        return bytearray(self.file.read(count))

    def skip(self, count: int) -> None:
        self.file.seek(count, os.SEEK_CUR)


class _Unpacked:
    """The bytes that a compressed part of a file stands for, made as they are asked for."""

    def __init__(self, source: _Part) -> None:
        self.source, self.stream = source, zlib.decompressobj()

    def read(self, count: int) -> bytearray:
        out = bytearray()
        while len(out) < count:
            packed = self.stream.unconsumed_tail or self.source.read(min(1 << 16, self.source.left))
            if not packed:
                break
            try:
                out += self.stream.decompress(packed, count - len(out))
            except zlib.error as error:
                raise _Malformed(f"compressed data are damaged ({error})") from error
        return out

    def skip(self, count: int) -> None:
        while count > 0 and (passed := len(self.read(min(count, 1 << 16)))):
            count -= passed


class _Part:
    """Some of the bytes: no more than `left` may be taken."""

    def __init__(self, source: _Bytes, left: int) -> None:
        self.source, self.left = source, left

    def read(self, count: int) -> bytes | bytearray:
        data = self.source.read(count) if count <= self.left else b""
        if len(data) != count:
            raise _Malformed(f"an element claims {count:,} bytes, and they are not there")
        self.left -= count
        return data

    def skip(self, count: int) -> None:
        count = min(count, self.left)
        self.source.skip(count)
        self.left -= count


@dataclass
class _Reader:
    """Reads one variable, and counts what it builds."""

    order: str
    limit: int
    built: int = 0
    arrays: int = 0

    def tag(self, body: _Part) -> tuple[int, int, bytes | bytearray | None]:
        """The next element's kind and size, and its data where they stand inside the tag."""
        raw = body.read(8)
        kind, size = struct.unpack(self.order + "II", raw)
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise _Malformed(f"an element claims {size:,} bytes, and they are not there")
            return kind, size, raw[4 : 4 + size]
        return kind, size, None

    def small(self, body: _Part) -> tuple[int, bytes | bytearray]:
        """A short element of an array's head: its kind and data."""
        if body.left < 8:
            raise _Malformed("an array is incomplete")
        kind, size, data = self.tag(body)
        if data is None:
            if size > _MAX_HEAD:
                raise _Malformed("an array is incomplete, or its head is too long")
            data = body.read(size)
            body.skip(-size % 8)
        return kind, data

    def head(self, body: _Part) -> tuple[int, tuple[int, bytes | bytearray], str]:
        """An array's flags, its dimensions unread, and its name."""
        _, flags = self.small(body)
        dimensions, (_, name) = self.small(body), self.small(body)
        if len(flags) < 4:
            raise _Malformed("an array is incomplete")
        (bits,) = struct.unpack_from(self.order + "I", flags)
        return bits, dimensions, bytes(name).decode("ascii", errors="replace")

    def value(self, body: _Part, flags: int, dimensions: tuple[int, Any], depth: int = 0) -> NDArray[Any]:
        """An array whose head was read."""
        kind, data = dimensions
        shape = tuple(np.frombuffer(data, self.dtype(kind, len(data))).tolist())
        if kind != _INT32 or len(shape) != 2 or min(shape) < 0:
            raise _Malformed(f"an array has the dimensions {shape}")
        if flags & 0xFF == _CELL:
            return self.cells(body, shape, depth)
        if flags & 0xFF not in _NUMERIC or flags & _COMPLEX:
            raise _Malformed("the variable holds something other than real numbers and cells")
        return self.numbers(body, shape)

    def cells(self, body: _Part, shape: tuple[int, ...], depth: int) -> NDArray[Any]:
        count = math.prod(shape)
        if 8 * count > body.left or depth >= _MAX_DEPTH:
            raise _Malformed(
                f"{count:,} cells were expected, in {body.left:,} bytes"
                if depth < _MAX_DEPTH
                else "cells stand too deep in cells"
            )
        self.arrays += count
        if self.arrays > MAX_ARRAYS:
            raise _Malformed(f"it holds more than {MAX_ARRAYS:,} cells")
        cells = np.empty(count, dtype=object)
        for i in range(count):
            kind, size, _ = self.tag(body)
            if kind != _MATRIX:
                raise _Malformed(f"an array was expected where an element of kind {kind} stands")
            cell = self.part(body, size)
            # MATLAB writes [] inside a cell as a matrix without parts
            cells[i] = self.value(cell, *self.head(cell)[:2], depth + 1) if size else np.zeros((0, 0))
            body.skip(cell.left + -size % 8)
        if body.left >= 8:
            raise _Malformed(f"{count:,} cells were expected, and more are there")
        return cells.reshape(shape, order="F")

    def part(self, body: _Part, size: int) -> _Part:
        """The body of an element, which must lie inside the one around it."""
        if size > body.left:
            raise _Malformed(f"an element claims {size:,} bytes, and they are not there")
        return _Part(body, size)

    def numbers(self, body: _Part, shape: tuple[int, ...]) -> NDArray[Any]:
        kind, size, data = self.tag(body) if body.left >= 8 else (1, 0, b"")
        dtype = self.dtype(kind, size)
        if size // dtype.itemsize != math.prod(shape):
            raise _Malformed(f"an array of {shape} holds {size // dtype.itemsize} numbers")
        self.built += size
        if self.built > self.limit:
            raise _Malformed(f"a variable unpacks to more than {self.limit:,} bytes")
        if data is None:
            data = body.read(size)
        values = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False)
        return values.reshape(shape, order="F")

    def dtype(self, kind: int, size: int) -> np.dtype[Any]:
        if kind not in _NUMBERS:
            raise _Malformed(f"numbers were expected where an element of kind {kind} stands")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if size % dtype.itemsize:
            raise _Malformed("a number is cut off")
        return dtype


def _find(file: _Part, variable: str, names: list[str], limit: int) -> NDArray[Any] | None:
    """The variable of that name; the names of those before it are added to `names`."""
    order = _order(file.read(min(file.left, 128)))
    while file.left >= 8:
        reader = _Reader(order, limit)
        kind, size, _ = reader.tag(file)
        whole = reader.part(file, size)
        body = whole
        if kind == _COMPRESSED:  # MATLAB compresses whole variables and nothing inside them
            unpacked = _Unpacked(whole)
            tag = unpacked.read(8)
            kind, size, _ = reader.tag(_Part(_Plain(io.BytesIO(tag if len(tag) == 8 else bytes(8))), 8))
            body = _Part(unpacked, size)
        if kind != _MATRIX:
            raise _Malformed(f"an array was expected where an element of kind {kind} stands")
        flags, dimensions, name = reader.head(body)
        names.append(name)
        if name == variable:
            return reader.value(body, flags, dimensions)
        whole.skip(whole.left)
        if body is whole:
            file.skip(-size % 8)
    return None


def _order(header: bytes | bytearray) -> str:
    """The byte order that a file's first 128 bytes tell."""
    order = {b"IM": "<", b"MI": ">"}.get(bytes(header[126:128]))
    if order is None:
        what = kind_of(bytes(header[:START]))
        known = what not in ("", "MATLAB file", "BMP", "Netpbm")
        advice = f"; {way_out(what)}" if way_out(what) else ""
        raise _Malformed(f"it does not begin as one{f', it is a {what}' if known else ''}{advice}")
    (version,) = struct.unpack_from(order + "H", header, 124)
    if version != 0x0100:
        raise _Malformed("7.3" if version == 0x0200 else f"its version is {version:#06x}")
    return order
