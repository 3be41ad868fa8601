"""Pickles read without running them: a small machine that builds inert values and calls nothing.

Python's own unpickler imports and calls whatever a file names. This one walks the opcodes itself: a name
stays a name, the few constructors a PyTorch checkpoint needs are imitated by plain values, and every other
name is refused by saying it. No object of the file's choosing is ever made, so there is nothing to escape
from.
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

from ivreid.errors import CheckpointError
from ivreid.models.pickle_objects import CALLS, Name, Opaque, StandIn, checked, plain_dict, storage_of

MAX_OPCODES = 2_000_000
"""A whole ResNet-152 takes 80 thousand; each may build some 200 bytes."""
MAX_COPIED = 4_000_000
"""Values that calls copy: a set of a list that stands once in the file may be asked for thousands of times."""
MAX_BYTES = 64 << 20


def read_pickle(file: BinaryIO, source: str) -> Any:
    """The value of the next pickle in a file, built from inert parts.

    Args:
        file: Read up to the end of the pickle, and no further; no more than `MAX_BYTES` of it.
        source: The file's name for messages.

    Returns:
        Plain Python values, `StandIn`, `TensorRef` and `Name`; sets come back as tuples.

    Raises:
        CheckpointError: It names anything but tensors, containers and network modules, or is damaged.
    """
    try:
        return _Machine(source).run(_Limited(file, source))  # type: ignore[arg-type]
    except CheckpointError:
        raise
    except Exception as error:  # whatever hostile bytes provoke is the same news to the user
        raise CheckpointError(
            f"{source} is damaged or not a PyTorch checkpoint; give the file that `torch.save` or safetensors wrote"
        ) from error


class _Limited:
    """A file of which no more than `MAX_BYTES` are read."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        start = file.tell()
        there = file.seek(0, os.SEEK_END) - start  # a claim to more would be allocated before it is read
        file.seek(start)
        self.file, self.source, self.left = file, source, MAX_BYTES
        self.there = there
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        return self._counted(self.file.read(min(size, self.left + 1, self.there)))

    def readline(self) -> bytes:
        return self._counted(self.file.readline(self.left + 1))

    def _counted(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise CheckpointError(f"{self.source}: refused, its pickle is over {MAX_BYTES:,} bytes")
        return data


class _Machine:
    """The stack, the marks and the memo of the pickle language, and one method an opcode."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def run(self, file: BinaryIO) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_OPCODES:
                raise CheckpointError(
                    f"{self.source} is too large a pickle: over {MAX_OPCODES:,} instructions"
                )
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _LITERALS:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name in _ACTIONS:
                _ACTIONS[opcode.name](self, argument)
            else:
                raise CheckpointError(f"{self.source}: refused, it uses the pickle instruction {opcode.name}")
        raise ValueError("no STOP")

    def refuse(self, name: object) -> NoReturn:
        raise CheckpointError(
            f"{self.source}: refused, because loading it would call {name}; only tensors, containers, plain "
            f"values and network modules are read, and nothing was executed"
        )

    # stack and memo

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self, _: Any = None) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # containers

    def tuple_(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) < count:
            raise ValueError("stack underflow")
        self.stack[-count:] = [tuple(items)]

    def marked_tuple(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def marked_list(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(items)

    def marked_dict(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(plain_dict(items))

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        self._list().append(item)

    def appends(self, _: Any) -> None:
        items = self.pop_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        if type(self.stack[-1]) is Opaque:
            return []
        if type(self.stack[-1]) is not list:
            raise ValueError("append to something else than a list")
        return self.stack[-1]

    def setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._dict().update(plain_dict([key, value]))

    def setitems(self, _: Any) -> None:
        items = self.pop_mark()
        self._dict().update(plain_dict(items))

    def _dict(self) -> dict[Any, Any]:
        if type(self.stack[-1]) is Opaque:
            return {}
        if type(self.stack[-1]) is not dict:
            raise ValueError("item of something else than a dict")
        return self.stack[-1]

    # names, and what stands for calls

    def global_(self, text: str) -> None:
        module, _, name = text.partition(" ")
        self._push_name(module, name)

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is no text")
        self._push_name(module, name)

    def _push_name(self, module: str, qualname: str) -> None:
        name = Name(f"{module}:{qualname}")
        if not name.is_known:
            self.refuse(name)
        self.stack.append(name)

    def reduce(self, _: Any) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or type(arguments) is not tuple:
            raise ValueError("a call of something without a name")
        if name.text not in CALLS:
            self.refuse(name)
        self.copied += sum(len(one) for one in arguments if isinstance(one, list | tuple | dict))
        if self.copied > MAX_COPIED:
            raise CheckpointError(f"{self.source}: refused, loading it would copy values without end")
        self.stack.append(CALLS[name.text](*arguments))

    def newobj(self, _: Any) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or type(arguments) is not tuple:
            raise ValueError("an object made of something without a name")
        if name.is_opaque_class:
            self.stack.append(Opaque(name))
            return
        if not name.is_module_class:
            self.refuse(name)
        if arguments:
            raise ValueError("an object made with arguments")
        self.stack.append(StandIn(name))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) in (dict, Opaque):  # such as a state dict's `_metadata`, a date's time zone
            return
        if not isinstance(target, StandIn) or type(state) is not dict:
            raise ValueError("state of something else than a network module")
        target.state.update({key: value for key, value in state.items() if type(key) is str})

    def persistent(self, _: Any) -> None:
        kind, *rest = self.stack.pop()
        if kind == "module":  # the class of a module, with its source text, in files of early versions
            self.stack.append(checked(rest[0], Name))
        elif kind == "storage":
            self.stack.append(storage_of(*rest))
        else:
            raise ValueError("an unknown kind of outside object")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,  # filled by ADDITEMS like a list; nothing reads a set's members
}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.dup,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "MEMOIZE": _Machine.memoize,
    "TUPLE1": lambda machine, _: machine.tuple_(1),
    "TUPLE2": lambda machine, _: machine.tuple_(2),
    "TUPLE3": lambda machine, _: machine.tuple_(3),
    "TUPLE": _Machine.marked_tuple,
    "FROZENSET": _Machine.marked_tuple,
    "LIST": _Machine.marked_list,
    "DICT": _Machine.marked_dict,
    "APPEND": _Machine.append,
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _Machine.appends),
    "SETITEM": _Machine.setitem,
    "SETITEMS": _Machine.setitems,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.newobj,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
