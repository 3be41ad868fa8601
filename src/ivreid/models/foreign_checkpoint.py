"""Other programs' checkpoints as named tensors, without executing anything they contain."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ivreid.errors import CheckpointError
from ivreid.models.checkpoint_entries import find_weights, without_shared_prefix
from ivreid.models.pickle_objects import StandIn, StorageRef, TensorRef
from ivreid.models.pickles import MAX_BYTES, read_pickle
from ivreid.models.sealed import read_safetensors
from ivreid.models.wrong_files import refuse_foreign_archive, refuse_wrong_files
from ivreid.reading import clean, reason

FREE_BYTES = 512 << 20
"""What the tensors of any file may take; more only up to three times the numbers that are in it."""
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What `torch.save` wrote first before its files became zip archives."""

Storages = Callable[[str], bytearray]


@dataclass(frozen=True)
class Checkpoint:
    """What another program's file holds.

    Attributes:
        tensors: On the CPU by name; several may share memory.
        entry: The keys that led to them, e.g. "net"; empty where the whole file is the state dict or module.
        prefix: What was taken off every name, e.g. "module."; usually nothing.
    """

    tensors: dict[str, Tensor]
    entry: str = ""
    prefix: str = ""

    @property
    def remarks(self) -> str:
        """In words, what was chosen and taken off; empty where nothing was."""
        words = [f"taken from its entry {self.entry!r}"] if self.entry else []
        words += [f"without the prefix {self.prefix!r} of every name"] if self.prefix else []
        return ", ".join(words)


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The named tensors of a checkpoint; arguments and errors as for `read_checkpoint`."""
    return read_checkpoint(path).tensors


def read_checkpoint(path: Path | str) -> Checkpoint:
    """The weights in a checkpoint: safetensors, or what `torch.save` writes (zip or the older form).

    The pickled value may be a state dict, something that holds one at any depth, or a whole module. A prefix
    that all names share is taken off.

    Args:
        path: The file; its bytes are treated as hostile.

    Raises:
        CheckpointError: Missing or damaged, not a checkpoint, or it would call something (the message names
            it).
    """
    try:
        return _read(Path(path))
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CheckpointError(f"cannot read {clean(path)}: {reason(error)}") from error


def _read(path: Path) -> Checkpoint:
    refuse_wrong_files(path)
    if not path.is_file():
        raise CheckpointError(f"{clean(path)}: no such checkpoint file")
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        if path.suffix == ".safetensors" or head[8:9] == b"{":
            tensors, prefix = without_shared_prefix(read_safetensors(path)[0])
            return Checkpoint(tensors, prefix=prefix)
        with ExitStack() as opened:
            read = _open_zip if head[:2] == b"PK" else _open_legacy
            value, storages = read(file, path, opened)
            entry = find_weights(value, str(path))
            if entry is None:
                raise CheckpointError(f"{path} holds no named tensors: neither a state dict nor a module")
            if not all(name.isprintable() for name in entry.tensors):
                raise CheckpointError(f"{path} is damaged: it holds tensors whose names cannot be printed")
            tensors, prefix = without_shared_prefix(_materialise(entry.tensors, storages, path))
    return Checkpoint(tensors, clean(".".join(entry.keys)), prefix)


def _open_zip(file: BinaryIO, path: Path, opened: ExitStack) -> tuple[Any, Storages]:
    """The archive's pickle, and its storages by key, read when asked for; nothing in it is compressed."""
    damage = (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError)
    try:
        archive = opened.enter_context(zipfile.ZipFile(file))
        name = refuse_foreign_archive(path, archive)
        entries = {entry.filename: entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise CheckpointError(f"{path}: refused, its parts claim more bytes than the file has")
        if entries[name].file_size > MAX_BYTES:
            raise CheckpointError(f"{path}: refused, its pickle is over {MAX_BYTES:,} bytes")
        prefix = name.removesuffix("data.pkl")
        if f"{prefix}byteorder" in entries and archive.read(f"{prefix}byteorder") != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine, which is not supported")
        value = read_pickle(io.BytesIO(archive.read(name)), str(path))
    except damage as error:
        raise CheckpointError(f"{path} is truncated or damaged: {clean(error)}") from error

    def read(key: str) -> bytearray:
        try:
            return bytearray(archive.read(f"{prefix}data/{key}"))
        except damage as error:
            raise CheckpointError(f"{path} is truncated or damaged: {clean(error)}") from error

    return value, read


def _open_legacy(file: BinaryIO, path: Path, _: ExitStack) -> tuple[Any, Storages]:
    """Five pickles (magic number, version, machine, value, storage keys), then each storage."""
    source = str(path)
    if read_pickle(file, source) != LEGACY_MAGIC:
        raise CheckpointError(f"{path} is a pickle, but not a PyTorch checkpoint")
    read_pickle(file, source)
    machine = read_pickle(file, source)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise CheckpointError(f"{path} was written on a big-endian machine, which is not supported")
    value = read_pickle(file, source)
    keys = read_pickle(file, source)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError(f"{path} is damaged: its list of storages cannot be read")
    sizes = {ref.storage.key: _itemsize(ref.storage) for ref in _every_tensor(value)}
    places: dict[str, tuple[int, int]] = {}
    end = path.stat().st_size
    for key in keys:
        count = int.from_bytes(file.read(8), "little", signed=True)
        start, length = file.tell(), count * sizes.get(key, 0)
        if key not in sizes or length < 0 or start + length > end:
            raise CheckpointError(f"{path} is damaged: storage {clean(key)!r} has no usable length")
        places[key] = (start, length)
        file.seek(length, io.SEEK_CUR)

    def read(key: str) -> bytearray:
        start, length = places[key]
        file.seek(start)
        return bytearray(file.read(length))

    return value, read


def _itemsize(storage: StorageRef) -> int:
    return int(_dtype(storage).itemsize)


def _dtype(storage: StorageRef) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, storage.dtype)
    return dtype


