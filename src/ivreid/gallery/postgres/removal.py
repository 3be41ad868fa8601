"""Taking crops out: from answers at once, and where asked from the tables' files."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from ivreid.errors import UsageError
from ivreid.gallery.postgres.audit import write_audit
from ivreid.gallery.postgres.connections import Connections, Session
from ivreid.gallery.postgres.refusals import refuse_pixels
from ivreid.gallery.postgres.rows import condition
from ivreid.gallery.postgres.schema import DAY, attach, make_table, partition
from ivreid.gallery.record import checked_time
from ivreid.gallery.store import Receipt
from ivreid.gallery.where import EVERYTHING, Where

BEYOND = (
    "the server's write-ahead log, until it has gone round, and every archive of it",
    "replicas until they have followed, backups, snapshots, exports, galleries it was copied to",
    "the server's log, where it is set to keep statements with their values, and files that a crash of the server left",
    "blocks that the file system or the disk keeps of removed files (SSDs do), and memory of processes",
    "the pictures' own files, which the gallery only read",
)


def delete(connections: Connections, where: Where, step: str = "") -> int:
    """Take rows out of every answer; their bytes stay until the server's vacuum comes by."""
    wanted, values = condition(where)
    with connections.writing() as session:
        rows = session.run(f"DELETE FROM crop WHERE {wanted} RETURNING 1", **values)
        write_audit(session, "delete", "", _detail(len(rows), where, step))
    return len(rows)


def erase(connections: Connections, where: Where, step: str = "") -> Receipt:
    """Remove rows and bytes, and refuse the pixels ever after.

    Raises:
        UsageError: A filter without any condition.
    """
    if where == EVERYTHING:
        raise UsageError(
            "nothing says what to erase; name ids, a tracklet, a person, a camera or a time, or drop the whole schema"
        )
    return _removed(connections, "erase", where, step, refuse=True)


def expire(connections: Connections, older_than: datetime, step: str = "") -> Receipt:
    """Remove rows and bytes of crops taken before a time."""
    return _removed(connections, "expire", Where(stop=checked_time(older_than)), step, refuse=False)


def _removed(connections: Connections, action: str, where: Where, step: str, *, refuse: bool) -> Receipt:
    """One transaction: every day that loses a row gets a new table with those that stay, and the old one is dropped.

    The server removes a dropped table's files when it commits, and a killed one does so when it starts again.
    """
    wanted, values = condition(where)
    with connections.writing() as session:
        found = session.run(f"SELECT crop.time, crop.pixels FROM crop WHERE {wanted}", **values)
        if refuse:
            refuse_pixels(session, {pixels for _, pixels in found})
        days = {time // DAY for time, _ in found}
        _rewrite(session, days, wanted, values)
        write_audit(session, action, "", _detail(len(found), where, step))
    now = datetime.now(UTC)
    if not found and not refuse:
        return Receipt(action, 0, now, ("no crop is so old",), BEYOND)
    done = (
        f"{len(found):,} crop(s) with their vectors and pictures are in no answer any more",
        f"the tables of {len(days):,} day(s) were written anew without them and the old ones dropped",
        *(("their pixels are refused from now on",) if refuse else ()),
    )
    return Receipt(action, len(found), now, done, BEYOND)


def _detail(crops: int, where: Where, step: str) -> dict[str, object]:
    """What the audit keeps of a removal.

    Args:
        crops: How many went.
        where: Which.
        step: Names a removal that shards make together; empty without shards.
    """
    return {"crops": crops, "where": str(where), **({"step": step} if step else {})}


def _rewrite(session: Session, days: Collection[int], wanted: str, values: dict[str, object]) -> None:
    ready = []
    for day in sorted(days):  # first all copies, which hold nobody up
        name = partition(day)
        stays = f"FROM {name} AS crop WHERE ({wanted}) IS NOT TRUE"
        ((some,),) = session.run(f"SELECT EXISTS (SELECT 1 {stays})", **values)
        if some:
            make_table(session, f"{name}_new", day)
            session.run(f"INSERT INTO {name}_new SELECT crop.* {stays}", **values)
        ready.append((day, name, some))
    for day, name, some in ready:
        session.run(f"DROP TABLE {name}")
        if some:
            session.run(f"ALTER TABLE {name}_new RENAME TO {name}")
            attach(session, name, day)
