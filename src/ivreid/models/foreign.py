"""Other programs' checkpoints as named tensors, without executing anything they contain."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ivreid.errors import CheckpointError
from ivreid.models.pickle_objects import StandIn, StorageRef, TensorRef
from ivreid.models.pickles import read_pickle
from ivreid.models.sealed import read_safetensors
from ivreid.reading import clean, reason

MAX_PICKLE_BYTES = 64 * 1024 * 1024
MAX_MODULES = 100_000
MAX_DEPTH = 64
MAX_NAME = 500
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What `torch.save` wrote first before its files became zip archives."""
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training programs keep the model among other things."""

Storages = Callable[[str], bytes]


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The named tensors of a checkpoint: safetensors, or what `torch.save` writes (zip or the older form).

    The pickled value may be a state dict, a dict that holds one, or a whole module; a leading "module." that
    `DataParallel` left on every name is taken off.

    Args:
        path: The file; its bytes are treated as hostile.

    Returns:
        Tensors on the CPU by name; several may share memory.

    Raises:
        CheckpointError: Missing or damaged, not a checkpoint, or it would call something (the message names
            it).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(0)
            if path.suffix == ".safetensors" or head[8:9] == b"{":
                return read_safetensors(path)[0]
            value, storages = _read_zip(file, path) if head[:2] == b"PK" else _read_legacy(file, path)
    except OSError as error:
        raise CheckpointError(f"cannot read {clean(path)}: {reason(error)}") from error
    references = _named(value, path)
    if not references:
        raise CheckpointError(f"{path} holds no named tensors: neither a state dict nor a module")
    if not all(name.isprintable() and len(name) < MAX_NAME for name in references):
        raise CheckpointError(f"{path} is damaged: it holds tensors whose names cannot be printed")
    tensors = _materialise(references, storages, path)
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _read_zip(file: BinaryIO, path: Path) -> tuple[Any, Storages]:
    """The archive's pickle, and its storages by key; entries lie there uncompressed and cannot explode."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            pickles = [name for name in entries if name.endswith("data.pkl")]
            if len(pickles) != 1:
                raise CheckpointError(f"{path} is a zip archive, but not a PyTorch checkpoint")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise CheckpointError(
                    f"{path}: refused, it holds compressed parts, which PyTorch never writes"
                )
            if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
                raise CheckpointError(f"{path}: refused, its parts claim more bytes than the file has")
            if entries[pickles[0]].file_size > MAX_PICKLE_BYTES:
                raise CheckpointError(f"{path}: refused, its pickle is over {MAX_PICKLE_BYTES:,} bytes")
            prefix = pickles[0].removesuffix("data.pkl")
            if f"{prefix}byteorder" in entries and archive.read(f"{prefix}byteorder") != b"little":
                raise CheckpointError(f"{path} was written on a big-endian machine, which is not supported")
            value = read_pickle(io.BytesIO(archive.read(pickles[0])), str(path))
            data = {
                name.removeprefix(f"{prefix}data/"): archive.read(name)
                for name in entries
                if "/data/" in name
            }
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}") from error
    return value, data.__getitem__


def _read_legacy(file: BinaryIO, path: Path) -> tuple[Any, Storages]:
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
    data: dict[str, bytes] = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little", signed=True)
        length = count * sizes.get(key, 0)
        if key not in sizes or not 0 <= length <= path.stat().st_size:
            raise CheckpointError(f"{path} is damaged: storage {key!r} has no usable length")
        data[key] = file.read(length)
    return value, data.__getitem__


def _itemsize(storage: StorageRef) -> int:
    return int(_dtype(storage).itemsize)


def _dtype(storage: StorageRef) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, storage.dtype)
    return dtype


def _every_tensor(value: Any) -> list[TensorRef]:
    """All tensors anywhere in a value; each container is entered once, so shared and cyclic ones end."""
    found, entered, waiting = [], set(), [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, TensorRef):
            found.append(item)
        elif isinstance(item, StandIn | dict | list | tuple) and id(item) not in entered:
            entered.add(id(item))
            parts = item.state if isinstance(item, StandIn) else item
            waiting.extend(parts.values() if isinstance(parts, dict) else parts)
    return found


def _named(value: Any, path: Path) -> dict[str, TensorRef]:
    if isinstance(value, StandIn):
        return _walk(value, path)
    if isinstance(value, dict):
        named = {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, TensorRef)}
        if named:
            return named
        for key in WRAPPERS:
            inner = value.get(key)
            if isinstance(inner, StandIn):
                return _walk(inner, path)
            if isinstance(inner, dict):
                return {k: v for k, v in inner.items() if isinstance(k, str) and isinstance(v, TensorRef)}
    return {}


def _walk(root: StandIn, path: Path) -> dict[str, TensorRef]:
    """Parameters and buffers of a module and its children, named as `state_dict` names them."""
    named: dict[str, TensorRef] = {}
    waiting, visited = [("", root, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        visited += 1
        if depth > MAX_DEPTH or visited > MAX_MODULES:
            raise CheckpointError(f"{path}: refused, its modules are nested without end")
        for group in ("_parameters", "_buffers"):
            own = module.state.get(group)
            for name, tensor in own.items() if isinstance(own, dict) else ():
                if isinstance(tensor, TensorRef):
                    named[f"{prefix}{name}"] = tensor
        children = module.state.get("_modules")
        # the last waits longest, so that names come in the order of `state_dict`
        for name, child in reversed(children.items()) if isinstance(children, dict) else ():
            if isinstance(child, StandIn):
                waiting.append((f"{prefix}{name}.", child, depth + 1))
    return named


def _materialise(references: dict[str, TensorRef], storages: Storages, path: Path) -> dict[str, Tensor]:
    buffers: dict[StorageRef, Tensor] = {}
    tensors = {}
    for name, ref in references.items():
        if ref.storage not in buffers:
            buffers[ref.storage] = _buffer(ref.storage, storages, path)
        elements = 1
        for size in ref.size:
            elements *= size
        last = ref.offset + sum((n - 1) * step for n, step in zip(ref.size, ref.stride, strict=True))
        # more elements than the storage has would be a tensor that repeats itself, which no network saves
        if elements > ref.storage.length or (elements and last >= ref.storage.length):
            raise CheckpointError(f"{path} is damaged: tensor {name!r} reaches outside its storage")
        try:
            tensors[name] = buffers[ref.storage].as_strided(
                ref.size, ref.stride, ref.offset if elements else 0
            )
        except (RuntimeError, OverflowError, TypeError) as error:  # sizes past 64 bits beside a size of 0
            raise CheckpointError(f"{path} is damaged: tensor {name!r} has an impossible shape") from error
    return tensors


def _buffer(storage: StorageRef, storages: Storages, path: Path) -> Tensor:
    try:
        data = storages(storage.key)
    except KeyError:
        raise CheckpointError(f"{path} is truncated or damaged: storage {storage.key!r} is missing") from None
    size = _itemsize(storage)
    part = data[storage.start * size : (storage.start + storage.length) * size]
    if len(part) != storage.length * size:
        raise CheckpointError(f"{path} is truncated or damaged: storage {storage.key!r} is too short")
    if not part:
        return torch.empty(0, dtype=_dtype(storage))
    return torch.frombuffer(bytearray(part), dtype=_dtype(storage))
