"""What is chosen by name: methods, datasets and protocols, ours and other people's.

Ours are listed here with the place of their class. Others come from `register_*` in the same process, a
plugin file included, or from installed packages by entry points; a package's names are known without loading
it, and it is loaded when one of them is used.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from ivreid.errors import IvreidError, UsageError, did_you_mean
from ivreid.reading import clean

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Origin:
    """Where a class that is not ours comes from.

    Attributes:
        source: A file's name, or a package and its version.
        sha256: Of the file.
    """

    source: str
    sha256: str | None = None

    @classmethod
    def of_file(cls, path: Path, data: bytes) -> Origin:
        """A file with this content."""
        return cls(path.name, hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"{self.source} (sha256 {self.sha256[:SHOWN_DIGITS]}...)" if self.sha256 else self.source


PLUGIN = "ORIGIN_OF_PLUGIN"
"""The global of a plugin's module that says where it comes from: what was run, and not what lies there now."""


class Registry(Mapping[str, Any]):
    """Classes by their `name`.

    Args:
        kind: What they are, in one word for messages.
        group: The entry points' group.
        check: `module:function` of what a registered class must have; it raises a UsageError.
        ours: `module:class` of each of ours by its name.
    """

    def __init__(self, kind: str, group: str, check: str, ours: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._check, self._ours = check, dict(ours)
        self._others: dict[str, type] = {}
        self._origins: dict[str, Origin] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._ours, *self._others, *_offered(self.group)]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._others or name in _offered(self.group)

    def __getitem__(self, name: str) -> Any:
        offers = _offered(self.group).get(name, ())
        if offers and (name in self._ours or len(offers) > 1):
            packages = [_package(offer) for offer in offers] + (["ivreid"] if name in self._ours else [])
            raise UsageError(
                f"the packages {' and '.join(packages)} both offer a {self.kind} {name!r}; uninstall one of them"
            )
        if name in self._others:
            return self._others[name]
        if name in self._ours:
            return _resolve(self._ours[name])
        if offers:
            return self._load(offers[0])
        raise KeyError(name)

    def find(self, name: str) -> Any:
        """The class of that name.

        Raises:
            UsageError: Unknown; the message names the closest ones. Or it cannot be loaded.
        """
        if name not in self:
            raise UsageError(self.unknown(name))
        return self[name]

    def unknown(self, name: str) -> str:
        """A message about an unknown name."""
        hint = did_you_mean(name, self)
        own = "" if hint.startswith("did you mean") else "; one of your own is loaded with --plugin FILE.py"
        return f"unknown {self.kind} {name!r}; {hint}{own}"

    def register(self, cls: Any) -> Any:
        """Take a class in under its `name`, and give it back.

        Raises:
            UsageError: The name is taken, or the class lacks something.
        """
        _resolve(self._check)(cls)
        name, place = cls.name, f"{cls.__module__}:{cls.__qualname__}"
        if self._ours.get(name) == place:
            return cls
        offers = _offered(self.group).get(name, ())
        origin = _origin(cls)
        if any(offer.value == place for offer in offers):
            origin = Origin(_package(offers[0]))
        elif name in self._ours or offers:
            whose = _package(offers[0]) if offers else "ivreid itself"
            raise UsageError(f"the name of the {self.kind} {name!r} is taken by {whose}; choose another")
        old = self._others.get(name, cls)
        if f"{old.__module__}:{old.__qualname__}" != place:  # but a notebook's cell may run again
            raise UsageError(
                f"the name of the {self.kind} {name!r} is taken by {old.__qualname__} of "
                f"{self._origins[name].source}; choose another"
            )
        self._others[name], self._origins[name] = cls, origin
        return cls

    def origin(self, name: str) -> Origin | None:
        """Where the class of that name comes from; None for ours.

        Raises:
            UsageError: It cannot be loaded, which a package's class is for it.
        """
        self.find(name)
        return self._origins.get(name)

    def others(self) -> tuple[type, ...]:
        """The classes that were registered in this process and are not ours."""
        return tuple(self._others.values())

    def foreign(self) -> list[tuple[str, type, Origin]]:
        """What is registered and not ours: the name, the class, and where it comes from."""
        return [(name, cls, self._origins[name]) for name, cls in self._others.items()]

    def snapshot(self) -> tuple[dict[str, type], dict[str, Origin]]:
        """What is registered, for `restore`."""
        return dict(self._others), dict(self._origins)

    def restore(self, snapshot: tuple[dict[str, type], dict[str, Origin]]) -> None:
        """Forget what was registered since."""
        self._others, self._origins = dict(snapshot[0]), dict(snapshot[1])

    @contextmanager
    def holding(self, cls: Any) -> Iterator[None]:
        """Know a class for a while; one that is registered already stays."""
        before = self.snapshot()
        self.register(cls)
        try:
            yield
        finally:
            self.restore(before)

    def _load(self, offer: EntryPoint) -> Any:
        whose = f"the {self.kind} {offer.name!r} of the package {_package(offer)}"
        try:
            cls = offer.load()
        except IvreidError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"{whose} cannot be loaded: {type(error).__name__}: {error}") from error
        if getattr(cls, "name", None) != offer.name:
            raise UsageError(f"{whose} calls itself {getattr(cls, 'name', None)!r}; both names must be one")
        self.register(cls)
        self._origins[offer.name] = Origin(_package(offer))
        return cls


