"""Queries that one of two runs meets first and the other does not, with what each met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivreid.errors import IvreidError
from ivreid.metrics import Outcomes
from ivreid.protocols import Protocol
from ivreid.report.html import Html, absent, el, join, table
from ivreid.report.inputs import ShownImage
from ivreid.report.pictures import KEY, Pictures, who
from ivreid.report.ranked_lists import rank_heads, shown_image
from ivreid.types import BoolArray, Embeddings, IntArray

MOST = 8
"""Queries shown of either kind, one an identity."""


@dataclass(frozen=True)
class FirstPlaces:
    """What one run puts first for every query of a trial.

    Attributes:
        name: The run's.
        query: (Q,) images.
        gallery: (G,) images.
        outcomes: Of the queries.
        met: (Q,) rows of the gallery in first place, -1 where a list is empty.
    """

    name: str
    query: tuple[ShownImage, ...]
    gallery: tuple[ShownImage, ...]
    outcomes: Outcomes
    met: IntArray


def first_places(name: str, embeddings: Embeddings, protocol: Protocol, metric: str) -> FirstPlaces:
    """Rank the first trial.

    Raises:
        IvreidError: Embeddings that do not fit the protocol.
    """
    trial = protocol.trials(embeddings.images)[0]
    query, gallery = embeddings.take(trial.query), embeddings.take(trial.gallery)
    outcomes, hits, _ = rank_heads(query, gallery, protocol.excluded(query.images, gallery.images), metric)
    sides = [tuple(shown_image(side.images, row) for row in range(len(side))) for side in (query, gallery)]
    return FirstPlaces(name, sides[0], sides[1], outcomes, hits[:, 0])


def won_and_lost(one: FirstPlaces, other: FirstPlaces, pictures: Pictures) -> Html:
    """How often each meets the right person first, and queries on which they differ."""
    if one.query != other.query or one.gallery != other.gallery:
        return absent(f"what {one.name} wins and {other.name} loses: they were tested on different images")
    right = [run.outcomes.first_image == 1 for run in (one, other)]
    valid = one.outcomes.valid & other.outcomes.valid
    rows = [
        ["both", *_share(valid & right[0] & right[1], valid)],
        [f"only {one.name}", *_share(valid & right[0] & ~right[1], valid)],
        [f"only {other.name}", *_share(valid & ~right[0] & right[1], valid)],
        ["neither", *_share(valid & ~right[0] & ~right[1], valid)],
    ]
    counted = table(
        ["Right person first in", "Queries", "Share"], rows, class_="plain facts", name="won-and-lost"
    )
    parts = [
        _won(one, other, valid & right[0] & ~right[1], pictures),
        _won(other, one, valid & right[1] & ~right[0], pictures),
    ]
    return join([el("h3", f"{one.name} and {other.name}"), counted, KEY, *parts])


def _share(chosen: BoolArray, valid: BoolArray) -> tuple[str, str]:
    return f"{int(chosen.sum()):,}", f"{100 * chosen.sum() / max(1, valid.sum()):.1f}%"


def _won(winner: FirstPlaces, loser: FirstPlaces, chosen: BoolArray, pictures: Pictures) -> Html:
    """The queries that the winner meets first and the loser farthest from the top, one an identity."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-loser.outcomes.first_image[rows], kind="stable")]
    seen: set[int] = set()
    kept: list[int] = []
    for row in rows:
        pid = winner.query[row].pid
        if pid not in seen and len(kept) < MOST:
            seen.add(pid)
            kept.append(int(row))
    heading = el("h4", f"{winner.name} wins, {loser.name} loses ({len(rows):,})")
    if not kept:
        return join([heading, el("p", "No query.", class_="reading")])
    return join([heading, el("div", *(_one(winner, loser, row, pictures) for row in kept), class_="wins")])


def _one(winner: FirstPlaces, loser: FirstPlaces, row: int, pictures: Pictures) -> Html:
    query = winner.query[row]
    cells = [_picture(query, "Query", "query", "Query", pictures)]
    for run, word, sign in ((winner, "right", "✓"), (loser, "wrong", "✗")):
        met = run.gallery[int(run.met[row])]
        cells.append(
            _picture(met, f"{run.name}, {word}", word, join([_sign(sign), f" {run.name}"]), pictures)
        )
    late = int(loser.outcomes.first_image[row])
    words = f"identity {query.pid}: {loser.name} has its first match at rank {late:,}"
    return el("div", *cells, el("p", words, class_="fine"), class_="win")


def _sign(sign: str) -> Html:
    return el("b", sign, class_="sign", aria_hidden="true")


def _picture(image: ShownImage, role: str, word: str, label: object, pictures: Pictures) -> Html:
    source, alt = pictures.source(image.path), f"{role}: {who(image)}"
    shown = (
        el("span", f"id {image.pid}", role="img", aria_label=f"{alt} (no picture)", class_="blank")
        if source is None
        else el("img", src=source, alt=alt, title=image.path, loading="lazy")
    )
    return el("div", el("div", shown, class_="frame"), el("div", label, class_="place"), class_=word)


def pairs_section(runs: Sequence[FirstPlaces | IvreidError], pictures: Pictures) -> Html:
    """The first run against each other."""
    first, *others = runs
    if isinstance(first, IvreidError):
        return absent(f"what each wins and loses: {first}")
    parts: list[Html] = []
    for other in others:
        if isinstance(other, IvreidError):
            parts.append(absent(f"what each wins and loses: {other}"))
        else:
            parts.append(won_and_lost(first, other, pictures))
    lead = (
        "Queries of the first trial for which one run puts the right person first and the other does not: one an "
        "identity, those first whose match the loser has farthest down."
    )
    return join([el("p", lead, class_="lead"), *parts])
