"""The catalogue: one SQLite file with rows, vectors, pictures and audit, opened so that nothing acknowledged is lost."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ivreid.errors import DataError

FILE = "catalogue.sqlite"
FORMAT = 1
APPLICATION = 0x49765264
"""How SQLite files of ours are told from others."""
PATIENCE = 10.0
"""Seconds to wait for another process that writes."""

SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE change (generation INTEGER PRIMARY KEY, token TEXT NOT NULL, removed INTEGER NOT NULL);
CREATE TABLE crop (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL UNIQUE,
    pixels TEXT NOT NULL,
    camera TEXT NOT NULL,
    time INTEGER NOT NULL,
    zone INTEGER NOT NULL,
    modality TEXT NOT NULL,
    tracklet TEXT,
    pid INTEGER NOT NULL,
    source TEXT NOT NULL,
    quality REAL,
    digest INTEGER NOT NULL
);
CREATE INDEX crop_place ON crop (camera, modality, time);
CREATE INDEX crop_tracklet ON crop (tracklet) WHERE tracklet NOT NULL;
CREATE TABLE vector (seq INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE picture (seq INTEGER PRIMARY KEY, data BLOB NOT NULL, digest INTEGER NOT NULL);
CREATE TABLE secret (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE erased (secret INTEGER NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (secret, mark)) WITHOUT ROWID;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    action TEXT NOT NULL,
    purpose TEXT NOT NULL,
    detail TEXT NOT NULL
);
"""
"""A change is a generation with a random token: whoever knows both knows whether what it has is of this catalogue's
past. A seq is never used again: what a cache covers can be told by the last one. The rows that scans of columns read are
apart from vectors and pictures, which are large."""


class Catalogue:
    """A connection that several threads share; one statement or transaction at a time.

    Args:
        path: The file, which must be there unless `create`.
        create: Make it, with its tables.

    Raises:
        DataError: Not there, not ours, damaged, or of a newer version; the message says which.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self.lock = threading.RLock()
        if not create and not path.is_file():
            raise DataError(f"{path}: no such catalogue; it is no gallery, see `ivreid gallery create`")
        with self.naming():
            self._connection = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(create)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, create: bool) -> None:
        execute = self._connection.execute
        if not create:
            self._check_kind()
        execute("PRAGMA secure_delete = ON")
        execute("PRAGMA cache_size = -65536")
        execute("PRAGMA wal_autocheckpoint = 8000")  # pages; each costs two syncs of the disk
        (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise DataError(
                f"{self.path}: the file system allows no write-ahead log ({mode}); put the gallery on a local disk"
            )
        execute("PRAGMA synchronous = FULL")
        if create:
            self._connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")

    def _check_kind(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise DataError(f"{self.path} is an SQLite file, but no gallery of ivreid; give another folder")
        if version > FORMAT:
            raise DataError(
                f"{self.path} is a gallery of format {version}, this version of ivreid knows {FORMAT}: use a newer one"
            )

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Turn what SQLite raises into an error that names the file and the next step."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            if "closed database" not in str(error):
                raise
            raise DataError(f"{self.path}: the gallery is closed; open it again") from error
        except sqlite3.Error as error:
            raise DataError(f"{self.path}: {_what(error)}") from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot of everything."""
        with self.lock, self.naming():
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and durable on leaving; waits for other writers."""
        with self.lock, self.naming():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rewrite(self) -> str:
        """Write the file anew without free space and empty the write-ahead log; says what stood in the way, if any.

        Deleted rows are overwritten at once, but rows that SQLite had moved may have left copies in pages that
        were not full: only a file written anew surely has none.
        """
        with self.lock, self.naming():
            try:
                self._connection.execute("VACUUM")
            except sqlite3.OperationalError as error:
                return f"the catalogue could not be written anew: {_what(error)}"
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return "another process still reads an older state, so the write-ahead log is kept" if busy else ""

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._connection.close()


def note_change(db: sqlite3.Connection, removed: int = 0) -> None:
    """Say, within a transaction, that answers of searches may differ from now on, and how many rows went."""
    db.execute(
        "INSERT INTO change SELECT coalesce(max(generation), 0) + 1, hex(randomblob(8)), "
        "coalesce(max(removed), 0) + ? FROM change",
        (removed,),
    )


def _what(error: sqlite3.Error) -> str:
    text, name = str(error), getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return "the disk is full; nothing of this step was written, make space and try again"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"another process has been writing for more than {PATIENCE:.0f} s; try again when it has finished"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"it cannot be written to or opened ({text}); check the permissions of its folder"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR")):
        return f"the catalogue is damaged ({text}); take the gallery from a copy"
    return text
