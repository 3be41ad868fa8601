"""Tensors and a JSON text in one safetensors file, with digests of both: what comes back is what was written.

The text lies in the file's metadata under "ivreid", its digest under "sha256", and the digest of every tensor
(name, type, shape, bytes) under "tensors_sha256". A file is opened once and read into memory: what is checked
is what is used, whatever happens to the file meanwhile.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from ivreid.errors import CheckpointError
from ivreid.io import atomic_write
from ivreid.reading import clean, decode_text, parse_json, reason

TEXT, TEXT_DIGEST, TENSOR_DIGEST = "ivreid", "sha256", "tensors_sha256"
UNSEALED = 1
"""The format of 0.1.0, which had no digests."""
FORMAT = 2
MAX_HEAD = 64 << 20

log = logging.getLogger(__name__)
_told: set[str] = set()


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What the text of such a file says under `kind`.
        noun: What people call it.
        advice: What to do about a file of another kind.
    """

    name: str
    noun: str
    advice: str


@dataclass(frozen=True)
class Head:
    """What a safetensors file says before its data.

    Attributes:
        metadata: Texts by name.
        shapes: Of every tensor, by name.
    """

    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]


def write_sealed(
    path: Path | str, kind: Kind, tensors: Mapping[str, Tensor], info: Mapping[str, Any]
) -> None:
    """Write tensors and a text whole or not at all.

    Args:
        path: The file.
        kind: What it shall be.
        tensors: On any device; two names may share memory.
        info: JSON values; `kind` and `format` are added.

    Raises:
        CheckpointError: `info` is not JSON.
        DataError: The disk is full or the folder cannot be written; the old file stays.
    """
    try:
        text = json.dumps({**info, "kind": kind.name, "format": FORMAT}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the card of {path} is not JSON: {error}") from error
    # a copy: the format has no views, and two names may share one storage
    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    seals = {TEXT: text, TEXT_DIGEST: _text_digest(text), TENSOR_DIGEST: tensor_digest(plain)}
    data = safetensors.torch.save(plain, metadata=seals)
    with atomic_write(path) as file:
        file.write(data)


def read_sealed(path: Path | str, kind: Kind) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and text of a file of ours, both proved to be as they were written.

    Raises:
        CheckpointError: Missing, damaged, foreign, of another kind, or of a newer format; the message says
            which.
    """
    tensors, head = read_safetensors(path, kind.noun)
    return tensors, proved_info(clean(path), head, kind)


def read_info(path: Path | str, kind: Kind) -> tuple[dict[str, Any], Head]:
    """The text alone, proved, and what the file says of its tensors, which are not read.

    Raises:
        CheckpointError: As `read_sealed`, but damage to tensors is not seen.
    """
    try:
        with Path(path).open("rb") as file:
            head = _read_head(file, _unreadable(path, kind.noun))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {clean(path)}: {reason(error)}") from error
    return proved_info(clean(path), head, kind), head


def read_safetensors(path: Path | str, noun: str = "safetensors file") -> tuple[dict[str, Tensor], Head]:
    """The tensors of any safetensors file and what stands before them; digests are checked where it has them.

    Raises:
        CheckpointError: Missing, damaged, or no such file.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {clean(path)}: {reason(error)}") from error
    head = _read_head(io.BytesIO(data), _unreadable(path, noun))
    try:
        tensors = dict(safetensors.torch.load(data))
    except Exception as error:  # safetensors raises its own kinds
        raise CheckpointError(f"{_unreadable(path, noun)} ({clean(error)})") from error
    wanted = head.metadata.get(TENSOR_DIGEST)
    if wanted is not None and wanted != tensor_digest(tensors):
        raise CheckpointError(
            f"{clean(path)} is damaged: its tensors are not those that were written (their digest differs); "
            "use another copy"
        )
    return tensors, head


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and bytes of tensors on the CPU, in the order of their names."""
    digest = hashlib.sha256()
    add_tensors(digest, tensors)
    return digest.hexdigest()


def add_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:
    """Take tensors into a hash in the order of their names, without copying their bytes."""
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _unreadable(path: Path | str, noun: str) -> str:
    said = f"{clean(path)} is not a readable {noun}: " if noun != "safetensors file" else f"{clean(path)}: "
    return f"{said}it is not a safetensors file, or is damaged"


def _read_head(file: BinaryIO, said: str) -> Head:
    """The header: its length in 8 bytes, then JSON; safetensors itself judges what it says of the data."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(MAX_HEAD, size - 8):
        raise CheckpointError(f"{said} (no header)")
    text = decode_text(file.read(length), f"{said}: its header", error=CheckpointError)
    header = parse_json(text, f"{said}: its header", error=CheckpointError)
    try:
        texts = {name: str(value) for name, value in header.pop("__metadata__", {}).items()}
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{said} (its header does not describe tensors)") from error
    if end != size:
        raise CheckpointError(f"{said} ({size:,} bytes where {end:,} should be)")
    return Head(texts, shapes)


def proved_info(source: str, head: Head, kind: Kind) -> dict[str, Any]:
    """The text of a head, once it is proved and of the right kind and format; `source` names it in messages.

    Raises:
        CheckpointError: As `read_sealed`.
    """
    seals = {TEXT_DIGEST, TENSOR_DIGEST} & head.metadata.keys()
    text = head.metadata.get(TEXT)
    if text is None and not seals:
        raise CheckpointError(
            f"{source} holds tensors but no card, so it was not written by ivreid; {kind.advice}"
        )
    if seals and head.metadata.get(TEXT_DIGEST) != _text_digest(text or ""):
        raise CheckpointError(
            f"{source} is damaged: its card is not the one that was written (its digest differs); use another "
            "copy"
        )
    try:
        info = parse_json(text or "", "the text", error=CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(
            f"{source} is not a readable {kind.noun}: the card in it is damaged ({error})"
        ) from error
    if not isinstance(info, dict):
        raise CheckpointError(
            f"the card of {source} must be a JSON object, so it was not written by ivreid; {kind.advice}"
        )
    found, version = info.get("kind"), info.get("format")
    if found != kind.name:
        raise CheckpointError(f"{source} is of kind {clean(repr(found))}, not {kind.name!r}; {kind.advice}")
    if type(version) is not int or version not in (UNSEALED, FORMAT):
        raise CheckpointError(
            f"{source} has format {clean(repr(version))}; this version of ivreid reads formats {UNSEALED} and "
            f"{FORMAT}"
        )
    if version == UNSEALED and not seals:
        if source not in _told:
            log.warning(
                "%s was written by ivreid 0.1.0 and holds no digest: damage to it would not be seen", source
            )
        _told.add(source)
    elif len(seals) < 2:
        raise CheckpointError(f"{source} is damaged: its digest is missing; use another copy")
    return info
