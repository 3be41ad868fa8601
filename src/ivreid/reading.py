"""Text and JSON that others wrote, read by a budget.

A small file can stand for much memory (millions of empty lists) and a device never ends, so bytes, containers
and values are counted before anything is built from them.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path, PurePath
from typing import Any, NoReturn

from ivreid.errors import DataError, IvreidError

MAX_TEXT = 64 << 20
"""Bytes of a list, a table or a JSON file."""
CHUNK = 1 << 20
MAX_VALUES = 4_000_000
"""Values of a JSON file: a result's curves have tens of thousands."""
MAX_CONTAINERS = 500_000
MAX_LOG = 256 << 20
MAX_LOG_VALUES = 16_000_000
"""Of a whole log: half a million steps."""
MAX_DEPTH = 50
SHOWN = 200

Kind = type[IvreidError]


def read_bytes(path: Path | str, limit: int = MAX_TEXT, *, error: Kind = DataError) -> bytes:
    """A file's bytes; a pipe is read like a file, and nothing is read past the limit.

    Raises:
        IvreidError: Of the given kind: no such file, not readable, or longer than `limit` bytes.
    """
    try:
        with Path(path).open("rb") as file:
            data = bytearray()
            while len(data) <= limit and (more := file.read(min(CHUNK, limit + 1 - len(data)))):
                data += more
    except (OSError, ValueError) as problem:  # ValueError: a name that no file can have
        raise error(f"cannot read {clean(path)}: {reason(problem)}") from problem
    if len(data) > limit:
        raise error(f"{clean(path)} is longer than {limit:,} bytes, which no file of its kind is")
    return bytes(data)


def read_text(path: Path | str, limit: int = MAX_TEXT, *, error: Kind = DataError) -> str:
    """A text file: UTF-8 with or without a byte-order mark, or UTF-16 with one; lines end in a line feed.

    Raises:
        IvreidError: Of the given kind: as `read_bytes`, or bytes that are no text.
    """
    return decode_text(read_bytes(path, limit, error=error), clean(path), error=error)


def decode_text(data: bytes, source: str, *, error: Kind = DataError) -> str:
    """Text from bytes, as `read_text`; `source` names them in messages."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{source} is not UTF-8 text (byte {problem.start + 1:,})") from problem
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path | str, *, error: Kind = DataError) -> Any:
    """Read a JSON file.

    Raises:
        IvreidError: Of the given kind: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, error=error), clean(path), error=error)


def parse_json(text: str, source: str, *, error: Kind = DataError) -> Any:
    """The value of a JSON text whose numbers are finite and fit 64 bits.

    Args:
        text: What others wrote.
        source: Its name for messages.
        error: The kind of error to raise.

    Raises:
        IvreidError: Of the given kind: not JSON, NaN or infinite numbers, or more than a reader should build.
    """
    values, containers = text.count(",") + text.count(":"), text.count("[") + text.count("{")
    if len(text) > MAX_TEXT or values > MAX_VALUES or containers > MAX_CONTAINERS:
        raise error(f"{source} holds more values than any file of its kind; it is refused unread")
    return _parse(text, source, error)


def read_json_lines(path: Path | str, *, error: Kind = DataError) -> list[dict[str, Any]]:
    """The objects of a JSON-lines log; a last line cut short by a kill is left out.

    Raises:
        IvreidError: Of the given kind: as `read_json`, or a line that is no object; the message names it.
    """
    source = clean(path)
    whole = read_bytes(path, MAX_LOG, error=error).rpartition(b"\n")[0]
    if whole.count(b":") + whole.count(b",") > MAX_LOG_VALUES:
        raise error(f"{source} holds more values than any log; it is refused unread")
    lines = decode_text(whole, source, error=error).split("\n") if whole else []
    rows = [_parse(line, f"{source}, line {number}", error) for number, line in enumerate(lines, start=1)]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise error(f"{source}, line {number} is no JSON object")
    return rows


def _parse(text: str, source: str, error: Kind) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise error(f"{source} is nested without end; it is refused") from None
    except ValueError as problem:
        raise error(f"{source} is not valid JSON: {clean(problem)}") from problem
    if _deeper(value, MAX_DEPTH):
        raise error(f"{source} is nested more than {MAX_DEPTH} deep; it is refused")
    if "\\ud" in text.lower() and not _encodable(value):
        raise error(f"{source} holds half a character (a lone \\ud800 to \\udfff); it is refused")
    return value


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{clean(word, 40)} is no finite number")
    return value


def _whole(word: str) -> int:
    if len(word) > 20 or not -(2**63) <= (value := int(word)) < 2**64:
        raise ValueError(f"{clean(word, 40)} is a larger number than fits 64 bits")
    return value


def _deeper(value: Any, limit: int) -> bool:
    """Whether containers stand in containers more than `limit` deep."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            part
            for item in level
            if isinstance(item, list | dict)
            for part in (item.values() if isinstance(item, dict) else item)
            if isinstance(part, list | dict)
        ]
        if not level:
            return False
    return True


def unpacked_limit(packed: int) -> int:
    """Bytes that compressed data may unpack to: sparse features take a fifth, and a bomb a thousandth."""
    return max(128 << 20, 16 * packed)


def reason(problem: BaseException) -> str:
    """Why a file could not be used, in the system's words."""
    return clean(getattr(problem, "strerror", None) or problem)


def clean(value: object, limit: int = SHOWN) -> str:
    """A foreign value for a message: one line, no control characters, not longer than `limit`.

    Of a path that is too long the end is shown, for it names the file.
    """
    text = str(value)
    if isinstance(value, PurePath) and len(text) > limit:
        text = "..." + text[-limit + 3 :]
    shown = "".join(c if c.isprintable() else "?" for c in text[:limit])
    return shown + ("..." if len(text) > limit else "")


def shown_address(address: object) -> str:
    """A folder, or one or more URLs without their passwords."""
    return clean(re.sub(r"(://[^/@:,]*):[^/,?]*@", r"\1@", str(address)), 1000)