METHODS = Registry(
    "method",
    "ivreid.methods",
    "ivreid.methods.base:check_class",
    {
        "iv-reid": "ivreid.methods.iv_reid:IVReID",
        "agw": "ivreid.methods.agw:AGW",
        "baseline": "ivreid.methods.baseline:Baseline",
        "caj": "ivreid.methods.caj:CAJ",
        "caj-plus": "ivreid.methods.caj_plus:CAJPlus",
        "deen": "ivreid.methods.deen:DEEN",
        "dns": "ivreid.methods.dns:DNS",
        "idkl": "ivreid.methods.idkl:IDKL",
        "mcja": "ivreid.methods.mcja:MCJA",
        "mpanet": "ivreid.methods.mpanet:MPANet",
        "pmt": "ivreid.methods.pmt:PMT",
        "saai": "ivreid.methods.saai:SAAI",
    },
)
"""Every method; a new one of ours is one file and one line here."""

DATASETS = Registry(
    "dataset",
    "ivreid.datasets",
    "ivreid.datasets.base:check_class",
    {
        "sysu-mm01": "ivreid.datasets.sysu_mm01:SysuMM01",
        "regdb": "ivreid.datasets.regdb:RegDB",
        "llcm": "ivreid.datasets.llcm:LLCM",
        "folder": "ivreid.datasets.folder:FolderDataset",
        "csv": "ivreid.datasets.csv_table:CsvDataset",
    },
)
"""Every dataset; a new one of ours is one file and one line here."""

PROTOCOLS = Registry(
    "protocol",
    "ivreid.protocols",
    "ivreid.protocols.base:check_class",
    {
        "sysu-mm01": "ivreid.protocols.sysu_mm01:SysuMM01",
        "regdb": "ivreid.protocols.regdb:RegDB",
        "llcm": "ivreid.protocols.llcm:LLCM",
        "cross-modality": "ivreid.protocols.cross_modality:CrossModality",
    },
)
"""Every protocol; a dataset without one of its own takes `cross-modality`."""

AUGMENTATIONS = Registry("augmentation", "ivreid.augmentations", "ivreid.data.own_changes:check_function", {})
"""Changes to training images that other people wrote; ours are keys of `augment`."""

REGISTRIES = {registry.kind: registry for registry in (METHODS, DATASETS, PROTOCOLS, AUGMENTATIONS)}


def provenance(**names: str | Sequence[str]) -> list[dict[str, Any]]:
    """What a record must say about the classes a run used that are not ours.

    Args:
        **names: The name used, or several, by kind: `method="mine", dataset="regdb"`.

    Returns:
        JSON values: kind, name, source and sha256 of each.
    """
    used = [
        (kind, one) for kind, name in names.items() for one in ([name] if isinstance(name, str) else name)
    ]
    origins = [(kind, name, REGISTRIES[kind].origin(name)) for kind, name in used]
    return [{"kind": kind, "name": name, **asdict(origin)} for kind, name, origin in origins if origin]


