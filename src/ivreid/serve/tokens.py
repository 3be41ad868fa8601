"""Who may do what: a file of tokens, each with a role."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from ivreid.errors import UsageError, did_you_mean
from ivreid.paths import not_there
from ivreid.reading import clean, read_text

SEARCH, INGEST, ADMIN = "search", "ingest", "admin"
ROLES = (SEARCH, INGEST, ADMIN)
SHORTEST = 20
_TOKEN = re.compile(rf"[A-Za-z0-9_.~+/=-]{{{SHORTEST},500}}")
"""A token is made by a machine, `openssl rand -hex 32` for instance."""


class Tokens:
    """Digests of the tokens that a server knows; the tokens themselves are not kept.

    Args:
        known: Pairs of a role and a token.
    """

    def __init__(self, known: Sequence[tuple[str, str]]) -> None:
        self._known = [(role, _digest(token)) for role, token in known]

    def role(self, token: str) -> str | None:
        """The role of a token, None for an unknown one; takes as long for each."""
        given, found = _digest(token), None
        for role, digest in self._known:
            if hmac.compare_digest(given, digest):
                found = role
        return found


def may(role: str | None, needed: str) -> bool:
    """Whether a role suffices: an admin may do everything, the others what their name says."""
    return role in (ADMIN, needed)


def read_tokens(path: Path | str) -> Tokens:
    """Read a file with a line `ROLE TOKEN` for each token; empty lines and lines with # do not count.

    Raises:
        UsageError: Not there, readable by others, or a line that is none; no message holds a token.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{clean(path)}: no such file of tokens{not_there(path)}")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UsageError(f"{clean(path)}: others may read these tokens; chmod 600 {clean(path)}")
    known: list[tuple[str, str]] = []
    for number, line in enumerate(read_text(path, 1 << 20).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise UsageError(f"{clean(path)}, line {number} has {len(words)} words; it needs ROLE TOKEN")
        role, token = words
        if role not in ROLES:
            raise UsageError(
                f"{clean(path)}, line {number} begins with no role; known: {', '.join(ROLES)}"
                if len(role) >= SHORTEST
                else f"{clean(path)}, line {number}: unknown role {clean(role, 20)!r}; {did_you_mean(role, ROLES)}"
            )
        if not _TOKEN.fullmatch(token):
            raise UsageError(
                f"{clean(path)}, line {number}: a token has {SHORTEST} or more of the letters a-z, A-Z, 0-9 and _.~+/=-; "
                "make one: openssl rand -hex 32"
            )
        known.append((role, token))
    if not known:
        raise UsageError(f"{clean(path)} holds no token; write a line: search $(openssl rand -hex 32)")
    return Tokens(known)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
