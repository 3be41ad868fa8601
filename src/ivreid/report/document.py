"""The page around its sections: head, contents list, style, script, and what it may load."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from ivreid.report.html import Absent, Html, el, join, prose
from ivreid.report.page_data import BUDGET, PageData

Section = tuple[str, str, Html | None]
"""Key, heading and body of a section; a body that is `Absent` is listed at the end instead."""


def document(title: str, header: Html, sections: Sequence[Section], data: PageData) -> str:
    """The whole page.

    Args:
        title: Of the window.
        header: What stands above the sections.
        sections: In reading order; those without a body are left out.
        data: What the script works with; pictures fill the room that is left.
    """
    shown = [(key, name, body) for key, name, body in sections if body and not isinstance(body, Absent)]
    missing = [(name, body.reason) for _, name, body in sections if isinstance(body, Absent)]
    if missing:
        shown.append(("missing", "Not shown", _missing(missing)))
    links = (el("li", el("a", name, href=f"#{key}")) for key, name, _ in shown)
    nav = el("nav", el("p", "Contents", class_="kicker"), el("ul", *links), aria_label="Contents")
    main = el("main", *(el("section", el("h2", name), body, id=key) for key, name, body in shown))
    skip = el("a", "To the results", href=f"#{shown[0][0]}", class_="skip") if shown else None
    body = join([skip, header, el("div", nav, main, class_="body")])
    script, style = (_text(f"page.{kind}") for kind in ("js", "css"))
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_policy(script, data)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title} · ivreid report"),
        el("style", Html(style)),
    )
    block = data.block(BUDGET - len(f"{head}{body}{script}".encode()))
    whole = el("html", head, el("body", body, block, el("script", Html(script))), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _text(name: str) -> str:
    return files("ivreid.report").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str, data: PageData) -> str:
    """What the page may load and run: what it carries, this one script, and pictures of the folder beside it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    images = "data:" if data.folder is None else "data: 'self' file:"
    return f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _missing(parts: Sequence[tuple[str, str]]) -> Html:
    """Parts that cannot be shown, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in parts:
        by_reason.setdefault(reason, []).append(name)
    items = (
        el("li", el("strong", f"{', '.join(names)}: "), prose(reason)) for reason, names in by_reason.items()
    )
    return el("ul", *items, class_="missing")
