"""Random damage: to bytes, to JSON values, to the members of archives. All of it follows from a generator."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
WORDS = (
    "",
    "nan",
    "NaN",
    "1e400",
    "\0",
    "\x1b[2J",
    "\u202e",
    "../../etc/passwd",
    "x" * 300,
    "a/" * 2000,
    "~",
    "/dev/zero",
)
NAMES = ("backbone", "resnet18", "test_vit", "iv-reid", "hf-hub:a/b", "sysu-mm01", "imagenet", "__class__")


def damaged(data: bytes, rng: Random) -> bytes:
    """The bytes with one to eight faults: flipped, cut, doubled, moved, overwritten, or a number made extreme."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        length = rng.choice((1, 2, 4, 8, 64, 1000))
        match rng.randrange(8):
            case 0 if out:
                out[at - 1] ^= 1 << rng.randrange(8)
            case 1:
                del out[at:]
            case 2:
                del out[at : at + length]
            case 3:
                out[at:at] = out[at : at + length] * rng.randrange(1, 4)
            case 4:
                source = rng.randrange(len(out) + 1)
                out[at : at + length] = out[source : source + length]
            case 5:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) % (1 << 8 * size)
                out[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 6:
                out[at : at + length] = bytes(rng.choice((0, 0x20, 0xFF)) for _ in range(length))
            case _:
                out[at:at] = rng.choice(WORDS).encode("utf-8", "replace")[:2000]
    return bytes(out)


def odd_value(rng: Random, depth: int = 0) -> Any:
    """A value that has no business where it stands."""
    plain = (
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**53,
        10**30,
        -1e300,
        1e-300,
        0.5,
        float("nan"),
        float("inf"),
    )
    match rng.randrange(8):
        case 0 | 1 | 2:
            return rng.choice(plain)
        case 3:
            return rng.choice(WORDS)
        case 4:
            return rng.choice(NAMES)
        case 5 if depth < 3:
            return [odd_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        case 6 if depth < 3:
            return {rng.choice(WORDS): odd_value(rng, depth + 1) for _ in range(rng.randrange(3))}
        case _:
            nested: Any = rng.choice(plain)
            for _ in range(rng.choice((1, 10, 60, 400))):
                nested = [nested] if rng.random() < 0.5 else {"a": nested}
            return nested


def odd(value: Any, rng: Random) -> Any:
    """A JSON value with one to three of its parts exchanged, doubled, renamed or gone."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        holder: Any = {"": value}
        key: Any = ""
        while isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.8:
            holder = holder[key]
            key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        match rng.randrange(5):
            case 0 if key != "":
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.extend(holder[:50] * rng.randrange(3))
            case 2 if isinstance(holder, dict) and key != "":
                holder[rng.choice(WORDS)] = holder.pop(key)
            case _:
                holder[key] = odd_value(rng)
        value = holder[""] if key == "" and "" in holder and len(holder) == 1 else value
    return value


def odd_text(value: Any, rng: Random) -> str:
    """An odd value as JSON text, which may hold NaN, Infinity, 1e400 and half characters."""
    text = json.dumps(odd(value, rng), ensure_ascii=rng.random() < 0.8)
    if rng.random() < 0.2:
        text = text.replace("1.0", "1e400", 1).replace("0.5", "9" * 5000, 1)
    if rng.random() < 0.1:
        text = text.replace('"', '"\\ud800', 1)
    return text


def rewrapped(path: Path, out: Path, rng: Random) -> None:
    """A zip archive whose members are damaged one by one, so that sizes and checksums fit again."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name in rng.sample(sorted(members), rng.randrange(1, min(len(members), 3) + 1)):
        members[name] = damaged(members[name], rng)
    if rng.random() < 0.2:
        members[rng.choice((*members, "archive/data/0", "x.npy"))] = rng.randbytes(50)
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def resealed(data: bytes, metadata: dict[str, str]) -> bytes:
    """A safetensors file's bytes with other metadata."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
