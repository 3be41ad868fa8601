"""What the command line writes: text letter by letter, in what the terminal can show, and no control characters.

Names of files, messages and values come from anywhere. A bracket in them is no markup, a colon no emoji, and an
escape sequence reaches no terminal.
"""

from __future__ import annotations

import codecs
import logging
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_NEAREST = {
    **{"±": "+/-", "×": "x", "…": "...", "·": "-", "→": "->", "≥": ">=", "≤": "<=", "≈": "~", "•": "*"},
    **dict.fromkeys("‐‑‒–—―−─━", "-"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
}
_ERRORS = "ivreid.nearest"


class Terminal(Console):
    """A console for plain text; style comes with `style=` or a `Text`, never from the text itself.

    Args:
        stderr: Write there, as what is no result does.
        wrap: Break long lines at the terminal's width; else the terminal does it, and a copied path stays whole.
        essential: Printed under --quiet, too: why the program failed.
        options: As rich's `Console`.
    """

    def __init__(
        self, *, stderr: bool = False, wrap: bool = False, essential: bool = False, **options: Any
    ) -> None:
        self.essential = essential
        super().__init__(
            stderr=stderr, soft_wrap=not wrap, markup=False, emoji=False, highlight=False, **options
        )

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; lines for stderr go above the bars that are shown there, which they would else destroy."""
        bars = _shown_bars[-1] if _shown_bars and self.stderr and self._file is None else self
        options.setdefault("soft_wrap", self.soft_wrap)
        if not self.quiet and (self.essential or not (self.stderr and talk.quiet)):
            super(Terminal, bars).print(*objects, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with every control character of the text replaced."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


@dataclass
class Talk:
    """How much the program says besides its results.

    Attributes:
        quiet: Nothing but errors.
        verbose: Also what the library logs on the way, and where an error came from.
    """

    quiet: bool = False
    verbose: bool = False


talk = Talk()

_shown_bars: list[Terminal] = []
"""The consoles of the bars on the screen, the innermost last."""


@contextmanager
def above_bars(console: Terminal) -> Iterator[None]:
    """While bars are shown on `console`, every line for stderr is printed through it."""
    _shown_bars.append(console)
    try:
        yield
    finally:
        _shown_bars.remove(console)


def visible(text: str) -> str:
    """Text without what moves the cursor, colours, rings or turns the direction of writing; lines stay."""
    if text.isprintable():
        return text
    return "".join(letter if letter == "\n" or not _hidden(letter) else "?" for letter in text)


def _hidden(letter: str) -> bool:
    turns = "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069"
    return turns or unicodedata.category(letter) == "Cc"


def prepare_streams() -> None:
    """Let both streams write the nearest thing where they cannot write a letter, instead of failing.

    A narrow terminal (ASCII, Latin-1, a Windows code page) has no ±; no terminal has half a character, as names of
    files on disk may hold.
    """
    codecs.register_error(_ERRORS, _nearest)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(letter) for letter in error.object[error.start : error.end]), error.end


def _plain(letter: str) -> str:
    """A letter in ASCII: its nearest sign, or itself without its accents, or a question mark."""
    bare = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return _NEAREST.get(letter) or bare or "?"


class _Lines(logging.Handler):
    """Shows what the library logs, in the process that speaks for all."""

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ.get("RANK", "0") == "0":
            Terminal(stderr=True).print(self.format(record))


def set_talk(*, quiet: bool, verbose: bool) -> None:
    """Say how much this call of the program says."""
    talk.quiet, talk.verbose = quiet, verbose
    logging.getLogger("ivreid").setLevel(logging.DEBUG if verbose else logging.WARNING)


def show_log() -> None:
    """Let warnings of the library be seen; an embedding program's own arrangements stay."""
    handler = _Lines()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(handlers=[handler])
