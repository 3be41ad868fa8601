"""HTML by construction: text is escaped unless it is markup, so nothing a user named can become a tag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = frozenset({"img", "meta", "br"})


class Html(str):
    """Markup that is already safe; every other string is text and is escaped when it enters a page."""

    __slots__ = ()


def text(value: object) -> Html:
    """The value as escaped text; `Html` passes unchanged, None is nothing."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else escape(str(value), quote=True))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """The parts, each escaped unless it is markup, one after another."""
    return Html(str(text(separator)).join(text(part) for part in parts))


def el(tag: str, *children: object, **attributes: object) -> Html:
    """One element.

    Args:
        tag: Its name.
        *children: Text (escaped) or `Html`.
        **attributes: `class_` loses the trailing underscore, other underscores become hyphens; None and
            False leave the attribute out, True writes its bare name.
    """
    written = []
    for name, value in attributes.items():
        key = name.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {key}")
        elif value is not None and value is not False:
            written.append(f' {key}="{escape(str(value), quote=True)}"')
    opening = f"<{tag}{''.join(written)}>"
    return Html(opening if tag in VOID else f"{opening}{join(children)}</{tag}>")


def table(
    head: Iterable[object],
    rows: Iterable[Iterable[object]],
    *,
    caption: object = None,
    class_: str | None = None,
    name: str | None = None,
) -> Html:
    """A table whose first column heads its rows; wide ones scroll inside their own box."""
    names = list(head)
    header = el("thead", el("tr", *(el("th", cell, scope="col") for cell in names)))
    body = []
    for row in rows:
        first, *rest = row
        # narrow screens show a row as a block, where each cell brings its heading along
        cells = (el("td", cell, data_label=name) for name, cell in zip(names[1:], rest, strict=True))
        body.append(el("tr", el("th", first, scope="row"), *cells))
    title = el("caption", caption) if caption is not None else None
    # the name makes it a file to take away; a scrolling box must be reachable by keyboard
    return el(
        "div",
        el("table", title, header, el("tbody", *body), data_name=name),
        class_=f"scroll {class_ or ''}".strip(),
        tabindex=0,
    )


def figure(content: object, caption: object, *, class_: str | None = None) -> Html:
    """A figure with the caption that says how to read it."""
    words = caption if isinstance(caption, Html) else prose(str(caption))
    return el("figure", content, el("figcaption", words), class_=class_)


def prose(words: str) -> Html:
    """Escaped text in which `words between backticks` become code."""
    return Html(re.sub("`([^`]+)`", r"<code>\1</code>", text(words)))


class Absent(Html):
    """What stands where something cannot be shown: the reason, as a sentence.

    Attributes:
        reason: The same without its mark-up.
    """

    reason: str


def absent(reason: str) -> Absent:
    """What stands where something cannot be shown, and why."""
    reason = f"{reason.rstrip('.')}."
    shown = Absent(el("p", el("strong", "Not shown: "), prose(reason), class_="absent"))
    shown.reason = reason
    return shown
