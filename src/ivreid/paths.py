"""Paths as people write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from ivreid.errors import UsageError


def user_path(path: Path | str) -> Path:
    """The path that somebody named: `~` and `~name` at its start are home folders.

    Raises:
        UsageError: There is no such home folder, or it would be a new name with a control character in it.
    """
    path = Path(path)
    if not _is_there(path):
        refuse_control_characters(path)
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


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
