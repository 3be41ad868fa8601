"""When an index over the vectors may serve a search; there is none unless somebody asked for it.

pgvector looks for an index's proposals first and at a filter afterwards. So a scan goes on until enough rows pass
(iterative, in strict order), a filter that leaves less than half of the gallery is searched exactly, and so is whatever
got too few proposals, or lies beyond what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from ivreid.gallery.postgres.connections import Session
from ivreid.gallery.postgres.rows import count_of
from ivreid.gallery.store import Approximate
from ivreid.gallery.where import EVERYTHING, Where

META = "hnsw"
"""Where the table `meta` keeps what was measured; an index that was not measured serves no search."""
DEEPEST = 100
"""Hits of a query; for more the recall was not measured, and the search is exact."""
BROAD = 0.5
"""Share of the gallery that must pass a filter."""
GROWN = 2
"""So many times as many crops as were measured with, and the measured recall says nothing any more."""


def proposals(k: int) -> int:
    """How many rows are proposed for k hits, so that rounding of products leaves out none of them."""
    return 2 * k + 64


def broad(passing: int, total: int) -> bool:
    """Whether a filter leaves enough for an index."""
    return passing >= BROAD * total


def measured(session: Session) -> Approximate | None:
    """What was measured of the gallery's index; None without one."""
    rows = session.run("SELECT value FROM meta WHERE name = :name", name=META)
    return Approximate.from_json(json.loads(rows[0][0])) if rows else None


def serving(session: Session, where: Where, k: int, count: int) -> Approximate | None:
    """The index that may serve a search which `count` rows pass; None where it has to be exact."""
    index = measured(session)
    if index is None or k > DEEPEST or count <= proposals(k):
        return None
    total = count if where == EVERYTHING else count_of(session, EVERYTHING)
    return index if broad(count, total) and total <= GROWN * index.crops else None


@contextmanager
def scanning(session: Session, ef: int) -> Iterator[None]:
    """Within, rows in the order of their products come from the index, and until enough of them pass a filter."""
    settings = {
        "hnsw.ef_search": str(ef),
        "hnsw.iterative_scan": "strict_order",
        "enable_sort": "off",  # else the planner chooses by its mood
    }
    asked = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    session.run(f"SELECT {asked}")
    yield
    session.run("SELECT set_config('enable_sort', 'on', true)")
