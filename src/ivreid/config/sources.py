"""Where the values of a configuration come from, so that an error names the file and the word at fault, no other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

OPTIONS = {
    "data.dataset": "--dataset",
    "data.root": "--data",
    "data.trial": "--trial",
    "out": "--out",
    "recipe": "--recipe",
}
"""Options of the command line that set a key."""


@dataclass(frozen=True)
class Sources:
    """A file, and what was said over it.

    Attributes:
        file: The file, or what else holds the values; None for values that were all said.
        said: Each key with the words that set it, e.g. ("epochs", "--set epochs=3"), in their order.
    """

    file: str | None = "configuration"
    said: Sequence[tuple[str, str]] = ()

    def sets(self, key: str) -> bool:
        """Whether a word sets just this key."""
        return any(key == one for one, _ in self.said)

    def at(self, key: str, message: str = "") -> str:
        """How a message about a key begins: with the file, and the words that set it.

        Args:
            key: Dotted; "" where the message is about several.
            message: Says which of the keys below `key` it is about.
        """
        words = {one: word for one, word in self.said if _concerns(one, key, message)}  # the last one counts
        named = [self.file] if self.file is not None else []
        named += [" ".join(words.values())] if words else []
        return " with ".join(named) or "configuration"


def _concerns(said: str, key: str, message: str) -> bool:
    if not key and "." not in said:  # a word such as `out` stands in prose, too
        return message.startswith((f"{said} ", f"{said}.")) or f" {said} = " in message
    if key and (key == said or key.startswith(f"{said}.")):
        return True
    if key and not said.startswith(f"{key}."):
        return False
    below = said[len(key) + 1 :] if key else said
    return re.search(rf"(?<![\w.-]){re.escape(below)}(?![\w-])", message) is not None
