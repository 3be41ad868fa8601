"""Every key of a configuration with its type, default and meaning, for people and for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ivreid.config.schema import DEFAULT_METHOD, Config
from ivreid.errors import UsageError, did_you_mean
from ivreid.methods import METHODS, get_method

Schema = Mapping[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
NAMES = {"integer": "whole number", "string": "text", "boolean": "true or false"}


@dataclass(frozen=True)
class ConfigKey:
    """One key of a configuration.

    Attributes:
        name: Dotted, as `--set` takes it, e.g. "optimizer.lr"; keys of a list's entries hold "[]".
        type: What it takes, for people.
        default: As YAML writes it; None where a value must be given.
        meaning: One or more sentences.
    """

    name: str
    type: str
    default: str | None
    meaning: str


def describe_keys(prefix: str = "", *, method: str = DEFAULT_METHOD) -> tuple[ConfigKey, ...]:
    """Every key, or those that start with a prefix, in the order of the configuration.

    Args:
        prefix: A section ("optimizer"), a key, or the beginning of one.
        method: Whose own settings stand under `method`.

    Raises:
        UsageError: No key starts so, or an unknown method.
    """
    get_method(method)
    schema = config_schema()
    tree = {**schema, "properties": {**schema["properties"], "method": schema["$defs"][f"method-{method}"]}}
    keys = tuple(_walk(tree, schema["$defs"], ""))
    found = tuple(key for key in keys if key.name.startswith(prefix))
    if not found:
        raise UsageError(f"no key starts with {prefix!r}; {did_you_mean(prefix, [key.name for key in keys])}")
    return found


def config_schema() -> dict[str, Any]:
    """The configuration as JSON Schema (draft 2020-12), with the settings of every method."""
    schema = Config.model_json_schema()
    definitions, cases = schema["$defs"], []
    for name, kind in METHODS.items():
        own = kind.Settings.model_json_schema()
        definitions |= own.pop("$defs", {})
        own["properties"] = {
            "name": {"const": name, "default": name, "description": "The method."},
            **own.get("properties", {}),
        }
        definitions[f"method-{name}"] = own
        named = {"properties": {"name": {"const": name}}, "required": ["name"]}
        if name == DEFAULT_METHOD:  # meant where no name is given, too
            del named["required"]
        cases.append({"if": named, "then": {"$ref": f"#/$defs/method-{name}"}})
    schema["properties"]["method"] = {
        "type": "object",
        "description": schema["properties"]["method"]["description"],
        "properties": {"name": {"enum": list(METHODS), "default": DEFAULT_METHOD}},
        "allOf": cases,
    }
    return {"$schema": DIALECT, **schema}


def _walk(section: Schema, definitions: Schema, prefix: str) -> Iterator[ConfigKey]:
    """Every key of a section and of the sections in it."""
    for name, entry in section["properties"].items():
        key, parts = f"{prefix}{name}", _parts(entry, definitions)
        inner = next((part for part in parts if "properties" in part), None)
        entries = next((_resolve(part["items"], definitions) for part in parts if "items" in part), {})
        if inner is None or len(parts) > 1:  # a section that is always there is no key of its own
            required = name in section.get("required", ())
            default = None if required else json.dumps(entry.get("default"))
            yield ConfigKey(key, _type(entry, definitions), default, entry.get("description", ""))
        if inner is not None:
            yield from _walk(inner, definitions, f"{key}.")
        if "properties" in entries:
            yield from _walk(entries, definitions, f"{key}[].")


def _resolve(entry: Schema, definitions: Schema) -> Schema:
    return definitions[entry["$ref"].removeprefix("#/$defs/")] if "$ref" in entry else entry


def _parts(entry: Schema, definitions: Schema) -> list[Schema]:
    return [_resolve(part, definitions) for part in entry.get("anyOf", [entry])]


def _type(entry: Schema, definitions: Schema) -> str:
    return " or ".join(_one_type(part, definitions) for part in _parts(entry, definitions))


def _one_type(part: Schema, definitions: Schema) -> str:
    if "const" in part:
        return json.dumps(part["const"])
    if "enum" in part:
        return " | ".join(str(one) for one in part["enum"])
    kind = part.get("type")
    if kind == "object":
        return "a section"
    if kind == "array":
        inner = part.get("prefixItems") or [part["items"]]
        words = [_type(one, definitions) for one in inner]
        return f"[{', '.join(words)}]" if "prefixItems" in part else f"list, each {words[0]}"
    name = "path" if part.get("format") == "path" else NAMES.get(str(kind), str(kind))
    if "minimum" in part and "maximum" in part:
        return f"{name} {_plain(part['minimum'])} to {_plain(part['maximum'])}"
    bounds = " and ".join(f"{sign} {_plain(part[key])}" for key, sign in BOUNDS.items() if key in part)
    return f"{name} {bounds}".strip()


def _plain(bound: float) -> float:
    """Whole numbers without a point, which older pydantic gives to the bounds of all numbers."""
    return int(bound) if bound == int(bound) else bound
