"""Connections to one server, lent for one transaction each; what goes wrong there becomes an error that names it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ivreid.errors import DataError, UsageError
from ivreid.gallery.postgres.address import Server
from ivreid.reading import clean

PATIENCE = 10
"""Seconds to wait for another process that writes, or holds what is to be rewritten."""
LOCK = 0x49765264
"""The first half of the number under which writers of a gallery wait for each other."""
READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE ONLY crop IN ACCESS SHARE MODE"
"""The lock comes before the snapshot: a table that an erasure has just put in place of another is empty in older ones."""
WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({lock}, hashtext('{schema}'))"
SESSION = f"""
SET client_min_messages = warning;
SET lock_timeout = '{PATIENCE}s';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET jit = off;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
"""
EXTENSION = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"

Session = Any
"""A connection of the driver; `run(sql, name=value)` gives rows."""


class Connections:
    """As many connections as are used at once; idle ones are kept.

    Args:
        server: Where to.

    Raises:
        UsageError: The driver is not installed.
    """

    def __init__(self, server: Server) -> None:
        try:
            from pg8000 import native
        except ImportError as error:
            raise UsageError(
                "a gallery in PostgreSQL needs pg8000; install it: pip install 'ivreid[postgres]'"
            ) from error
        self.server = server
        self._native = native
        self._idle: list[Session] = []
        self._guard = threading.Lock()
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One snapshot of everything."""
        with self._lent(READING) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """All or nothing, and durable on leaving; waits for other writers."""
        with self._lent(WRITING.format(lock=LOCK, schema=self.server.schema)) as session:
            yield session

    @contextmanager
    def plain(self) -> Iterator[Session]:
        """Each statement by itself."""
        with self._lent("") as session:
            yield session

    @contextmanager
    def _lent(self, begin: str) -> Iterator[Session]:
        with self._naming():
            session = self._begun(begin)
            try:
                yield session
                if begin:
                    session.run("COMMIT")
            except BaseException:
                _close(session)  # the server takes back what was not committed
                raise
            with self._guard:
                if not self._closed:
                    self._idle.append(session)
                    return
            _close(session)

    def _begun(self, begin: str) -> Session:
        begin = begin or "SELECT 1"
        while True:
            with self._guard:
                if self._closed:
                    raise DataError(f"{self.server}: the gallery is closed; open it again")
                session = self._idle.pop() if self._idle else None
            if session is None:
                session = self._connected()
                session.run(begin)
                return session
            try:
                session.run(begin)
            except (self._native.InterfaceError, OSError):  # the server was away; nothing had begun
                _close(session)
            except self._native.DatabaseError as error:
                _close(session)
                if not _code(error).startswith("57P"):
                    raise
            else:
                return session

    def _connected(self) -> Session:
        socket = self.server.socket()
        try:
            session = self._native.Connection(sock=socket, **self.server.arguments())
        except BaseException as error:
            if (number := socket.detach()) != -1:
                os.close(number)
            raise self._said_first(error) from error
        session.own_socket = socket
        try:
            session.run(SESSION)
            set_path(session, self.server.schema)
        except BaseException:
            _close(session)
            raise
        return session

    def _said_first(self, error: BaseException) -> BaseException:
        """What the server said before it closed the connection, which then fails, too."""
        earlier: BaseException | None = error
        while earlier is not None and not isinstance(earlier, self._native.DatabaseError):
            earlier = earlier.__context__
        return earlier or error

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Turn what the driver raises into an error that names the server and the next step."""
        try:
            yield
        except self._native.DatabaseError as error:
            raise DataError(f"{self.server}: {_what(error)}") from error
        except (self._native.InterfaceError, OSError) as error:
            reason = clean(str(error.__cause__ or error), 200)
            raise DataError(
                f"{self.server}: the server does not answer, or left while it was asked ({reason}); what it had not "
                "acknowledged may be there or not: when it is back, do it again"
            ) from error

    def close(self) -> None:
        """Close all that are idle; those that are lent are closed when they come back."""
        with self._guard:
            self._closed, idle, self._idle = True, self._idle, []
        for session in idle:
            _close(session)


def set_path(session: Session, schema: str) -> None:
    """Have names without a schema mean the gallery's tables and pgvector's types."""
    home = session.run(EXTENSION)
    names = [schema, *(row[0] for row in home)]
    session.run("SET search_path = " + ", ".join('"' + name.replace('"', '""') + '"' for name in names))


def _close(session: Session) -> None:
    with suppress(Exception):  # it may be gone already
        session.close()
    if (number := session.own_socket.detach()) != -1:
        os.close(number)


def _code(error: Exception) -> str:
    told = error.args[0] if error.args else {}
    return str(told.get("C", "")) if isinstance(told, dict) else ""


def _what(error: Exception) -> str:
    told = error.args[0] if error.args else ""
    text = clean(str(told.get("M", told) if isinstance(told, dict) else told), 300)
    code = _code(error)
    if code == "53100":
        return (
            f"the server's disk is full ({text}); nothing of this step was written, make space and try again"
        )
    if code == "55P03":
        return f"another process has been writing or reading for more than {PATIENCE} s; try again when it has finished"
    if code == "25006":
        return f"it takes no writes ({text}); it is a replica: give the primary's address"
    if code in ("42501", "28P01", "28000"):
        return f"the user may not do this ({text}); check the name, the password and the rights"
    if code == "3D000":
        return f"{text}; make it first: createdb"
    if code.startswith(("XX00", "58")):
        return f"the database is damaged or its disk fails ({text}); take the gallery from a copy"
    return text
