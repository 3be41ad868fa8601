"""A page with the answer to a search: the query, and what was found, with pictures and words."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from ivreid.io import starting_with
from ivreid.report.html import Html, el, join

PAGE = starting_with("pages", ".html", b"<!doctype html>")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
.hits { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }
.hits li { width: 9rem; overflow-wrap: anywhere; }
.hits img, .queries img { max-width: 9rem; max-height: 18rem; display: block; }
"""


@dataclass(frozen=True)
class ShownHit:
    """What the page says of a hit; `picture` is a JPEG, or None where the gallery keeps none."""

    picture: bytes | None
    distance: float
    decision: str
    why: str
    camera: str
    time: str
    modality: str
    tracklet: str


@dataclass(frozen=True)
class ShownQuery:
    """A query, its pictures, how many crops were searched, and its hits."""

    name: str
    pictures: Sequence[bytes]
    searched: int
    hits: Sequence[ShownHit]


def search_page(title: str, queries: Sequence[ShownQuery], notes: Sequence[str]) -> str:
    """One self-contained HTML page; it loads nothing and runs no script.

    Args:
        title: Its heading.
        queries: In their order.
        notes: What is to be said of the whole answer.
    """
    parts: list[object] = [el("h1", title)]
    parts += [el("p", el("strong", note)) for note in notes]
    parts.append(el("p", "Nearest is not same: a person decides, with a stated purpose and a legal basis."))
    parts += [_section(query) for query in queries]
    style = files("ivreid.report").joinpath("page.css").read_text(encoding="utf-8") + _STYLE
    head = join(
        [
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", http_equiv="Content-Security-Policy", content=POLICY),
            el("title", title),
            el("style", Html(style)),
        ]
    )
    return f"<!doctype html>\n{el('html', el('head', head), el('body', el('main', *parts)), lang='en')}\n"


def _section(query: ShownQuery) -> Html:
    pictures = el("div", *(_picture(one, query.name) for one in query.pictures), class_="queries")
    count = el("p", f"{len(query.hits)} of {query.searched:,} crops searched")
    hits = el("ol", *(_hit(rank, hit) for rank, hit in enumerate(query.hits, start=1)), class_="hits")
    return el("section", el("h2", query.name), pictures, count, hits)


def _hit(rank: int, hit: ShownHit) -> Html:
    lines = [hit.decision, f"distance {hit.distance:.4f}", hit.camera, hit.time, hit.modality]
    lines += [f"tracklet {hit.tracklet}"] if hit.tracklet else []
    picture = _picture(hit.picture, f"hit {rank}") if hit.picture else el("p", "no picture kept")
    return el("li", picture, el("strong", f"{rank}. "), *(el("div", line) for line in lines), title=hit.why)


def _picture(data: bytes, name: str) -> Html:
    return el("img", src=f"data:image/jpeg;base64,{base64.b64encode(data).decode()}", alt=name)
