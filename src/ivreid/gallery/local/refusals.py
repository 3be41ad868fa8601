"""Pixels that were erased and are refused: only marks of them are kept, under keys that never leave the gallery."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from ivreid.gallery.record import erased_mark
from ivreid.gallery.store import Erasures

OWN = 1
"""The number of the gallery's own key; others came with copies."""


def refused(db: sqlite3.Connection, pixels: Collection[str]) -> set[str]:
    """Those digests of pixels that were erased."""
    keys = db.execute("SELECT number, key FROM secret WHERE number IN (SELECT secret FROM erased)").fetchall()
    sql = "SELECT 1 FROM erased WHERE secret = ? AND mark = ?"
    return {
        one
        for one in pixels
        if any(db.execute(sql, (number, erased_mark(key, one))).fetchone() for number, key in keys)
    }


def refuse_pixels(db: sqlite3.Connection, pixels: Collection[str]) -> None:
    """Refuse these from now on."""
    (key,) = db.execute("SELECT key FROM secret WHERE number = ?", (OWN,)).fetchone()
    marks = [(OWN, erased_mark(key, one)) for one in pixels]
    db.executemany("INSERT OR IGNORE INTO erased VALUES (?, ?)", marks)


def erasures(db: sqlite3.Connection) -> tuple[Erasures, ...]:
    """All marks, by key, the gallery's own first."""
    return tuple(
        Erasures(
            key,
            frozenset(row[0] for row in db.execute("SELECT mark FROM erased WHERE secret = ?", (number,))),
        )
        for number, key in db.execute("SELECT number, key FROM secret ORDER BY number").fetchall()
    )


def inherit(db: sqlite3.Connection, given: Sequence[Erasures]) -> None:
    """Take over the marks of another gallery, with their keys."""
    for one in given:
        if not one.marks:
            continue
        db.execute("INSERT OR IGNORE INTO secret (key) VALUES (?)", (one.key,))
        (number,) = db.execute("SELECT number FROM secret WHERE key = ?", (one.key,)).fetchone()
        db.executemany("INSERT OR IGNORE INTO erased VALUES (?, ?)", [(number, mark) for mark in one.marks])
