"""Taking crops out: from answers at once, and where asked from every file."""

from __future__ import annotations

from datetime import UTC, datetime

from ivreid.errors import UsageError
from ivreid.gallery.local.audit import write_audit
from ivreid.gallery.local.cache import Cache
from ivreid.gallery.local.database import Catalogue, note_change
from ivreid.gallery.local.refusals import refuse_pixels
from ivreid.gallery.local.rows import condition
from ivreid.gallery.local.view import Views
from ivreid.gallery.record import checked_time
from ivreid.gallery.store import Receipt
from ivreid.gallery.where import EVERYTHING, Where

BEYOND = (
    "copies of the folder: backups, snapshots, exports, galleries it was copied to",
    "blocks that the file system or the disk keeps of overwritten files (SSDs do)",
    "memory of processes that have the gallery open, until their next search",
    "the pictures' own files, which the gallery only read",
)


class Removal:
    """Removes rows of one gallery.

    An erasure has three steps: rows go, in one transaction that also says that something is unfinished; the
    cache is removed, the catalogue is written anew and its log emptied; the word "unfinished" goes. A process
    that is killed between leaves the word, and the next opening finishes.
    """

    def __init__(self, catalogue: Catalogue, cache: Cache, views: Views) -> None:
        self._catalogue, self._cache, self._views = catalogue, cache, views

    def delete(self, where: Where) -> int:
        """Take rows out of every answer; their bytes may stay in the cache until it is built anew."""
        return self._remove("delete", where)

    def erase(self, where: Where) -> Receipt:
        """Remove rows and bytes, and refuse the pixels ever after.

        Raises:
            UsageError: A filter without any condition.
        """
        if where == EVERYTHING:
            raise UsageError(
                "nothing says what to erase; name ids, a tracklet, a person, a camera or a time, or remove the "
                "whole folder"
            )
        return self._receipt("erase", self._remove("erase", where, bytes_too=True, refuse=True))

    def expire(self, older_than: datetime) -> Receipt:
        """Remove rows and bytes of crops taken before a time."""
        where = Where(stop=checked_time(older_than))
        crops = self._remove("expire", where, bytes_too=True)
        if not crops:  # a nightly job mostly finds nothing
            return Receipt("expire", 0, datetime.now(UTC), ("no crop is so old",), BEYOND)
        return self._receipt("expire", crops)

    def _remove(self, action: str, where: Where, *, bytes_too: bool = False, refuse: bool = False) -> int:
        wanted, values = condition(where)
        with self._catalogue.writing() as db:
            found = db.execute(f"SELECT seq, pixels FROM crop WHERE {wanted}", values).fetchall()
            if refuse:
                refuse_pixels(db, {pixels for _, pixels in found})
            numbers = [(seq,) for seq, _ in found]
            for table in ("picture", "vector", "crop"):
                db.executemany(f"DELETE FROM {table} WHERE seq = ?", numbers)
            if found:
                note_change(db, len(found))
            if bytes_too and (found or refuse):
                db.execute("UPDATE meta SET value = 1 WHERE name = 'unfinished'")
            write_audit(db, action, "", {"crops": len(found), "where": str(where)})
        return len(found)

    def finish(self) -> tuple[str, ...]:
        """Make sure that no file holds removed bytes; says what could not be done."""
        self._views.forget()
        left = [f"{path} could not be removed" for path in self._cache.remove()]
        if problem := self._catalogue.rewrite():
            left.append(problem)
        if not left:
            with self._catalogue.writing() as db:
                db.execute("UPDATE meta SET value = 0 WHERE name = 'unfinished'")
        return tuple(left)

    def _receipt(self, action: str, crops: int) -> Receipt:
        left = self.finish()
        done = (
            f"{crops:,} crop(s) with their vectors and pictures are in no answer any more",
            *(
                (
                    "the catalogue was written anew without them and its write-ahead log emptied",
                    "the cache of vectors was removed; it is built anew from the catalogue",
                )
                if not left
                else ()
            ),
            *(("their pixels are refused from now on",) if action == "erase" else ()),
        )
        ending = tuple(f"{one}; the next opening of the gallery tries again" for one in left)
        return Receipt(action, crops, datetime.now(UTC), done, BEYOND, ending)