def changes(recorded: Any) -> list[str]:
    """What has changed since a record of `provenance` was made, one sentence each.

    Args:
        recorded: The record, as read from a file.
    """
    lines = []
    for entry in _entries(recorded):
        registry = REGISTRIES[entry["kind"]]
        then, name = Origin(entry["source"], entry["sha256"]), entry["name"]
        now = registry.origin(name) if name in registry else None
        if now is None or now == then:
            continue
        if now.sha256 and then.sha256 and now.source == then.source:
            lines.append(
                f"{now.source}, where the {registry.kind} {name!r} comes from, has changed since the training: "
                f"sha256 {then.sha256[:SHOWN_DIGITS]}... then, {now.sha256[:SHOWN_DIGITS]}... now"
            )
        else:
            lines.append(f"the {registry.kind} {name!r} came from {then} in the training, now from {now}")
    return lines


def asked_for(recorded: Any) -> str:
    """What to give again, as a record of `provenance` says; empty where everything is known."""
    missing = [entry for entry in _entries(recorded) if entry["name"] not in REGISTRIES[entry["kind"]]]
    return "; ".join(
        f"the {entry['kind']} {entry['name']!r} came from {Origin(entry['source'], entry['sha256'])}: "
        + ("give that file again with --plugin FILE.py" if entry["sha256"] else "install it")
        for entry in missing
    )


def _entries(recorded: Any) -> Iterator[dict[str, Any]]:
    """The entries of a record that are sound; it may come from anyone's file."""
    for entry in recorded if isinstance(recorded, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256", ""), str | None):
            continue
        texts = [entry.get(key) for key in ("kind", "name", "source")]
        if all(isinstance(text, str) for text in texts) and texts[0] in REGISTRIES:
            yield {key: entry.get(key) and clean(entry[key]) for key in ("kind", "name", "source", "sha256")}


def check_name(kind: str, cls: Any, base: type) -> None:
    """What every registered class must have.

    Raises:
        UsageError: It is no class derived from `base`, lacks methods, or its `name` is no name.
    """
    shown = getattr(cls, "__qualname__", repr(cls))
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UsageError(f"{shown} is no {kind}: it must be a class derived from {base.__name__}")
    lacking = sorted(getattr(cls, "__abstractmethods__", ()))
    if lacking:
        raise UsageError(f"the {kind} {shown} lacks {', '.join(lacking)}")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(
            f"the {kind} {shown} needs a `name` of small letters, digits and hyphens, not {name!r}"
        )


def check_functions(kind: str, cls: Any, **arguments: str) -> None:
    """Refuse a class whose functions cannot be called as they will be.

    Args:
        kind: What the class is, for the message.
        cls: The class.
        **arguments: By the function's name, what it is given after `self`, e.g. `embed="images, infrared"`.

    Raises:
        UsageError: The message names the function and what it must take.
    """
    for name, given in arguments.items():
        signature = inspect.signature(getattr(cls, name))
        try:
            signature.bind(None, *given.split(", "))
        except TypeError:
            raise UsageError(
                f"the {kind} {cls.__qualname__}: {name} must take ({given}) after self, it takes {signature}"
            ) from None


@lru_cache(maxsize=16)
def _search(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, list[EntryPoint]] = {}
    for offer in entry_points(group=group):
        if all(offer.value != other.value for other in found.setdefault(offer.name, [])):
            found[offer.name].append(offer)
    return {name: tuple(offers) for name, offers in found.items()}


def _offered(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """What installed packages offer; looked up anew where the search path has changed."""
    return _search(group, tuple(sys.path))


def _package(offer: EntryPoint) -> str:
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else offer.value


def _resolve(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _origin(cls: type) -> Origin:
    module = sys.modules.get(cls.__module__)
    plugin: Origin | None = getattr(module, PLUGIN, None)
    if plugin is not None:
        return plugin
    file = getattr(module, "__file__", None)
    try:
        return Origin.of_file(Path(file), Path(file).read_bytes()) if file else Origin("this session")
    except OSError:
        return Origin(Path(str(file)).name)
