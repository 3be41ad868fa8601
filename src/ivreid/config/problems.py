"""What is wrong with a configuration, in sentences: the key, the value, and what would be right."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ivreid.config.sources import Sources
from ivreid.errors import did_you_mean

NUMBER_WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}


def explain(
    source: Sources, model: type[BaseModel], error: ValidationError, prefix: tuple[str, ...] = ()
) -> str:
    """One line a problem: file, key path, value, and what would be right."""
    lines = []
    for problem in error.errors(include_url=False):
        keys = problem["loc"]
        where = ".".join(str(key) for key in (*prefix, *keys))
        said = _sentence(problem, where, model)
        lines.append(f"{source.at(where, said)}: {said}")
    return "\n".join(lines)


def _sentence(problem: Any, where: str, model: type[BaseModel]) -> str:
    """What is wrong with a key, and what would be right."""
    keys, value = problem["loc"], problem["input"]
    if problem["type"] == "extra_forbidden":
        section = _model_at(model, keys[:-1])
        known = sorted(section.model_fields) if section else []
        return f"{where}: unknown key; {did_you_mean(str(keys[-1]), known, listed=30)}"
    if problem["type"] == "finite_number":
        return f"{where} = {value}: it must be a finite number; null where there shall be no limit"
    if problem["type"] == "value_error":  # from our own validators: their text says it all
        said = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {said}" if where else said
    if problem["type"] in ("missing", "too_long") and (told := _told(problem, where, model)):
        return told
    return f"{where} = {value!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _told(problem: Any, where: str, model: type[BaseModel]) -> str:
    """What a missing value, or a list of too few or too many, should be; empty where the model does not say."""
    keys = problem["loc"]
    inside = problem["type"] == "missing" and isinstance(keys[-1], int)
    path = keys[:-1] if inside else keys
    section = _model_at(model, path[:-1])
    info = section.model_fields.get(str(path[-1])) if section else None
    if info is None:
        return ""
    meaning = (info.description or "").split(";")[0].split(",")[0].rstrip(".")
    meaning = meaning[:1].lower() + meaning[1:]
    if problem["type"] == "missing" and not inside:
        return f"{where} is missing: {meaning}"
    kinds = _tuple_in(info.annotation)
    if kinds is None:
        return ""
    whole = "whole " if all(_is_whole(kind) for kind in kinds) else ""
    count = NUMBER_WORDS.get(len(kinds), str(len(kinds)))
    name = where.removesuffix(f".{keys[-1]}") if inside else where
    return f"{name} = {problem['input']!r}: it takes {count} {whole}numbers: {meaning}"


def _tuple_in(annotation: Any) -> tuple[Any, ...] | None:
    """What stands in a tuple of fixed length that a value may be."""
    parts = get_args(annotation)
    if get_origin(annotation) is tuple:
        return parts if parts and Ellipsis not in parts else None
    return next((found for part in parts if (found := _tuple_in(part)) is not None), None)


def _is_whole(kind: Any) -> bool:
    return kind is int or any(_is_whole(part) for part in get_args(kind)[:1])


def _model_at(model: type[BaseModel], keys: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The section class that `keys` lead to, or None where they lead to a plain value."""
    for key in keys:
        if isinstance(
            key, int
        ):  # a place in a list of sections: the list's own annotation was unwrapped before
            continue
        info = model.model_fields.get(key)
        inner = None if info is None else _section_in(info.annotation)
        if inner is None:
            return None
        model = inner
    return model


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)
