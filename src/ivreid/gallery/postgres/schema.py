"""The tables of a gallery in PostgreSQL: crops by day with their vectors, and what is known of the gallery itself."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.gallery.postgres.address import Server
from ivreid.gallery.postgres.connections import Connections, Session, set_path
from ivreid.gallery.record import EPOCH
from ivreid.gallery.store import Binding

FORMAT = 1
OLDEST_SERVER = 15
OLDEST_VECTOR = (0, 7)
LONGEST = 16_000
"""Values that pgvector's halfvec holds."""
DAY = 86_400_000_000
"""Microseconds. A day is one of UTC, counted from 1970."""

TABLES = """
CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE weights (part integer PRIMARY KEY, data bytea NOT NULL);
CREATE TABLE crop (
    id text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    pixels text COLLATE "C" NOT NULL,
    camera text COLLATE "C" NOT NULL,
    time bigint NOT NULL,
    zone integer NOT NULL,
    modality text COLLATE "C" NOT NULL,
    tracklet text COLLATE "C",
    pid bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    quality double precision,
    digest bigint NOT NULL,
    vector halfvec({dimension}) NOT NULL,
    picture bytea,
    picture_digest bigint,
    PRIMARY KEY (time, id)
) PARTITION BY RANGE (time);
CREATE INDEX crop_id ON crop (id);
CREATE INDEX crop_address ON crop (address);
CREATE INDEX crop_place ON crop (camera, modality, time);
CREATE INDEX crop_tracklet ON crop (tracklet) WHERE tracklet IS NOT NULL;
ALTER TABLE crop ALTER picture SET STORAGE EXTERNAL;
CREATE TABLE secret (number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bytea NOT NULL UNIQUE);
CREATE TABLE erased (secret integer NOT NULL, mark bytea NOT NULL, PRIMARY KEY (secret, mark));
CREATE TABLE audit (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time bigint NOT NULL,
    action text NOT NULL,
    purpose text NOT NULL,
    detail text NOT NULL
);
"""
"""An id is made from the time, too, so that (time, id) is as unique as the id. Pictures are not compressed again."""
PRIVATE = ("id", "address", "pixels", "source", "vector", "picture")
"""Columns of which the server must keep no samples for its planner: an erasure could not reach those."""


def check_dimension(binding: Binding, address: str) -> None:
    """Refuse vectors that halfvec cannot hold.

    Raises:
        CheckpointError: Names the model and both lengths.
    """
    if binding.dimension > LONGEST:
        raise CheckpointError(
            f"{binding.name} makes vectors of {binding.dimension:,} values, and pgvector's halfvec holds {LONGEST:,}: "
            f"{address} cannot keep them; use a gallery in a folder"
        )


def check_server(session: Session, server: Server) -> None:
    """Refuse servers that are too old, or keep no Unicode.

    Raises:
        DataError: Says what is there and what is needed.
    """
    ((version, encoding),) = session.run(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')"
    )
    if version < OLDEST_SERVER * 10_000:
        raise DataError(
            f"{server}: this is PostgreSQL {version // 10_000}; {OLDEST_SERVER} or newer is needed"
        )
    if encoding != "UTF8":
        raise DataError(
            f"{server}: the database's encoding is {encoding}, UTF8 is needed: createdb --encoding=UTF8 --template=template0"
        )


def check_extension(session: Session, server: Server) -> None:
    """Refuse a database without pgvector, or with one that is too old.

    Raises:
        DataError: Says what is there and what is needed.
    """
    found = session.run("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    needed = ".".join(map(str, OLDEST_VECTOR))
    if not found:
        offered = session.run("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        step = "say CREATE EXTENSION vector there" if offered else f"install it there, {needed} or newer"
        raise DataError(f"{server}: the database has no pgvector; {step}")
    version = found[0][0]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VECTOR:
        raise DataError(
            f"{server}: this is pgvector {version}; {needed} or newer is needed: ALTER EXTENSION vector UPDATE"
        )


def make_tables(session: Session, server: Server, dimension: int) -> None:
    """Make the schema with its tables, within the transaction at hand.

    Raises:
        UsageError: It is there already.
        DataError: The server lacks something.
    """
    check_server(session, server)
    if session.run("SELECT 1 FROM pg_namespace WHERE nspname = :name", name=server.schema):
        raise UsageError(
            f"{server}: there is a schema {server.schema} already; name another (?schema=NAME), or use the gallery in "
            "it with `ivreid gallery add`"
        )
    if session.run("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        session.run("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public")
    check_extension(session, server)
    session.run(f'CREATE SCHEMA "{server.schema}"')
    set_path(session, server.schema)
    session.run(TABLES.format(dimension=dimension))
    session.run(_unsampled("crop"))


def partition(day: int) -> str:
    """The name of a day's table."""
    return f"crop_{EPOCH + timedelta(days=day):%Y%m%d}"


def days_there(session: Session) -> set[int]:
    """The days that have a table."""
    rows = session.run(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'crop'::regclass"
    )
    return {_day_of(row[0]) for row in rows}


def _day_of(name: str) -> int:
    text = name.removeprefix("crop_")
    date = EPOCH.replace(year=int(text[:4]), month=int(text[4:6]), day=int(text[6:8]))
    return (date - EPOCH).days


def make_days(connections: Connections, days: Collection[int]) -> None:
    """Make the tables of some days, each by itself; empty ones change no answer."""
    for day in sorted(days):
        with connections.writing() as session:
            if day not in days_there(session):
                name = partition(day)
                make_table(session, name, day)
                attach(session, name, day)


def make_table(session: Session, name: str, day: int) -> None:
    """Make a table for a day's rows that is not yet part of the gallery."""
    first, last = day * DAY, (day + 1) * DAY
    session.run(f"CREATE TABLE {name} (LIKE crop INCLUDING ALL, CHECK (time >= {first} AND time < {last}))")
    session.run(_unsampled(name))


def attach(session: Session, name: str, day: int) -> None:
    """Make a table part of the gallery."""
    first, last = day * DAY, (day + 1) * DAY
    session.run(f"ALTER TABLE crop ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({last})")


def _unsampled(table: str) -> str:
    return f"ALTER TABLE {table} " + ", ".join(f"ALTER {column} SET STATISTICS 0" for column in PRIVATE)
