"""A plugin: one Python file of the user's that registers methods, datasets or protocols.

Only a person names one, with `--plugin` or `load_plugin`: no configuration, card or run folder ever makes
code run.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ivreid.catalogue import PLUGIN, REGISTRIES, Origin
from ivreid.errors import IvreidError, UsageError
from ivreid.paths import user_path
from ivreid.reading import clean, read_bytes

MAX_BYTES = 4 << 20
BROUGHT = "CLASSES_OF_PLUGIN"
"""The global of a plugin's module that holds the classes it registered."""


def load_plugin(path: Path | str) -> None:
    """Run a Python file that registers something; the same file a second time does nothing.

    It may import installed packages, but no file beside it. Runs that use what it registers record its name
    and hash.

    Args:
        path: A file whose code you trust.

    Raises:
        UsageError: No such file, one that is no Python or raises, or one that registers nothing.
    """
    path = user_path(path)
    if path.suffix != ".py":
        raise UsageError(f"--plugin {clean(path)}: a plugin is a Python file, FILE.py")
    data = read_bytes(path, MAX_BYTES, error=UsageError)
    origin = Origin.of_file(path, data)
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"ivreid_plugin_{place}_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, PLUGIN) == origin and getattr(loaded, BROUGHT) <= _registered():
        return
    module = ModuleType(name)
    module.__dict__.update({"__file__": str(path), PLUGIN: origin})
    before = {kind: registry.snapshot() for kind, registry in REGISTRIES.items()}
    known = _registered()
    sys.modules[name] = module
    linecache.checkcache(str(path))
    try:
        exec(compile(data, str(path), "exec", dont_inherit=True), module.__dict__)
        module.__dict__[BROUGHT] = _registered() - known
        if not module.__dict__[BROUGHT]:
            raise UsageError(
                "it registers nothing; put @ivreid.register_method, @ivreid.register_dataset or "
                "@ivreid.register_protocol above its class"
            )
    except (Exception, SystemExit) as error:
        for kind, kept in before.items():
            REGISTRIES[kind].restore(kept)
        sys.modules.pop(name)
        if loaded is not None:
            sys.modules[name] = loaded
        raise UsageError(f"the plugin {clean(path)} cannot be used: {_explain(error, path)}") from error


def _registered() -> set[type]:
    return {cls for registry in REGISTRIES.values() for cls in registry.others()}


def _explain(error: BaseException, path: Path) -> str:
    if isinstance(error, IvreidError):
        return str(error)
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}"


def blamed(error: BaseException) -> UsageError | None:
    """The sentence for an exception out of other people's code; None where none of it was at work.

    Args:
        error: What was raised, with its traceback.
    """
    if isinstance(error, IvreidError):
        return None
    homes = {
        cls.__module__.partition(".")[0]: (registry.kind, name, origin)
        for registry in REGISTRIES.values()
        for name, cls, origin in registry.foreign()
    }
    homes.pop("ivreid", None)
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        found = homes.get(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        if found is not None:
            kind, name, origin = found
            file = Path(frame.f_code.co_filename).name
            return UsageError(
                f"the {kind} {name!r} of {origin.source} failed, line {line} of {clean(file)}: "
                f"{type(error).__name__}: {clean(error)}; this is for its author to mend, and --verbose shows the "
                "way there"
            )
    return None
