"""NumPy's archives (`.npz`), read as the untrusted input they are.

Every header is read before any data: an array's shape must account for its bytes exactly, Python objects are
refused, and what compressed data unpack to is limited.
"""

from __future__ import annotations

import ast
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError
from ivreid.io import START, kind_of, way_out
from ivreid.reading import clean, reason, unpacked_limit

MAX_HEADER = 10_000
MAX_MEMBERS = 1_000
_MAGIC = b"\x93NUMPY"
_KINDS = "biufcUS"
"""Booleans, integers, floats, complex numbers, text and bytes."""


class _Malformed(Exception):
    """What is wrong with the bytes."""


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    length: int
    """Bytes that the header takes in the file."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(
    path: Path | str, names: Iterable[str], remedies: Mapping[str, str] | None = None
) -> dict[str, NDArray[Any]]:
    """Some arrays of an `.npz` file; a name that it lacks is left out.

    Args:
        path: The file.
        names: Arrays to read.
        remedies: How an array should be saved that holds Python objects, by its name.

    Raises:
        DataError: Missing, damaged or foreign file, or Python objects; the message says which.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            _refuse_foreign(path, file.read(START))
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                return _members(archive, list(names), remedies or {})
    except (_Malformed, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{path} is not a readable .npz file: {clean(error)}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {clean(path)}: {reason(error)}") from error


def array_names(path: Path | str) -> list[str]:
    """The names of an `.npz` file's arrays, in its order; empty where it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()[:MAX_MEMBERS]]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return []


def _refuse_foreign(path: Path, start: bytes) -> None:
    kind = kind_of(start)
    if start.startswith(_MAGIC):
        raise DataError(f"{path} holds one bare array (.npy); an .npz of several, by name, is needed")
    if not start.startswith(b"PK"):
        named = f": it is a {kind}" if kind not in ("", "BMP", "Netpbm", "ZIP archive") else ""
        way = "`ivreid report` and `ivreid compare` read results" if kind == "JSON file" else way_out(kind)
        advice = f"; {way}" if way else ""
        raise DataError(f"{path} is not a readable .npz file{named}{advice}")


def _members(
    archive: zipfile.ZipFile, names: list[str], remedies: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise _Malformed(f"it holds {len(entries):,} parts")
    by_name = {entry.filename.removesuffix(".npy"): entry for entry in entries}
    wanted = {name: by_name[name] for name in names if name in by_name}
    total = sum(entry.file_size for entry in wanted.values())
    packed = sum(entry.compress_size for entry in wanted.values())
    if total > unpacked_limit(packed):
        raise _Malformed(f"{packed:,} bytes in it claim to unpack to {total:,}")
    for name, entry in wanted.items():  # all of them, before any data
        with archive.open(entry) as file:
            header = _header(file, remedies.get(name, "plain numbers or text"), name)
            _account(header, entry.file_size - header.length)
    return {name: _member(archive, entry) for name, entry in wanted.items()}


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as file:
        header = _header(file)
        array = _data(file, header, entry.file_size - header.length)
        file.read(1)  # the end: only there the checksum is compared
        return array


def _header(file: IO[bytes], remedy: str = "plain numbers or text", name: str = "the array") -> _Header:
    start = file.read(8)
    if start[:6] != _MAGIC or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise _Malformed(f"`{name}` is no NumPy array")
    wide = start[6] > 1
    raw = file.read(4 if wide else 2)
    length = int.from_bytes(raw, "little")
    if length > MAX_HEADER:
        raise _Malformed(f"the header of `{name}` is {length:,} bytes long")
    text = file.read(length)
    try:
        described = ast.literal_eval(text.decode("latin1" if start[6] < 3 else "utf-8"))
        descr, shape, fortran = (described[key] for key in ("descr", "shape", "fortran_order"))
        dtype = np.dtype(descr)
        sides = tuple(shape)
        if any(type(side) is not int or side < 0 for side in sides) or len(sides) > 32:
            raise ValueError("shape")
    except Exception as error:  # hostile text provokes many kinds
        raise _Malformed(f"the header of `{name}` cannot be read") from error
    if dtype.hasobject:
        raise _Malformed(f"`{name}` holds Python objects, which are never loaded; save it as {remedy}")
    if dtype.kind not in _KINDS or dtype.shape:
        raise _Malformed(f"`{name}` holds {clean(dtype, 40)}; save it as {remedy}")
    return _Header(dtype, sides, bool(fortran), 8 + len(raw) + length)


def _account(header: _Header, present: int) -> None:
    if header.nbytes != present:
        raise _Malformed(
            f"an array of {header.dtype} and shape {clean(header.shape, 80)} would take {clean(header.nbytes, 40)} "
            f"bytes, and {present:,} are there"
        )


def _data(file: IO[bytes], header: _Header, present: int) -> NDArray[Any]:
    _account(header, present)
    if not header.dtype.itemsize:
        return np.zeros(header.shape, header.dtype)
    data = file.read(present)
    if len(data) != present:
        raise _Malformed("it is cut short")
    if header.dtype.kind == "U":  # making text of other numbers ends in a SystemError
        codes = np.frombuffer(data, header.dtype.byteorder.replace("|", "=") + "u4")
        if codes.size and codes.max() > 0x10FFFF:
            raise _Malformed("its text holds numbers that stand for no letter")
    values = np.frombuffer(data, header.dtype)
    return values.reshape(header.shape, order="F" if header.fortran else "C")
