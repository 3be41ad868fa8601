"""Where a checkpoint keeps its weights, among all the other things that training programs save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ivreid.errors import CheckpointError
from ivreid.models.pickle_objects import StandIn, TensorRef

MAX_MODULES = 100_000
MAX_TENSORS = 100_000
MAX_DEPTH = 64
PREFERRED = (
    *(
        "state_dict",
        "model_state_dict",
        "model_state",
        "model",
        "net",
        "network",
        "weights",
        "weight",
        "params",
    ),
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema"),
)
"""Keys under which training programs keep the model, in the order of choice where several hold as many tensors."""
COUNTER = "n_averaged"
"""What torch's averaged models keep beside their module."""

MAX_NAME = 500
_CONTAINERS = (StandIn, dict, list, tuple)

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """Named tensors and where they stood.

    Attributes:
        tensors: By name.
        keys: The keys that lead to them; none where the whole value is a state dict or a module.
    """

    tensors: dict[str, TensorRef]
    keys: tuple[str, ...]

    @property
    def rank(self) -> int:
        """How much the last key looks like a model's."""
        return PREFERRED.index(self.keys[-1]) if self.keys and self.keys[-1] in PREFERRED else len(PREFERRED)


def find_weights(value: Any, source: str) -> Entry | None:
    """The state dict or module of a checkpoint; None where nothing in it has named tensors.

    It is the one with the most tensors: centres, metrics and an optimiser's averages are fewer. Of those that
    hold at least half as many as the largest, the key's name decides, then the order in the file.

    Args:
        value: What the file holds, as `read_pickle` gives it.
        source: The file's name for messages.

    Raises:
        CheckpointError: Modules that are nested without end, or more tensors than any network has.
    """
    if not isinstance(value, _CONTAINERS):
        return None
    found = [entry for entry in _Search(source).entries(value) if entry.tensors]
    if not found:
        return None
    most = max(len(entry.tensors) for entry in found)
    return min((entry for entry in found if 2 * len(entry.tensors) >= most), key=lambda entry: entry.rank)


class _Search:
    """Goes through a value once, and counts: modules that share their children stand for endlessly many."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tensors = self.modules = 0

    def entries(self, value: Any) -> Iterator[Entry]:
        """Every mapping and every outermost module, each once."""
        entered: set[int] = set()
        waiting: list[tuple[Any, tuple[str, ...], Any]] = [(value, (), None)]
        while waiting:
            item, above, key = waiting.pop()
            if id(item) in entered or len(above) > MAX_DEPTH:
                continue
            entered.add(id(item))
            keys = (*above, key[:80]) if isinstance(key, str) else above
            if isinstance(item, StandIn):
                yield Entry(self.module(item), keys)
                continue
            if isinstance(item, dict):
                yield Entry(dict(self.direct("", item)), keys)
            parts = item.items() if isinstance(item, dict) else ((None, part) for part in item)
            inner = [(part, keys, name) for name, part in parts if isinstance(part, _CONTAINERS)]
            waiting.extend(reversed(inner))

    def direct(self, prefix: str, items: Any) -> Iterator[tuple[str, TensorRef]]:
        """The tensors that stand directly in a mapping."""
        for name, value in items.items() if isinstance(items, dict) else ():
            if isinstance(name, str) and isinstance(value, TensorRef):
                if len(prefix) + len(name) >= MAX_NAME:
                    raise CheckpointError(
                        f"{self.source} is damaged: it holds names of over {MAX_NAME} letters"
                    )
                self.tensors += 1
                yield f"{prefix}{name}", value
        if self.tensors > MAX_TENSORS:
            raise CheckpointError(f"{self.source}: refused, it names more tensors than any network has")

    def module(self, root: StandIn) -> dict[str, TensorRef]:
        """Parameters and buffers of a module and its children, named as `state_dict` names them."""
        named: dict[str, TensorRef] = {}
        waiting = [("", root, 0)]
        while waiting:
            prefix, module, depth = waiting.pop()
            self.modules += 1
            if depth > MAX_DEPTH or self.modules > MAX_MODULES or len(prefix) > MAX_NAME:
                raise CheckpointError(f"{self.source}: refused, its modules are nested without end")
            for group in ("_parameters", "_buffers"):
                named.update(self.direct(prefix, module.state.get(group)))
            children = module.state.get("_modules")
            # the last waits longest, so that names come in the order of `state_dict`
            for name, child in reversed(children.items()) if isinstance(children, dict) else ():
                if isinstance(child, StandIn):
                    waiting.append((f"{prefix}{name}.", child, depth + 1))
        return named


def without_shared_prefix(tensors: Mapping[str, T]) -> tuple[dict[str, T], str]:
    """The tensors without the prefix that all their names share, and that prefix.

    `DataParallel`, `torch.compile` and programs that keep the network in an attribute put one before every
    name: `module.`, `_orig_mod.`, `model.`, `backbone.`, several of them in turn.
    """
    named = {name: value for name, value in tensors.items() if name != COUNTER}
    first = next(iter(named), "").split(".")[:-1]
    shared: list[str] = []
    for part in first:
        start = ".".join([*shared, part]) + "."
        if not all(name.startswith(start) for name in named):
            break
        shared.append(part)
    prefix = ".".join(shared) + "." if shared else ""
    if not prefix:
        return dict(tensors), ""
    return {name.removeprefix(prefix): value for name, value in named.items()}, prefix
