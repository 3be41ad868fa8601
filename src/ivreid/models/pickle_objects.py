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
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
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
_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_NUMPY = ("numpy.core", "numpy._core")
"""Where numpy 1 and numpy 2 keep what their pickles name."""
_OPAQUE_CALLS = {
    *(f"{module}:{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(f"datetime:{name}" for name in ("date", "time", "datetime", "timedelta", "timezone")),
    *(f"{numpy}.multiarray:{name}" for numpy in _NUMPY for name in ("scalar", "_reconstruct")),
    *(f"{numpy}.numeric:_frombuffer" for numpy in _NUMPY),
    *(
        f"{module}:{name}"
        for module in ("builtins", "__builtin__")
        for name in ("complex", "slice", "range", "xrange", "bytearray", "bytes")
    ),
    *("numpy:dtype", "torch:device", "torch.serialization:_get_layout", "_codecs:encode"),
    *("types:SimpleNamespace", "uuid:UUID", "decimal:Decimal", "fractions:Fraction"),
}
"""Calls that stand for values beside the weights (dates, paths, numpy numbers): their result is opaque."""
_OPAQUE_CLASSES = {
    *("argparse:Namespace", "types:SimpleNamespace", "easydict:EasyDict", "yacs.config:CfgNode", "uuid:UUID"),
}
"""Classes of configurations that training programs put beside the weights."""
_PLAIN_TYPES = (
    *("int", "long", "float", "complex", "bool", "str", "unicode", "bytes", "bytearray"),
    *("list", "tuple", "dict", "set", "frozenset", "object", "type", "slice", "range"),
)
_TORCH_TYPES = {
    *(
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
        "complex128",
        "bool",
        "uint8",
        "int8",
        "int16",
    ),
    *("int32", "int64", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"),
    *("channels_last", "contiguous_format", "preserve_format", "Tensor"),
}
_NUMPY_TYPE = re.compile(
    r"numpy:(ndarray|bool_?|(u?int|float|complex)\d+|float_|int_|str_|bytes_|object_)", re.ASCII
)


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

    @property
    def is_opaque_class(self) -> bool:
        """Whether it is the class of a configuration, of which nothing is kept."""
        return self.text in _OPAQUE_CLASSES

    @property
    def is_known(self) -> bool:
        """Whether a file may mention it at all."""
        return (
            self.text in CALLS
            or self.text in TYPES
            or self.is_module_class
            or self.is_opaque_class
            or _NUMPY_TYPE.fullmatch(self.text) is not None
        )


@dataclass(frozen=True, eq=False)
class StandIn:
    """An object of a network module's class: its attributes and nothing else."""

    cls: Name
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Opaque:
    """A value beside the weights (a date, a path, a configuration): known to be harmless, and not kept."""

    name: Name


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


_PLAIN = (str, int, float, bool, type(None), bytes, Opaque, Name)


def plain_dict(items: list[Any]) -> dict[Any, Any]:
    """A dict of alternating keys and values; keys must be plain, so that hashing them is harmless."""
    keys, values = items[0::2], items[1::2]
    if len(keys) != len(values) or not all(map(_is_key, keys)):
        raise ValueError("a dict key that is no plain value")
    return dict(zip(keys, values, strict=True))


def _is_key(key: Any) -> bool:
    # a tuple in a tuple is refused: hashing deep ones ends the process
    return type(key) in _PLAIN or (type(key) is tuple and all(type(part) in _PLAIN for part in key))


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


def _default_dict(factory: Any = None, pairs: Any = ()) -> dict[Any, Any]:
    if factory is not None and type(factory) is not Name:
        raise ValueError("a default that is no name")
    return _ordered_dict(pairs)


def _counter(counts: Any = ()) -> dict[Any, Any]:
    return dict(counts) if type(counts) is dict else _ordered_dict(counts)


def _deque(items: Any = (), limit: Any = None) -> list[Any]:
    return list(_sequence(items))


def _subclass_tensor(function: Any, cls: Any, arguments: Any, state: Any) -> TensorRef:
    """A tensor with attributes, which are not kept."""
    name = checked(function, Name)
    if not name.text.startswith("torch._utils:_rebuild_") or type(arguments) is not tuple:
        raise ValueError("a tensor of an unknown kind")
    tensor: TensorRef = checked(CALLS[name.text](*arguments), TensorRef)
    return tensor


def _sequence(items: Any = ()) -> tuple[Any, ...]:
    if type(items) not in (list, tuple):
        raise ValueError("expected a list")
    return tuple(items)


def _reconstructed(cls: Any, base: Any, state: Any) -> StandIn | Opaque:
    name = checked(cls, Name)
    if name.is_opaque_class:
        return Opaque(name)
    if not name.is_module_class or checked(base, Name).text not in _OBJECTS or state is not None:
        raise ValueError("an object that is no network module")
    return StandIn(name)


CALLS: dict[str, Callable[..., Any]] = {
    "collections:OrderedDict": _ordered_dict,
    "collections:defaultdict": _default_dict,
    "collections:Counter": _counter,
    "collections:deque": _deque,
    "torch._tensor:_rebuild_from_type_v2": _subclass_tensor,
    "torch._utils:_rebuild_tensor": _tensor,
    "torch._utils:_rebuild_tensor_v2": _tensor,
    "torch._utils:_rebuild_parameter": _parameter,
    "torch._utils:_rebuild_parameter_with_state": _parameter,
    "torch:Size": _sequence,
    **dict.fromkeys(_SETS, _sequence),
    **dict.fromkeys(_RECONSTRUCTORS, _reconstructed),
    **{text: lambda *_, name=Name(text): Opaque(name) for text in sorted(_OPAQUE_CALLS)},
}
TYPES = {
    *(f"{module}:{name}" for module in ("builtins", "__builtin__") for name in _PLAIN_TYPES),
    *(f"torch:{name}" for name in (*STORAGE_TYPES, *_TORCH_TYPES)),
    *("torch._utils:torch.channels_last", "torch.nn.parameter:Parameter"),
}
