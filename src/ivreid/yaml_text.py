"""YAML that people and other programs wrote: safe, by a budget, with the line of what cannot be read."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import yaml

from ivreid.errors import ConfigError
from ivreid.reading import MAX_DEPTH, clean, read_text

MAX_BYTES = 256 * 1024
"""A resolved configuration takes 2 kB; the parser needs hundreds of bytes for each one of the file."""
MAX_NODES = 20_000
"""Values in all, those that aliases repeat counted each time: aliases of aliases grow without end."""

MAX_NUMBER = 100
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def read_yaml(path: Path | str) -> Any:
    """The value of a YAML file; None for an empty one.

    Raises:
        ConfigError: No such file, not text, too large, or as `parse_yaml`.
    """
    return parse_yaml(read_text(path, MAX_BYTES, error=ConfigError), clean(path))


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text: mappings, lists and plain values.

    Raises:
        ConfigError: Not YAML, a key written twice, an alias inside itself, or more values than a
            configuration has; the message names `source` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {_said(error)}") from error
    except RecursionError:
        raise ConfigError(f"{source} is not usable YAML: it is nested without end") from None


def _said(error: yaml.YAMLError) -> str:
    """PyYAML's complaint in one line."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return clean(error)
    where = error.problem_mark or error.context_mark
    words = clean(error.problem or error.context or "it cannot be read")
    return f"{words}, line {where.line + 1}" if where else words


def _fault(words: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=words, problem_mark=mark)


def _surprise(text: str, value: float) -> str:
    """Why YAML 1.1 reads a number in another base than people do, and what to write; empty where it does not."""
    digits = text.replace("_", "").lstrip("+-")
    if ":" in text:
        return f"for colons separate digits of base 60; write {value}, or quote it where text is meant"
    if digits.isdigit() and digits.startswith("0") and int(digits) != abs(value):
        return f"for a leading zero makes it octal; write {int(digits)}, or quote it where text is meant"
    return ""


class _Loader(yaml.SafeLoader):
    """Safe YAML that counts what it builds, and refuses a key written twice (plain YAML keeps the last one)."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.sizes: dict[int, int] = {}
        self.total = 0

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level > MAX_DEPTH:  # PyYAML's time grows with the square of it
            raise _fault("nested without end", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event, before = self.peek_event(), self.total  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self.sizes:
                raise _fault("an alias stands inside itself", event.start_mark)
            self.total += self.sizes[id(node)]
        else:
            self.total += 1
            self.sizes[id(node)] = self.total - before
        if self.total > MAX_NODES:
            raise _fault(f"it stands for more than {MAX_NODES:,} values", event.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        text = node.value
        if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            raise _fault(
                f"{clean(text, 40)!r} holds a character that no text has",
                node.start_mark,
            )
        try:
            if node.tag != _TEXT and len(text) > MAX_NUMBER:
                raise ValueError("too long")
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            # PyYAML's own readers of numbers and dates fail on what only looks like one
            said = f"{clean(text, 40)!r} looks like a number or a date, but is none; quote it"
            raise _fault(said, node.start_mark) from error
        if isinstance(value, datetime.date):  # no key takes one: a folder may be named by a day
            return text
        if isinstance(value, int | float) and (why := _surprise(text, value)):
            raise _fault(f"{text!r} is the number {value} in YAML, {why}", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise _fault(f"key {clean(key, 40)!r} stands twice", key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)
