"""Which regions of two pictures made them similar, drawn over the pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ivreid.errors import IvreidError
from ivreid.report.html import Html, absent, el, join
from ivreid.report.inputs import RankedQuery, ReportInput
from ivreid.report.pictures import Pictures, encode, who

SIZE = (96, 192)
MOST = 6
"""Queries of either kind, found and missed."""


def attention_section(report: ReportInput, pictures: Pictures) -> Html | None:
    """Queries that met their person and queries that met another, each with the picture in first place."""
    if report.attention is None or report.ranked is None or pictures.loader is None:
        reason = report.reasons.get("attention")
        return absent(reason) if reason else None
    rows = [row for row in report.ranked.sample if row.hits[0].right][:MOST] + list(
        report.ranked.worst[:MOST]
    )
    opened = [(row, *_open(row, pictures)) for row in rows]
    ready = [(row, query, hit) for row, query, hit in opened if query is not None and hit is not None]
    if not ready:
        return None
    try:
        maps = report.attention(
            [((query, row.query.infrared), (hit, row.hits[0].image.infrared)) for row, query, hit in ready]
        )
    except IvreidError as error:
        return absent(f"which regions decided: {error}")
    lead = (
        "Which regions made the query and the picture in first place similar: each place's share of their cosine "
        "similarity (gradient times activation of the last feature map, negative shares left out), from none (blue) over "
        "green to most (yellow). Look for backgrounds, bags and edges that decide in place of the person."
    )
    shown = [
        _pair(row, overlay(query, pair[0]), overlay(hit, pair[1]))
        for (row, query, hit), pair in zip(ready, maps, strict=True)
    ]
    return join([el("p", lead, class_="lead"), el("div", *shown, class_="deciders")])


def _open(row: RankedQuery, pictures: Pictures) -> tuple[Image.Image | None, Image.Image | None]:
    return pictures.open(row.query.path), pictures.open(row.hits[0].image.path)


def _pair(row: RankedQuery, query: Image.Image, met: Image.Image) -> Html:
    hit = row.hits[0]
    word, sign = ("right", "✓") if hit.right else ("wrong", "✗")
    sides = [
        _side(query, f"Query: {who(row.query)}", "query"),
        _side(met, f"Rank 1, {word}: {who(hit.image)}", word),
    ]
    mark = el("b", sign, class_="sign", aria_hidden="true")
    words = f" {row.query.pid} met {hit.image.pid}, distance {hit.distance:.3f}"
    return el("div", el("div", *sides, class_="sides"), el("p", mark, words, class_="fine"), class_=word)


def _side(drawn: Image.Image, alt: str, word: str) -> Html:
    shown = el(
        "img", src=encode(drawn, SIZE, 4000), alt=f"{alt}, with the regions that decided", loading="lazy"
    )
    return el("div", el("div", shown, class_="frame"), class_=word)


def overlay(image: Image.Image, heat: NDArray[np.float64]) -> Image.Image:
    """The picture in grey under the map in colours whose lightness rises with it (readable without colour vision)."""
    grey = image.convert("L").convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    heat = np.maximum(np.asarray(heat, dtype=np.float64), 0.0)
    top = float(heat.max())
    share = Image.fromarray((255 * heat / top if top > 0 else heat).astype(np.uint8))
    level = np.asarray(share.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float64)[..., None] / 255
    stops = np.array([[38, 40, 90], [32, 110, 142], [53, 183, 121], [253, 231, 37]], dtype=np.float64)
    place = level[..., 0] * (len(stops) - 1)
    colours = np.stack(
        [np.interp(place, np.arange(len(stops)), stops[:, channel]) for channel in range(3)], axis=-1
    )
    weight = 0.25 + 0.4 * level
    mixed = (1 - weight) * np.asarray(grey, dtype=np.float64) + weight * colours
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
