"""The structure of a PNG file: only the chunks that say something about its pixels reach the decoder."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ivreid.errors import ImageError

_HEAD = 8
_FRAME = 12
"""Bytes of a chunk besides its data: length, type, checksum."""
_NEEDED = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"))
_TEXT = (b"tEXt", b"zTXt")
_EXIF_AS_TEXT = b"Raw profile type exif\0"
_MAX_TEXT = 1 << 16


def pixels_only(data: bytes) -> bytes:
    """The file without colour profiles, texts and the like, which may be damaged, or larger than the pixels.

    Raises:
        ImageError: Several pictures in one file, or grey of 16 bits with transparency.
    """
    if data[24:26] == b"\x10\x04":  # the decoder gives its upper eight bits only
        raise ImageError("grey of 16 bits with transparency is not read; save it without transparency")
    kept = [data[:_HEAD]]
    for kind, position, end in _chunks(data):
        if kind == b"acTL" and int.from_bytes(data[position + 8 : position + 12]) > 1:
            raise ImageError("several pictures in one file; save each as a file of its own")
        text = kind in _TEXT and end - position <= _MAX_TEXT and data.startswith(_EXIF_AS_TEXT, position + 8)
        if kind in _NEEDED or text:
            kept.append(data[position:end])
    return b"".join(kept)


def is_intact(data: bytes) -> bool:
    """Whether the file's end is there, and every chunk has the checksum it says."""
    last = b""
    for kind, position, end in _chunks(data):
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return False
        last = kind
    return last == b"IEND"


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk; the last may end beyond the data."""
    position, kind = _HEAD, b""
    while position + _FRAME <= len(data) and kind != b"IEND":
        kind = data[position + 4 : position + 8]
        end = position + _FRAME + int.from_bytes(data[position : position + 4])
        yield kind, position, end
        position = end
