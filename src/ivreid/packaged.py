"""The configurations that come with the package, by name: `configs/*.yaml` of the repository.

The build copies them to `ivreid/configs` (setup.py). An editable install reads them where they are edited.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ivreid.errors import UsageError, did_you_mean

SUFFIX = ".yaml"


def packaged_names() -> tuple[str, ...]:
    """Their names, sorted, e.g. "sysu-mm01"."""
    return tuple(
        sorted(file.name.removesuffix(SUFFIX) for file in _folder().iterdir() if file.name.endswith(SUFFIX))
    )


def packaged_text(name: str) -> str:
    """A packaged configuration as written, comments included.

    Raises:
        UsageError: No such name.
    """
    if name not in packaged_names():
        raise UsageError(
            f"no packaged configuration is called {name!r}; {did_you_mean(name, packaged_names())}"
        )
    return _folder().joinpath(name + SUFFIX).read_text(encoding="utf-8")


def _folder() -> Traversable:
    built = files("ivreid").joinpath("configs")
    return built if built.is_dir() else Path(__file__).parents[2] / "configs"
