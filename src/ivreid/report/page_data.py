"""What the page's script works with: images, pictures, queries, as JSON inside the page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ivreid.errors import DataError
from ivreid.report.html import Html, el
from ivreid.report.inputs import AllQueries, ShownImage
from ivreid.report.pictures import Pictures

BUDGET = 2_850_000
"""Bytes of a whole page; what is left beside the rest is filled with pictures for its script."""


class PageData:
    """Collects images that the script may show; each has a number on the page.

    Args:
        pictures: Opens and shrinks them.
        folder: Name of the folder beside the page that holds all pictures; None keeps them in the page.
    """

    def __init__(self, pictures: Pictures, folder: str | None = None) -> None:
        self._pictures, self.folder = pictures, folder
        self._numbers: dict[ShownImage, int] = {}
        self._wanted: Counter[int] = Counter()
        self._queries: dict[str, Any] | None = None

    def number(self, image: ShownImage, weight: int = 1) -> int:
        """The image's number; a weight says how much its picture is wanted."""
        number = self._numbers.setdefault(image, len(self._numbers))
        self._wanted[number] += weight
        return number

    def add_queries(self, everyone: AllQueries) -> None:
        """Take in all queries and their lists."""
        lists = [[int(hit) for hit in row if hit >= 0] for row in everyone.hits]
        often = Counter(hit for row in lists for hit in row)
        gallery = [self.number(image, 3 * often[at]) for at, image in enumerate(everyone.gallery)]
        count = len(everyone.queries)
        asked = [self.number(image, 2 + (place < count // 5)) for place, image in enumerate(everyone.queries)]
        self._queries = {
            "q": asked,
            "ap": [round(1000 * float(value)) for value in everyone.average_precision],
            "first": [int(rank) for rank in everyone.first_match],
            "hits": [[gallery[hit] for hit in row] for row in lists],
            "d": [
                [round(1000 * float(d)) for d in row[: len(hits)]]
                for row, hits in zip(everyone.distances, lists, strict=True)
            ],
        }

    def files(self) -> list[tuple[int, str]]:
        """Number and path of every image with a file."""
        return [(number, image.path) for image, number in self._numbers.items() if image.path]

    def write_pictures(self, folder: Path) -> None:
        """Write every picture into a folder, named by its number.

        Raises:
            DataError: The folder cannot be written.
        """
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot make {folder}: {error.strerror}") from error
        for number, path in self.files():
            self._pictures.save(path, folder / f"{number}.jpg")

    def block(self, room: int) -> Html:
        """The data as an element that nothing executes.

        Args:
            room: Bytes it may take; the most wanted pictures come first.
        """
        images = [[i.path, i.pid, i.camid, int(i.infrared)] for i in self._numbers]
        value: dict[str, Any] = {"images": images, "queries": self._queries, "folder": self.folder}
        if self.folder is None:
            room -= len(_json({**value, "pictures": {}}).encode())
            value["pictures"] = self._fill(images, room)
        return el("script", Html(_json(value)), type="application/json", id="page-data")

    def _fill(self, images: Sequence[Sequence[Any]], room: int) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, _ in self._wanted.most_common():
            path = str(images[number][0])
            if room < 4000 or self._pictures.loader is None:
                break
            small = self._pictures.small(path)
            if small is not None and len(small) + 12 <= room:
                found[str(number)] = small
                room -= len(small) + 12
        return found


def _json(value: Any) -> str:
    """JSON in which nothing can end the element it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def shown_images(
    paths: Sequence[str], pids: Iterable[Any], camids: Iterable[Any], infrared: Any
) -> list[ShownImage]:
    """The rows of an image table as a page names them."""
    names = paths or [""] * len(np.asarray(infrared))
    rows = zip(names, pids, camids, infrared, strict=True)
    return [ShownImage(path, int(pid), int(camid), bool(ir)) for path, pid, camid, ir in rows]
