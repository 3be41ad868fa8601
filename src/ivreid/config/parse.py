"""From a YAML or INI file and overrides to a checked `Config`; errors name file, key and fix."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ivreid.catalogue import asked_for
from ivreid.config.ini import read_ini
from ivreid.config.problems import explain
from ivreid.config.recipes import apply_recipe, replaced_by, with_command_line_recipe
from ivreid.config.schema import DEFAULT_METHOD, Config
from ivreid.config.sources import OPTIONS, Sources
from ivreid.config.without_effect import without_effect
from ivreid.errors import ConfigError, DataError, IvreidError, did_you_mean
from ivreid.methods import get_method
from ivreid.packaged import packaged_names, packaged_text
from ivreid.reading import clean, read_json
from ivreid.types import Notice
from ivreid.yaml_text import parse_yaml, read_yaml

RECORD = "environment.json"
"""In a run folder: what produced the run."""


def load_config(
    path: Path | str | None,
    overrides: Iterable[str | tuple[str, Any]] = (),
    *,
    recipe: str | None = None,
    notice: Notice | None = None,
) -> Config:
    """Read a run's configuration.

    Args:
        path: A YAML file, one of the published INI files (`.ini`), or the name of a packaged configuration,
            e.g. "sysu-mm01"; a file of that name goes before it. None: no file.
        overrides: `KEY=VALUE` words, e.g. `optimizer.lr=0.001`, whose value is read as YAML, or pairs of key and
            value, taken as it is. Later ones win.
        recipe: A method's published settings in place of the file's method, batch, augmentation, optimiser,
            schedule, epochs, precision, embedding and image size, e.g. "agw"; "agw-published" also in place of
            `validation` and `data.train_on`.
        notice: Called with what a reader of an INI file or of a recipe should know (keys without effect,
            choices made).

    Raises:
        ConfigError: No such file or name, not YAML or INI, an unknown key, or a value of the wrong kind.
    """
    notice = notice or (lambda _: None)
    if path is None:
        tree: dict[str, Any] = {}
    elif Path(path).suffix.lower() == ".ini":
        tree, notes = read_ini(Path(path))
        for note in notes:
            notice(note)
    else:
        tree = _read_yaml(Path(path))
    tree, said, gone = copy.deepcopy(tree), [], []
    if recipe is not None:
        gone = replaced_by(tree, recipe)
        tree = with_command_line_recipe(tree, recipe)
        said.append(("recipe", f"--recipe {recipe}"))
    for word in overrides:
        key, value = _split(word) if isinstance(word, str) else word
        _override(tree, key, value)
        said.append((key, f"--set {word}" if isinstance(word, str) else _option(key, value)))
    sources = Sources(None if path is None else str(path), said)
    try:
        config = make_config(tree, sources, notice=notice)
    except IvreidError as error:
        missing = _plugins_asked_for(Path(path).parent if path else None, tree.get("out"))
        if missing:
            raise ConfigError(f"{sources.at('')}: {missing}") from error
        raise
    if gone:
        notice(f"--recipe {recipe} takes the place of {', '.join(gone)} in {path}; --set goes before both")
    return config


def make_config(
    tree: Mapping[str, Any], source: str | Sources = "configuration", *, notice: Notice | None = None
) -> Config:
    """Check a nested mapping and fill in what its recipe says, then every default, the method's included.

    Args:
        tree: What a file would hold.
        source: Where it comes from, for messages.
        notice: Called with what its reader should know, once it is found to be right.

    Raises:
        ConfigError: Every problem of the mapping, one a line.
    """
    source = Sources(source) if isinstance(source, str) else source
    given = tree
    tree, note = apply_recipe(given, source)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(source, Config, error)) from error
    settings = dict(config.method)
    method_name = settings.pop("name", DEFAULT_METHOD)
    if not isinstance(method_name, str):
        raise ConfigError(
            f"{source.at('method.name')}: method.name = {method_name!r} must be a method's name, e.g. {DEFAULT_METHOD}"
        )
    method = get_method(method_name)
    try:
        checked = method.Settings.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(explain(source, method.Settings, error, prefix=("method",))) from error
    resolved = {"name": method.name, **checked.model_dump(mode="json")}
    if config.init_from is not None:
        if settings.get("pretrained") is not None:
            both = f"init_from = {config.init_from} and method.pretrained = {settings['pretrained']}"
            raise ConfigError(
                f"{source.at('', both)}: {both} both name weights to start from; set method.pretrained=null"
            )
        resolved["pretrained"] = None
    if notice is not None:
        for line in (*([note] if note else []), *without_effect(given, config, source)):
            notice(line)
    return config.model_copy(update={"method": resolved})


def _plugins_asked_for(*folders: object) -> str:
    """What the record of a run in these folders asks for; empty where there is none, or nothing is missing."""
    for folder in folders:
        file = Path(str(folder)) / RECORD
        try:
            record = read_json(file) if folder is not None and file.is_file() else None
        except DataError:
            continue
        missing = asked_for(record.get("plugins")) if isinstance(record, dict) else ""
        if missing:
            return missing
    return ""


def dump_config(config: Config) -> dict[str, Any]:
    """The configuration as plain JSON values; `make_config` reads them back to an equal configuration."""
    return config.model_dump(mode="json")


def to_yaml(config: Config) -> str:
    """The configuration as YAML text, every default spelled out."""
    return yaml.safe_dump(dump_config(config), sort_keys=False, allow_unicode=True)


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Every key at which two nested mappings differ, dotted, with both values (None where absent)."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key), after.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{prefix}{key}.")
        elif one != other:
            found.append((prefix + key, one, other))
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    if str(path) in packaged_names() and (
        path.is_dir() or not path.exists()
    ):  # a dataset's folder may be so named
        tree = parse_yaml(packaged_text(str(path)), str(path))
    elif path.exists():
        tree = read_yaml(path)
    else:
        known = did_you_mean(path.stem, packaged_names())
        raise ConfigError(f"cannot read {clean(path)}: No such file, and no packaged configuration; {known}")
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise ConfigError(
            f"{path} must hold `key: value` lines, e.g. `epochs: 100`; it holds {type(tree).__name__}"
        )
    return tree


def _split(word: str) -> tuple[str, Any]:
    """Key and value of `a.b=value`, the value read as YAML."""
    key, equals, text = word.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {word}: it must read KEY=VALUE, e.g. --set optimizer.lr=0.001")
    return key, parse_yaml(text, f"--set {clean(word, 80)}: the value")


def _option(key: str, value: Any) -> str:
    """The words that say a value that was given as such."""
    return f"{OPTIONS[key]} {value}" if key in OPTIONS else f"{key}={value}"


def _override(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set `a.b` in the nested mapping, making the levels it passes."""
    *parents, last = key.split(".")
    for parent in parents:
        below = tree.get(parent)
        if below is None:
            below = tree[parent] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key}: {parent} is {below!r}, a plain value; it has no keys below it")
        tree = below
    tree[last] = value
