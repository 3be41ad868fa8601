"""Every error a user can cause: it names the file, the value, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IvreidError(Exception):
    """Base of all errors the command line prints as one message, without a traceback."""

    exit_status = 2


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
