"""How much of an ONNX file is structure and how much is tensors, found without building anything from it.

Protobuf's wire format is a list of fields: a number with the field and its kind, then a number, 4 or 8 bytes, or a
length and so many bytes. A few bytes of structure become a hundred in memory, those of a tensor stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Numbers of `ModelProto.graph`, `GraphProto.initializer` and `TensorProto.raw_data`."""
MAX_FIELDS = 1_000_000
"""A network has some thousands."""
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def structure_bytes(data: bytes) -> int:
    """Bytes of an ONNX file less those of its initial tensors' values.

    Raises:
        ValueError: It is no protobuf message, or one of more fields than any network has.
    """
    scan, values = _Scan(data), 0
    for graph in scan.fields(0, len(data), GRAPH):
        for tensor in scan.fields(*graph, INITIALIZER):
            values += sum(end - start for start, end in scan.fields(*tensor, RAW_DATA))
    return len(data) - values


class _Scan:
    def __init__(self, data: bytes) -> None:
        self.data, self.left = data, MAX_FIELDS

    def fields(self, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
        """Where the contents of a message's fields of one number start and end."""
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"more than {MAX_FIELDS:,} fields")
            key, at = self._number(at, end)
            kind = key & 7
            if kind == _VARINT:
                _, at = self._number(at, end)
                continue
            length: int | None = {_EIGHT: 8, _FOUR: 4}.get(kind)
            if kind == _BYTES:
                length, at = self._number(at, end)
            if length is None or length > end - at:
                raise ValueError(f"a field at byte {at:,} is of an unknown kind or longer than what holds it")
            if kind == _BYTES and key >> 3 == wanted:
                yield at, at + length
            at += length

    def _number(self, at: int, end: int) -> tuple[int, int]:
        """A number of seven bits a byte, and where it ends."""
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
            if byte < 128:
                return value, at
        raise ValueError(f"a number at byte {at:,} does not end")
