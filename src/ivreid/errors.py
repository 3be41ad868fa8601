"""Every error a user can cause: it names the file, the value, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_LINE = 1000
"""Letters: a foreign file may hold keys and values of any length."""
SCREEN = 40
"""Lines."""


class IvreidError(Exception):
    """Base of all errors the command line prints as one message, without a traceback.

    As text it is fit to be shown: names and values of foreign files in it lose their control characters and
    what is longer than a few lines.
    """

    exit_status = 2

    def __str__(self) -> str:
        return "\n".join(_fit(line) for line in super().__str__().split("\n"))

    def on_a_screen(self) -> str:
        """The text, cut where it would scroll away."""
        lines = str(self).split("\n")
        more = [f"... and {len(lines) - SCREEN + 1:,} more lines"] if len(lines) > SCREEN else []
        return "\n".join([*lines[: SCREEN - 1], *(more or lines[SCREEN - 1 :])])


def _fit(line: str) -> str:
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    return line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)


class UsageError(IvreidError):
    """A wrong call: an option that does not fit the data, an unknown name."""


class ConfigError(IvreidError):
    """A configuration file or value that cannot be used."""


class DataError(IvreidError):
    """A dataset, image or features file that cannot be used."""


class ImageError(DataError):
    """One image that cannot be decoded."""


class ProtocolError(IvreidError):
    """Data that does not fit the evaluation protocol, or an evaluation that would leak."""


class CheckpointError(IvreidError):
    """A weights or checkpoint file that is damaged, foreign, or does not fit."""


class TrainingError(IvreidError):
    """Training that cannot go on: diverged loss, too few identities, a run folder in use."""


class OutOfMemory(IvreidError):
    """The memory of the machine or of its accelerator does not suffice; the message names what to lower."""


class CheckFailed(IvreidError):
    """A check that ran and found problems (`ivreid data check`)."""

    exit_status = 1


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun: "1 problem", "1,200 problems", "2 people"."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def did_you_mean(word: str, known: Iterable[str], *, listed: int = 12) -> str:
    """The end of a message about an unknown name: the closest known names, and what there is.

    Args:
        word: What was given.
        known: Every name that would have been right.
        listed: With more names than this, the list is cut, and left out where a close name was found.
    """
    names = list(known)
    many = len(names) > listed
    spelled = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), spelled, n=3 if many else 1)
    close = [spelled[name] for name in found]
    hint = f"did you mean {' or '.join(close)}?" if close else ""
    if many and close:
        return hint
    listing = f"known: {', '.join(names[:listed])}{', ...' if many else ''}"
    return f"{hint} {listing}".lstrip()
