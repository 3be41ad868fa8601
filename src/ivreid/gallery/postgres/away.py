"""Which shards do not answer: those are asked again after a while only, so that nobody waits for them every time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

PAUSE = 5.0
"""Seconds."""


class Away:
    """Shards that did not answer, by their addresses.

    Args:
        urls: Of all shards of a gallery.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self._silent: dict[str, tuple[float, str]] = {}
        self._guard = threading.Lock()

    def note(self, name: str, error: Exception) -> None:
        """Remember that one did not answer just now, and why."""
        with self._guard:
            self._silent[name] = time.monotonic(), str(error)

    def reasons(self, *, resting: bool = False) -> dict[str, str]:
        """Why each did not answer; with `resting` of those alone that are not to be asked yet."""
        since = time.monotonic() - PAUSE if resting else float("-inf")
        with self._guard:
            return {name: why for name, (when, why) in self._silent.items() if when > since}
