"""Pixels that were erased and are refused: only marks of them are kept, under keys that never leave the gallery."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ivreid.gallery.postgres.connections import Session
from ivreid.gallery.record import erased_mark
from ivreid.gallery.store import Erasures

_INSERT = (
    "INSERT INTO erased (secret, mark) SELECT :number, unnest(CAST(:marks AS bytea[])) ON CONFLICT DO NOTHING"
)


def refused(session: Session, pixels: Collection[str]) -> set[str]:
    """Those digests of pixels that were erased."""
    keys = session.run("SELECT number, key FROM secret WHERE number IN (SELECT secret FROM erased)")
    if not keys or not pixels:
        return set()
    marked = {(number, erased_mark(key, one)): one for number, key in keys for one in pixels}
    sql = "SELECT secret, mark FROM erased WHERE mark = ANY(CAST(:marks AS bytea[]))"
    found = session.run(sql, marks=[mark for _, mark in marked])
    return {marked[number, mark] for number, mark in found if (number, mark) in marked}


def refuse_pixels(session: Session, pixels: Collection[str]) -> None:
    """Refuse these from now on, under the gallery's own key, which is the first."""
    ((number, key),) = session.run("SELECT number, key FROM secret ORDER BY number LIMIT 1")
    if pixels:
        session.run(_INSERT, number=number, marks=[erased_mark(key, one) for one in pixels])


def erasures(session: Session) -> tuple[Erasures, ...]:
    """All marks, by key, the gallery's own first."""
    marks: dict[int, set[bytes]] = {}
    for number, mark in session.run("SELECT secret, mark FROM erased"):
        marks.setdefault(number, set()).add(mark)
    keys = session.run("SELECT number, key FROM secret ORDER BY number")
    return tuple(Erasures(key, frozenset(marks.get(number, ()))) for number, key in keys)


def inherit(session: Session, given: Sequence[Erasures]) -> None:
    """Take over the marks of another gallery, with their keys."""
    for one in given:
        if not one.marks:
            continue
        session.run("INSERT INTO secret (key) VALUES (:key) ON CONFLICT DO NOTHING", key=one.key)
        ((number,),) = session.run("SELECT number FROM secret WHERE key = :key", key=one.key)
        session.run(_INSERT, number=number, marks=sorted(one.marks))
