"""Unknown names get an answer that helps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], *, listed: int = 12) -> str:
    """The end of an error message about an unknown name: the closest known ones, or what there is.

    Args:
        word: What was given.
        known: Every name that would have been right.
        listed: Up to this many names are listed when none is close.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(names[:listed])}{', ...' if len(names) > listed else ''}"
