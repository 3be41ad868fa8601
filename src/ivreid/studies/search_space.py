"""The search space of a tuning: which settings vary, between which values."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ivreid.config.parse import dump_config, make_config
from ivreid.config.schema import Config
from ivreid.errors import ConfigError, IvreidError
from ivreid.methods import get_method
from ivreid.section import Section
from ivreid.yaml_text import read_yaml

Scalar = bool | int | float | str | None


class Range(Section):
    """A number between two ends, both included.

    Attributes:
        low: The smallest value.
        high: The largest.
        log: Whether equal ratios count as equal steps: right for learning rates.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} must be above zero where log is true")
        return self

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The values at which a search tries the configuration before it starts."""
        return (self.low, self.high)


class Choices(Section):
    """One of a few values.

    Attributes:
        choices: At least two plain values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    choices: Annotated[tuple[Scalar, ...], Field(min_length=2, strict=False)]

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """Every value."""
        return self.choices


Space = dict[str, Range | Choices]

GENERAL_SPACE: Mapping[str, Range | Choices] = {
    "optimizer.lr": Range(low=1e-5, high=3e-3, log=True),
    "optimizer.weight_decay": Range(low=1e-5, high=1e-2, log=True),
    "augment.erasing": Choices(choices=(0.0, 0.25, 0.5)),
    "augment.channel_exchange": Choices(choices=(0.0, 0.25, 0.5, 0.75)),
}
"""What every method is sensitive to; a method adds settings of its own with `search`."""


def default_space(config: Config) -> Space:
    """What is searched unless a file says it: the general settings, and what the method names itself."""
    method = get_method(config.method["name"])
    own, problems = _entries({f"method.{key}": entry for key, entry in method.search.items()}, method.name)
    if problems:
        raise ConfigError("\n".join(problems))
    return {**GENERAL_SPACE, **own}


def _entries(entries: Mapping[str, Any], source: str) -> tuple[Space, list[str]]:
    """Each entry as what it stands for, and a line for each that stands for nothing."""
    space, problems = Space(), list[str]()
    for key, entry in entries.items():
        try:
            space[str(key)] = _entry(entry)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                where = ".".join(map(str, one["loc"][:1]))
                said = one["msg"].removeprefix("Value error, ")
                problems.append(f"{source}: {key}{'.' if where else ''}{where}: {said}")
    return space, problems


def _entry(entry: Any) -> Range | Choices:
    kind: type[Range | Choices] = Choices if isinstance(entry, Mapping) and "choices" in entry else Range
    return TypeAdapter(kind).validate_python(entry)


def read_space(path: Path | str, config: Config) -> Space:
    """Read a search space.

    Args:
        path: A YAML file: under `search:`, keys of the configuration with `{low, high, log}` or `{choices}`.
        config: What the keys must fit.

    Raises:
        ConfigError: No such file, not YAML, an unknown key, or values that do not fit: all of them.
    """
    tree = read_yaml(path)
    entries = tree.get("search") if isinstance(tree, dict) else None
    if not isinstance(entries, dict) or not entries or len(tree) > 1:
        raise ConfigError(
            f"{path} must hold `search:` and below it lines such as "
            "`optimizer.lr: {low: 0.00001, high: 0.001, log: true}`"
        )
    space, problems = _entries(entries, str(path))
    if problems:
        raise ConfigError("\n".join(problems))
    check_space(space, config, str(path))
    return space


def check_space(space: Mapping[str, Range | Choices], config: Config, source: str) -> None:
    """Try every end and choice in the configuration, so that no search fails hours later.

    Raises:
        ConfigError: Keys or values that the configuration refuses, one a line.
    """
    known = flat(dump_config(config))
    problems = []
    for key, one in space.items():
        if key not in known:
            problems.append(
                f"{source}: {key}: no such setting; `ivreid train` writes them all to config.yaml"
            )
            continue
        for value in one.ends:
            try:
                with_values(config, {key: value})
            except IvreidError as error:
                problems.append(f"{source}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with dotted keys changed.

    Raises:
        ConfigError: A value that does not fit.
    """
    tree = copy.deepcopy(dump_config(config))
    for key, value in values.items():
        *parents, last = key.split(".")
        below = tree
        for parent in parents:
            below = below[parent]
        below[last] = value
    return make_config(tree, source=", ".join(f"{key}={value}" for key, value in values.items()))


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping's plain values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found
