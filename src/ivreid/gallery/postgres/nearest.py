"""The nearest crops: pgvector's single-precision products propose rows, of all or where asked of an index; float64 decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivreid.gallery.postgres.connections import Session
from ivreid.gallery.postgres.hnsw import proposals, scanning, serving
from ivreid.gallery.postgres.rows import VECTOR, condition, count_of, to_text, to_vectors
from ivreid.gallery.rows import SELECT, Row, to_crop
from ivreid.gallery.store import Found, Hit
from ivreid.gallery.vectors import HalfArray, closest, distances, rounding
from ivreid.gallery.where import Where

PRODUCT = "halfvec_negative_inner_product(crop.vector, CAST(:query AS halfvec))"
"""As a function it is computed for every row; an index only serves the operator."""
OPERATOR = "crop.vector <#> CAST(:query AS halfvec)"


def nearest(session: Session, where: Where, queries: HalfArray, k: int) -> Found:
    """The k nearest of all rows that pass, for each stored query (Q, D), in one snapshot.

    Exact, unless the gallery has an index that may serve such a search: then the answer says so.
    """
    count = count_of(session, where)
    index = serving(session, where, k, count)
    hits, used = [], None
    for query in queries:
        proposed = None if index is None else by_index(session, where, query, k, index.ef)
        used = used if proposed is None else index
        hits.append(exact(session, where, query, k, count) if proposed is None else proposed)
    return Found(tuple(hits), count, approximate=used)


def exact(session: Session, where: Where, query: HalfArray, k: int, count: int) -> tuple[Hit, ...]:
    """The k nearest of the `count` rows that pass, for one stored query (D,)."""
    error, deviation = rounding(len(query))
    limit = proposals(k)
    while True:
        rows = _proposed(session, where, query, limit, PRODUCT)
        hits = decided([row[2:] for row in rows], [row[1] for row in rows], query, k)
        if len(rows) >= count:
            return hits
        left_out = -max(row[0] for row in rows)  # no other row has a larger product
        if len(hits) == k and hits[-1].distance < closest(left_out + error, deviation, query):
            return hits
        limit *= 8


def by_index(session: Session, where: Where, query: HalfArray, k: int, ef: int) -> tuple[Hit, ...] | None:
    """The k nearest of what the index proposes; None where it proposes too few, though more rows pass."""
    limit = proposals(k)
    with scanning(session, ef):
        rows = _proposed(session, where, query, limit, OPERATOR)
    if len(rows) < limit:
        return None
    return decided([row[2:] for row in rows], [row[1] for row in rows], query, k)


def _proposed(session: Session, where: Where, query: HalfArray, limit: int, product: str) -> list[Row]:
    """Negative product, vector and row of those with the largest products."""
    wanted, values = condition(where)
    sql = (
        f"SELECT best.product, {VECTOR}, {SELECT} FROM (SELECT crop.time, crop.id, {product} AS product FROM crop "
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
