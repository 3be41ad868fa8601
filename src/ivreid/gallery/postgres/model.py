"""The model's weights in a database, in pieces, and their copy on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ivreid.data.cache import default_cache_folder
from ivreid.errors import DataError
from ivreid.gallery.postgres.connections import Connections, Session
from ivreid.io import atomic_write

PIECE = 4 << 20


def write_weights(session: Session, file: Path) -> dict[str, str]:
    """Put the file into the database, within the transaction at hand; gives what to remember of it."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        part = 0
        while data := opened.read(PIECE):
            digest.update(data)
            session.run("INSERT INTO weights (part, data) VALUES (:part, :data)", part=part, data=data)
            part += 1
    return {"weights_suffix": file.suffix, "weights_sha256": digest.hexdigest()}


def read_weights(connections: Connections, meta: Mapping[str, str]) -> Path:
    """The file on this machine; fetched into the cache's folder where it is not there yet.

    Raises:
        DataError: The database holds other bytes than were put into it.
    """
    expected = meta["weights_sha256"]
    path = default_cache_folder() / "weights" / f"{expected}{meta['weights_suffix']}"
    if path.is_file() and _digest_of(path) == expected:
        return path
    digest = hashlib.sha256()
    with atomic_write(path) as out, connections.reading() as session:
        for (part,) in session.run("SELECT part FROM weights ORDER BY part"):
            ((data,),) = session.run("SELECT data FROM weights WHERE part = :part", part=part)
            digest.update(data)
            out.write(data)
        if digest.hexdigest() != expected:
            raise DataError(
                f"{connections.server}: the weights in it are damaged; take the gallery from a copy"
            )
    return path


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
