"""Paths as people write them."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ivreid.errors import UsageError


def user_path(path: Path | str) -> Path:
    """The path that somebody named: `~` and `~name` at its start are home folders.

    Raises:
        UsageError: There is no such home folder, it would be a new name with a control character in it, or it is
            a name that no file can have.
    """
    path = Path(path)
    if not _is_there(path):
        refuse_control_characters(path)
    _refuse_impossible(path)
    if not str(path).startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{path}: this machine knows no home folder for that; write the path out, or ./{path} for a folder so "
            "named"
        ) from error


def refuse_control_characters(path: Path | str) -> None:
    """No file or folder is given a name with a control character, which is always a mistake of spelling.

    Raises:
        UsageError: The message shows the character in its escaped form.
    """
    text = str(path)
    found = next((letter for letter in text if unicodedata.category(letter) == "Cc"), None)
    if found is not None:
        shown = text[:200].encode("unicode_escape", "replace").decode()
        raise UsageError(
            f"the path {shown} holds the control character {found.encode('unicode_escape').decode()}; in YAML a "
            r"backslash within double quotes is an escape: write single quotes, 'C:\new', or none"
        )


def _refuse_impossible(path: Path) -> None:
    """Refuse a name that no file can have here, such as one of 300 letters, before it is used as one."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(
                f"{str(path)[:60]}... is no name that a file can have: it is {len(str(path)):,} letters long"
            ) from error
    except ValueError as error:  # half a character, or a zero
        raise UsageError(f"{str(path)[:60]!a} is no name that a file can have ({error})") from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def odd_letters(name: str) -> str:
    """Why a name cannot be written down and what to do about it; empty where it can."""
    odd = [letter for letter in name if not letter.isprintable()]
    if odd and all(unicodedata.category(letter) == "Zs" for letter in odd):
        code = f"U+{ord(odd[0]):04X}"
        return f"holds a space that is not the usual one ({code}); rename it to {_usual(name)!r}"
    return "holds unprintable characters; rename it" if odd else ""


def near_spelling(name: str, others: Iterable[str]) -> str:
    """What there is in the place of a name that there is not, where both look alike; empty without such a name.

    Names that people cannot tell apart differ in case, in their spaces, or in how accents are composed: some
    systems write é as one letter (NFC), others as two (NFD).
    """
    wanted = _looks(name)
    for other in others:
        if other != name and _looks(other) == wanted:
            if other.casefold() == name.casefold():
                return f"there is {other!r}, rename it (upper and lower case matter)"
            what = (
                "other spaces"
                if _usual(other) == _usual(name)
                else "accents composed in another way (NFC, NFD)"
            )
            return f"there is {other!a}, which looks like {name!a} but has {what}; rename it"
    return ""


def _looks(name: str) -> str:
    return unicodedata.normalize("NFC", _usual(name)).casefold()


def _usual(name: str) -> str:
    """The name with every kind of space as the usual one."""
    return "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in name)


def not_there(path: Path) -> str:
    """What to add to the name of a path that is not there: below which folder it was looked for, and what is."""
    looked = "" if path.is_absolute() else f" below {Path.cwd()}"
    try:
        there = near_spelling(path.name, sorted(one.name for one in path.parent.iterdir()))
    except (OSError, ValueError):
        there = ""
    return f"{looked}; {there}" if there else looked
