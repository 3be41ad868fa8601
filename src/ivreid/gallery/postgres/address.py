"""Where a gallery lies in PostgreSQL: what a URL says."""

from __future__ import annotations

import getpass
import os
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ivreid.errors import UsageError
from ivreid.reading import clean, shown_address

SCHEMES = ("postgresql", "postgres")
DEFAULT_SCHEMA = "ivreid"
LOCAL = ("localhost", "127.0.0.1", "::1")
CONNECTING = 10.0
"""Seconds to wait for a server to answer at all."""
MODES = ("disable", "require", "verify-full")
FORM = "postgresql://USER@HOST:PORT/DATABASE[?schema=NAME&sslmode=disable|require|verify-full]"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Server:
    """A database on a server, and the schema in it that holds a gallery.

    Attributes:
        host: A name or number; a folder (/...) for the socket in it.
        port: Its port.
        user: Who asks.
        password: Theirs; None where the URL and `PGPASSWORD` say none.
        database: The database, which must be there.
        schema: Of the gallery's tables: several galleries fit one database.
        sslmode: disable, require (encrypted) or verify-full (encrypted, and it is the right server).
    """

    host: str
    port: int
    user: str
    password: str | None
    database: str
    schema: str
    sslmode: str

    def __str__(self) -> str:
        place = f"[{self.host}]" if ":" in self.host else self.host
        at = f"postgresql://{self.user}@{'' if self.is_socket else place}:{self.port}/{self.database}"
        said = [f"host={self.host}"] if self.is_socket else []
        said += [f"schema={self.schema}"] if self.schema != DEFAULT_SCHEMA else []
        return at + ("?" + "&".join(said) if said else "")

    def __repr__(self) -> str:
        return f"Server({self})"  # without the password

    @property
    def is_socket(self) -> bool:
        """Whether the host is a folder."""
        return self.host.startswith("/")

    def socket(self) -> socket.socket:
        """A new connection to the server.

        Raises:
            OSError: Nobody listens there.
        """
        if not self.is_socket:
            made = socket.create_connection((self.host, self.port), CONNECTING)
        else:
            made = socket.socket(socket.AF_UNIX)
            try:
                made.connect(f"{self.host}/.s.PGSQL.{self.port}")
            except OSError:
                made.close()
                raise
        made.settimeout(None)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return made

    def arguments(self) -> dict[str, Any]:
        """What the driver wants to know beside the connection."""
        encryption: dict[str, Any] = {"disable": False, "require": True}
        return {
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "host": self.host,
            "ssl_context": encryption[self.sslmode]
            if self.sslmode in encryption
            else ssl.create_default_context(),
            "application_name": "ivreid",
        }


def parse(url: str) -> Server:
    """Read a URL; what it leaves out is as PostgreSQL's own programs take it.

    Raises:
        UsageError: No such URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or int(os.environ.get("PGPORT", "5432"))
        asked = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        host = parts.hostname or ""
    except ValueError as error:
        raise UsageError(
            f"{shown_address(url)} is no address of a database ({error}); it is {FORM}"
        ) from error
    if parts.scheme not in SCHEMES or parts.fragment:
        raise UsageError(f"{shown_address(url)} is no address of a database; it is {FORM}")
    host = unquote(host) or asked.pop("host", "") or "localhost"
    user = unquote(parts.username or "") or os.environ.get("PGUSER") or getpass.getuser()
    password = unquote(parts.password) if parts.password is not None else os.environ.get("PGPASSWORD")
    database = unquote(parts.path.removeprefix("/")) or user
    schema = asked.pop("schema", DEFAULT_SCHEMA)
    near = host in LOCAL or host.startswith("/")
    mode = asked.pop("sslmode", "disable" if near else "verify-full")
    if asked:
        raise UsageError(
            f"{shown_address(url)}: `{clean(next(iter(asked)), 40)}` is unknown; the address is {FORM}"
        )
    if mode not in MODES:
        raise UsageError(f"{shown_address(url)}: sslmode is {' or '.join(MODES)}, not {clean(mode, 40)!r}")
    if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise UsageError(
            f"{shown_address(url)}: the schema is {clean(schema, 40)!r}; a name has small letters, digits and _, and does "
            "not begin with a digit or pg_"
        )
    return Server(host, port, user, password, database, schema, mode)