def _every_tensor(value: Any) -> Iterable[TensorRef]:
    """All tensors anywhere in a value; each container is entered once, so shared and cyclic ones end."""
    entered, waiting = set(), [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, TensorRef):
            yield item
        elif isinstance(item, StandIn | dict | list | tuple) and id(item) not in entered:
            entered.add(id(item))
            parts = item.state if isinstance(item, StandIn) else item
            waiting.extend(parts.values() if isinstance(parts, dict) else parts)


def _materialise(references: dict[str, TensorRef], storages: Storages, path: Path) -> dict[str, Tensor]:
    """The tensors, as views of their storages: each of these is read once, however many look at it."""
    data: dict[str, bytearray] = {}
    tensors = {}
    for name, ref in references.items():
        key = ref.storage.key
        if key not in data:
            try:
                data[key] = storages(key)
            except KeyError:
                raise CheckpointError(
                    f"{path} is truncated or damaged: storage {clean(key)!r} is missing"
                ) from None
        tensors[name] = _view(name, ref, data[key], path)
    shown = sum(value.nbytes for value in tensors.values())
    if shown > max(FREE_BYTES, 3 * sum(map(len, data.values()))):
        raise CheckpointError(f"{path}: refused, its tensors show the same numbers again and again")
    return tensors


def _view(name: str, ref: TensorRef, data: bytearray, path: Path) -> Tensor:
    storage, size = ref.storage, _itemsize(ref.storage)
    if (storage.start + storage.length) * size > len(data):
        raise CheckpointError(f"{path} is truncated or damaged: storage {clean(storage.key)!r} is too short")
    elements = 1
    for side in ref.size:
        elements *= side
    last = ref.offset + sum((n - 1) * step for n, step in zip(ref.size, ref.stride, strict=True))
    # more elements than the storage has would be a tensor that repeats itself, which no network saves
    if elements > storage.length or (elements and last >= storage.length):
        raise CheckpointError(f"{path} is damaged: tensor {name!r} reaches outside its storage")
    try:
        if not elements:
            return torch.empty(ref.size, dtype=_dtype(storage))
        whole = torch.frombuffer(
            data, dtype=_dtype(storage), count=storage.length, offset=storage.start * size
        )
        return whole.as_strided(ref.size, ref.stride, ref.offset)
    except (RuntimeError, OverflowError, TypeError) as error:  # sizes past 64 bits beside a size of 0
        raise CheckpointError(f"{path} is damaged: tensor {name!r} has an impossible shape") from error
