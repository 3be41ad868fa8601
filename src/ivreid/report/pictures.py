"""Ranked lists with pictures: right and wrong told apart by sign, border pattern and colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ivreid.errors import IvreidError
from ivreid.io import atomic_write
from ivreid.report.html import Html, absent, el, join
from ivreid.report.inputs import Hit, ImageLoader, RankedQuery, ShownImage

THUMB = (96, 192)
"""Largest width and height of a stored picture, twice the size it is shown at."""
LARGE = (160, 320)
"""The same of a picture in a folder beside the page."""
SMALL = (56, 112)
"""The same of a picture that the script shows: many must fit."""
QUALITIES = (72, 50, 30)
ENOUGH = 8000
"""Bytes a thumbnail may take; a noisy image falls to a lower quality, so that a page stays under 3 MB."""


class Pictures:
    """Thumbnails for one page; an image is opened once, and one that cannot be opened is remembered."""

    def __init__(self, loader: ImageLoader | None) -> None:
        self.loader = loader
        self.failures: dict[str, str] = {}
        self._cache: dict[str, str | None] = {}

    def small(self, path: str) -> str | None:
        """A smaller data URI of the image, or None where there is none; not remembered."""
        image = self.open(path)
        return None if image is None else encode(image, SMALL, enough=2600)

    def save(self, path: str, out: Path) -> bool:
        """Write the image as a JPEG of its own; False where there is none."""
        image = self.open(path)
        if image is not None:
            with atomic_write(out) as file:
                file.write(_jpeg(image, LARGE, ENOUGH * 4))
        return image is not None

    def open(self, path: str) -> Image.Image | None:
        """The whole image, or None where it cannot be opened, which is remembered."""
        if self.loader is None or not path or path in self.failures:
            return None
        try:
            return self.loader(path)
        except (IvreidError, OSError, ValueError) as error:
            self.failures[path] = str(error)
            return None

    def source(self, path: str) -> str | None:
        """A data URI of the image, or None where there is none."""
        if self.loader is None or not path:
            return None
        if path not in self._cache:
            image = self.open(path)
            self._cache[path] = None if image is None else encode(image)
        return self._cache[path]


def encode(image: Image.Image, size: tuple[int, int] = THUMB, enough: int = ENOUGH) -> str:
    """The image as a small JPEG in a data URI."""
    data = _jpeg(image, size, enough)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _jpeg(image: Image.Image, size: tuple[int, int], enough: int) -> bytes:
    small = image.convert("RGB")
    small.thumbnail(size, Image.Resampling.LANCZOS)
    data = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= enough:
            break
    return data


def who(image: ShownImage) -> str:
    """Whom and what an image shows, in words."""
    modality = "infrared" if image.infrared else "visible"
    return f"identity {image.pid}, {f'camera {image.camid}, ' if image.camid else ''}{modality}"


def _picture(pictures: Pictures, image: ShownImage, alt: str) -> Html:
    source = pictures.source(image.path)
    if source is None:
        return el("span", f"id {image.pid}", role="img", aria_label=f"{alt} (no picture)", class_="blank")
    return el("img", src=source, alt=alt, title=image.path, loading="lazy")


def _hit(pictures: Pictures, hit: Hit, *, late: bool = False) -> Html:
    word, sign = ("right", "✓") if hit.right else ("wrong", "✗")
    alt = f"Rank {hit.rank}, {word}: {who(hit.image)}, distance {hit.distance:.3f}"
    caption = join(
        [el("b", sign, class_="sign", aria_hidden="true"), " ", el("span", f"{hit.rank:,}", class_="rank")]
    )
    camera = f" · c{hit.image.camid}" if hit.image.camid else ""
    return el(
        "li",
        el("div", _picture(pictures, hit.image, alt), class_="frame"),
        el("div", caption, class_="place"),
        el("div", f"{hit.image.pid}{camera}", el("br"), f"{hit.distance:.3f}", class_="fine"),
        class_=f"{word}{' late' if late else ''}",
    )


def ranked_list(pictures: Pictures, row: RankedQuery) -> Html:
    """One query, its first places, and its first true match where that comes later."""
    query = row.query
    camera = f" · c{query.camid}" if query.camid else ""
    hits = [_hit(pictures, hit) for hit in row.hits]
    if row.first_match.rank > len(row.hits):
        hits.append(_hit(pictures, row.first_match, late=True))
    head = el(
        "div",
        el("div", _picture(pictures, query, f"Query: {who(query)}"), class_="frame"),
        el("div", "Query", class_="place"),
        el("div", f"{query.pid}{camera}", el("br"), f"AP {100 * row.average_precision:.1f}%", class_="fine"),
        class_="query",
    )
    return el("div", head, el("ol", *hits, class_="hits"), class_="ranked")


def ranked_lists(pictures: Pictures, rows: Sequence[RankedQuery], reason: str | None) -> Html:
    """Ranked lists one under the other, with a word on pictures that are missing."""
    lists = [ranked_list(pictures, row) for row in rows]
    trouble = _trouble(pictures, rows, reason)
    return join(
        [absent(f"{trouble.rstrip('.')}; identities stand in their place") if trouble else None, *lists]
    )


def _trouble(pictures: Pictures, rows: Sequence[RankedQuery], reason: str | None) -> str | None:
    if pictures.loader is None:
        return f"pictures, because {reason or 'no dataset folder was given'}"
    if not all(row.query.path for row in rows):
        return "pictures, because the features file names no image paths"
    shown = {image.path for row in rows for image in (row.query, *(hit.image for hit in row.hits))}
    failed = sorted(shown & pictures.failures.keys())
    return (
        f"{len(failed):,} picture(s), first {failed[0]}: {pictures.failures[failed[0]]}" if failed else None
    )


KEY = el(
    "ul",
    el("li", el("span", el("b", "✓", class_="sign"), class_="swatch right"), "same person, solid border"),
    el("li", el("span", el("b", "✗", class_="sign"), class_="swatch wrong"), "another person, dashed border"),
    class_="legend",
)
"""What the signs and borders mean."""
