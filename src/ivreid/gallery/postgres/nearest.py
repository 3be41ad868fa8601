"""The nearest crops, exactly: pgvector's single-precision products propose rows, float64 decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivreid.gallery.postgres.connections import Session
from ivreid.gallery.postgres.rows import VECTOR, condition, to_text, to_vectors
from ivreid.gallery.rows import SELECT, Row, to_crop
from ivreid.gallery.store import Hit
from ivreid.gallery.vectors import HalfArray, closest, distances, rounding
from ivreid.gallery.where import Where

PRODUCT = "halfvec_negative_inner_product(crop.vector, CAST(:query AS halfvec))"
"""As a function it is computed for every row; an index only serves the operator."""


def nearest(
    session: Session, where: Where, queries: HalfArray, k: int
) -> tuple[tuple[tuple[Hit, ...], ...], int]:
    """The k nearest of all rows that pass, for each stored query (Q, D), and how many passed, in one snapshot."""
    wanted, values = condition(where)
    ((count,),) = session.run(f"SELECT count(*) FROM crop WHERE {wanted}", **values)
    return tuple(_one(session, where, query, k, count) for query in queries), count


def _one(session: Session, where: Where, query: HalfArray, k: int, count: int) -> tuple[Hit, ...]:
    error, deviation = rounding(len(query))
    limit = 2 * k + 64
    while True:
        rows = _proposed(session, where, query, limit)
        hits = decided([row[2:] for row in rows], [row[1] for row in rows], query, k)
        if len(rows) >= count:
            return hits
        left_out = -max(row[0] for row in rows)  # no other row has a larger product
        if len(hits) == k and hits[-1].distance < closest(left_out + error, deviation, query):
            return hits
        limit *= 8


def _proposed(session: Session, where: Where, query: HalfArray, limit: int) -> list[Row]:
    """Negative product, vector and row of those with the largest products."""
    wanted, values = condition(where)
    sql = (
        f"SELECT best.product, {VECTOR}, {SELECT} FROM (SELECT crop.time, crop.id, {PRODUCT} AS product FROM crop "
        f"WHERE {wanted} ORDER BY 3 LIMIT :limit) AS best JOIN crop ON crop.time = best.time AND crop.id = best.id"
    )
    return list(session.run(sql, query=to_text(query), limit=limit, **values))


def decided(rows: Sequence[Row], sent: Sequence[bytes], query: HalfArray, k: int) -> tuple[Hit, ...]:
    """The k nearest of some rows, by the distance that every store computes, ties by id."""
    if not rows:
        return ()
    gaps = distances(query, to_vectors(sent, len(query)))
    order = np.lexsort((np.array([row[0] for row in rows]), gaps))[:k]
    return tuple(Hit(to_crop(rows[place]), float(gaps[place])) for place in order.tolist())
