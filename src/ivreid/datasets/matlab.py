"""MATLAB files (level 5: versions 5 to 7), read as the untrusted input they are.

Only numbers and cells are understood, which is all that evaluation needs: no code, no objects, every length
checked against the bytes that are there. (A damaged file can end the whole process in readers written in C.)
The layout is that of "MAT-File Format", The MathWorks.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError

MAX_BYTES = 1 << 30
"""Larger files, and variables that unpack to more, are refused."""

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_INT32, _MATRIX, _COMPRESSED = 5, 14, 15
_CELL, _NUMERIC = 1, range(6, 16)
_COMPLEX = 0x0800
_MAX_DEPTH = 4


class _Malformed(Exception):
    """What is wrong with the bytes."""


@dataclass(frozen=True)
class _Element:
    kind: int
    data: memoryview


def read_mat(path: Path | str, variable: str) -> NDArray[Any]:
    """One variable of a MATLAB file: numbers, or an object array of its cells.

    Raises:
        DataError: Missing, damaged or foreign file, version 7.3, a file without that variable, or a variable
            of another kind.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes; files over {MAX_BYTES:,} are refused")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    names: list[str] = []
    try:
        order, body = _open(content)
        for element in _elements(body, order):
            parts = _matrix_parts(_unpacked(element, order), order)
            names.append(_name(parts))
            if names[-1] == variable:
                return _value(parts, order)
    except _Malformed as error:
        if str(error) == "7.3":
            raise DataError(f"{path} is a MATLAB 7.3 file; save it with save(..., '-v7') instead") from error
        raise DataError(f"{path} is not a readable MATLAB file: {error}") from error
    raise DataError(f"{path} has no variable `{variable}`; it has {', '.join(names) or 'none'}")


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


def _open(content: bytes) -> tuple[str, memoryview]:
    """Byte order and body behind the 128-byte header."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise _Malformed("it does not begin as one")
    (version,) = struct.unpack_from(order + "H", content, 124)
    if version != 0x0100:
        raise _Malformed("7.3" if version == 0x0200 else f"its version is {version:#06x}")
    return order, memoryview(content)[128:]


def _elements(body: memoryview, order: str) -> Iterator[_Element]:
    """The data elements in `body`, one after the other."""
    at = 0
    while len(body) - at >= 8:
        kind, size = struct.unpack_from(order + "II", body, at)
        start = at + 8
        if kind >> 16:  # a small element keeps its data inside the tag
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if size > (4 if start == at + 4 else len(body) - start):
            raise _Malformed(f"an element claims {size:,} bytes, and they are not there")
        yield _Element(kind, body[start : start + size])
        at = start + size
        if kind != _COMPRESSED:
            at += -at % 8


def _unpacked(element: _Element, order: str) -> _Element:
    """The element that a compressed one holds; MATLAB compresses whole variables and nothing inside them."""
    if element.kind != _COMPRESSED:
        return element
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(element.data, MAX_BYTES)
    except zlib.error as error:
        raise _Malformed(f"compressed data are damaged ({error})") from error
    if stream.unconsumed_tail:
        raise _Malformed(f"a variable unpacks to more than {MAX_BYTES:,} bytes")
    return next(_elements(memoryview(content), order), _Element(0, memoryview(b"")))


def _matrix_parts(element: _Element, order: str) -> list[_Element]:
    """The parts of a matrix element: flags, dimensions, name, data."""
    if element.kind != _MATRIX:
        raise _Malformed(f"an array was expected where an element of kind {element.kind} stands")
    return list(_elements(element.data, order))


def _name(parts: list[_Element]) -> str:
    if len(parts) < 3:
        raise _Malformed("an array is incomplete")
    return bytes(parts[2].data).decode("ascii", errors="replace")


def _value(parts: list[_Element], order: str, depth: int = 0) -> NDArray[Any]:
    if not parts:  # MATLAB writes [] inside a cell as a matrix without parts
        return np.zeros((0, 0))
    if len(parts) < 3 or len(parts[0].data) < 4 or depth > _MAX_DEPTH:
        raise _Malformed("an array is incomplete, or cells stand too deep in cells")
    (flags,) = struct.unpack_from(order + "I", parts[0].data)
    shape = tuple(_numbers(parts[1], order).tolist())
    if parts[1].kind != _INT32 or len(shape) != 2 or min(shape) < 0:
        raise _Malformed(f"an array has the dimensions {shape}")
    kind, data = flags & 0xFF, parts[3:]
    if kind == _CELL:
        if math.prod(shape) != len(data):
            raise _Malformed(f"{math.prod(shape)} cells were expected, {len(data)} are there")
        cells = np.empty(len(data), dtype=object)
        for i, cell in enumerate(data):
            cells[i] = _value(_matrix_parts(cell, order), order, depth + 1)
        return cells.reshape(shape, order="F")
    if kind not in _NUMERIC or flags & _COMPLEX:
        raise _Malformed("the variable holds something other than real numbers and cells")
    values = _numbers(data[0], order) if data else np.zeros(0)
    if values.size != math.prod(shape):
        raise _Malformed(f"an array of {shape} holds {values.size} numbers")
    return values.reshape(shape, order="F")


def _numbers(element: _Element, order: str) -> NDArray[Any]:
    if element.kind not in _NUMBERS:
        raise _Malformed(f"numbers were expected where an element of kind {element.kind} stands")
    dtype = np.dtype(order + _NUMBERS[element.kind])
    if len(element.data) % dtype.itemsize:
        raise _Malformed("a number is cut off")
    return np.frombuffer(element.data, dtype).astype(dtype.newbyteorder("="))
