"""What stands for the objects of a pickled checkpoint: plain values that can do nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

STORAGE_TYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

_MODULE_CLASS = re.compile(
    r"torch\.nn\.modules\.[a-z0-9_]+:[A-Z][A-Za-z0-9_]*"
    r"|torch\.nn\.parallel\.data_parallel:DataParallel"
    r"|model\.(baseline|resnet):[A-Z][A-Za-z0-9_]*",
    re.ASCII,
)
_SETS = ("builtins:set", "__builtin__:set", "builtins:frozenset", "__builtin__:frozenset")
_RECONSTRUCTORS = ("copy_reg:_reconstructor", "copyreg:_reconstructor")
_PUBLIC = {"posix": "os", "nt": "os", "__builtin__": "builtins", "_io": "io", "commands": "subprocess"}
"""Where a pickle's spelling of a module is not the one people know."""
_OBJECTS = ("builtins:object", "__builtin__:object")


@dataclass(frozen=True)
class Name:
    """A name the file mentions; nothing is imported for it."""

    text: str

    def __str__(self) -> str:
        # a hostile name must not reach a terminal as control codes, or as a page of text
        text = "".join(c if c.isprintable() else "?" for c in self.text[:200])
        module, _, name = text.partition(":")
        public = _PUBLIC.get(module)
        return f"{public}.{name} ({module}.{name})" if public else f"{module}.{name}"

    @property
    def is_module_class(self) -> bool:
        """Whether it is a network module's class, which a stand-in may represent."""
        return _MODULE_CLASS.fullmatch(self.text) is not None


@dataclass(frozen=True, eq=False)
class StandIn:
    """An object of a network module's class: its attributes and nothing else."""

    cls: Name
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StorageRef:
    """Where a tensor's numbers lie: a storage's key, its type, its first element and length in elements."""

    key: str
    dtype: str
    start: int
    length: int


@dataclass(frozen=True)
class TensorRef:
    """A tensor not yet read: a storage seen with a size, strides and an offset, all in elements."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def plain_dict(items: list[Any]) -> dict[Any, Any]:
    """A dict of alternating keys and values; keys must be plain, so that hashing them is harmless."""
    keys, values = items[0::2], items[1::2]
    if len(keys) != len(values) or any(type(key) not in (str, int, float, bool, type(None)) for key in keys):
        raise ValueError("a dict key that is no plain value")
    return dict(zip(keys, values, strict=True))


def checked(value: Any, kind: type) -> Any:
    """The value, if it is exactly of that kind; ValueError otherwise, as everywhere below."""
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("expected a count")
    return value


def storage_of(kind: Any, key: Any, location: Any, numel: Any, view: Any = None) -> StorageRef:
    """The storage a persistent id describes; its device (`location`) does not matter here."""
    dtype = STORAGE_TYPES[checked(kind, Name).text.removeprefix("torch:")]
    start, length = 0, _count(numel)
    if view is not None:
        _, start, length = view
    return StorageRef(checked(key, str), dtype, _count(start), _count(length))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRef:
    sizes, strides = tuple(map(_count, size)), tuple(map(_count, stride))
    if len(sizes) != len(strides) or len(sizes) > 8:
        raise ValueError("size and stride do not fit")
    return TensorRef(checked(storage, StorageRef), _count(offset), sizes, strides)


def _parameter(data: Any, *_: Any) -> TensorRef:
    tensor: TensorRef = checked(data, TensorRef)
    return tensor


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    return plain_dict([part for pair in pairs for part in _pair(pair)])


def _pair(pair: Any) -> Any:
    if type(pair) not in (list, tuple) or len(pair) != 2:
        raise ValueError("expected a pair")
    return pair


def _sequence(items: Any = ()) -> tuple[Any, ...]:
    if type(items) not in (list, tuple):
        raise ValueError("expected a list")
    return tuple(items)


def _reconstructed(cls: Any, base: Any, state: Any) -> StandIn:
    name = checked(cls, Name)
    if not name.is_module_class or checked(base, Name).text not in _OBJECTS or state is not None:
        raise ValueError("an object that is no network module")
    return StandIn(name)


CALLS: dict[str, Callable[..., Any]] = {
    "collections:OrderedDict": _ordered_dict,
    "torch._utils:_rebuild_tensor": _tensor,
    "torch._utils:_rebuild_tensor_v2": _tensor,
    "torch._utils:_rebuild_parameter": _parameter,
    "torch._utils:_rebuild_parameter_with_state": _parameter,
    "torch:Size": _sequence,
    **dict.fromkeys(_SETS, _sequence),
    **dict.fromkeys(_RECONSTRUCTORS, _reconstructed),
}
TYPES = {*_OBJECTS, *(f"torch:{name}" for name in STORAGE_TYPES)}
