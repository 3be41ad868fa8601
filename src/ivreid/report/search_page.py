"""A page with the answer to a search: the query, and what was found, with pictures and words."""

from __future__ import annotations

import base64
from importlib.resources import files
from pathlib import Path

from ivreid.gallery.answer import Answer, Answered, Match
from ivreid.gallery.pictures import query_pictures
from ivreid.gallery.store import Store
from ivreid.io import ValueRange, starting_with, write_text
from ivreid.report.html import Html, el, join

PAGE = starting_with("pages", ".html", b"<!doctype html>")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
.hits { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }
.hits li { width: 9rem; overflow-wrap: anywhere; }
.hits img, .queries img { max-width: 9rem; max-height: 18rem; display: block; }
"""


def write_search_page(out: Path | str, answer: Answer, store: Store, value_range: ValueRange) -> None:
    """Write one self-contained HTML page; it loads nothing and runs no script.

    Args:
        out: The file.
        answer: What was found.
        store: Where it was found: it has the pictures of the hits, and of queries that are crops of it.
        value_range: How queries of more than eight bits become 256 greys, see `Embedder.preprocessing`.
    """
    write_text(out, search_page(answer, store, value_range))


def search_page(answer: Answer, store: Store, value_range: ValueRange) -> str:
    """The page that `write_search_page` writes."""
    title = f"Search in {store.address}"
    notes = [*([] if answer.approximate is None else [str(answer.approximate)]), *answer.notes]
    parts: list[object] = [el("h1", title)]
    parts += [el("p", el("strong", note)) for note in notes]
    parts.append(el("p", "Nearest is not same: a person decides, with a stated purpose and a legal basis."))
    parts += [_section(one, store, value_range) for one in answer.results]
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


def _section(one: Answered, store: Store, value_range: ValueRange) -> Html:
    shown = query_pictures(store, one.query, value_range)
    pictures = el("div", *(_picture(picture, one.query) for picture in shown), class_="queries")
    count = el("p", f"{len(one.hits)} of {one.searched:,} crops searched")
    hits = el("ol", *(_hit(rank, hit, store) for rank, hit in enumerate(one.hits, start=1)), class_="hits")
    return el("section", el("h2", one.query), pictures, count, hits)


def _hit(rank: int, hit: Match, store: Store) -> Html:
    crop, said = hit.crop, hit.decision
    lines = [
        said.decision, f"distance {hit.distance:.4f}", crop.camera, crop.time.isoformat(), crop.modality.value
    ]  # fmt: skip
    lines += [f"tracklet {crop.tracklet}"] if crop.tracklet else []
    kept = store.picture(crop.address)
    picture = _picture(kept, f"hit {rank}") if kept else el("p", "no picture kept")
    why = said.why + ("" if hit.travel is None else f"; travel: {hit.travel.why}")
    return el("li", picture, el("strong", f"{rank}. "), *(el("div", line) for line in lines), title=why)


def _picture(data: bytes, name: str) -> Html:
    return el("img", src=f"data:image/jpeg;base64,{base64.b64encode(data).decode()}", alt=name)
