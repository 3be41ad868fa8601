"""Where pixels come from: decoded on demand, or from the cache; the same pixels either way."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ivreid.data.cache import CacheKey, open_cache
from ivreid.data.pixels import Filter, Pixels, decode
from ivreid.data.workers import prefetch
from ivreid.errors import ImageError
from ivreid.io import REFUSE, ValueRange, value_range_of
from ivreid.types import IntArray, Progress

OnBadImage = Literal["stop", "skip"]

LISTED = 100

log = logging.getLogger(__name__)


class ImageSource(Protocol):
    """Images by number."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> Pixels:
        """One image as (H, W, 3) uint8; the caller must not change it."""
        ...


@dataclass(frozen=True)
class DecodedImages:
    """Images decoded anew each time they are read.

    Attributes:
        root: Folder the paths are relative to.
        paths: One per image.
        size: Height and width to resize to.
        value_range: How grey of more than eight bits becomes 256 greys.
        resize: The filter to resize by.
    """

    root: Path
    paths: Sequence[str]
    size: tuple[int, int]
    value_range: ValueRange = REFUSE
    resize: Filter = "bilinear"

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> Pixels:
        """Decode and resize one image.

        Raises:
            ImageError: It cannot be decoded; the message names the file.
        """
        return decode(self.root / self.paths[row], self.size, self.value_range, self.resize)


@dataclass(frozen=True, eq=False)
class SelectedImages:
    """Some images of another source, renumbered."""

    images: ImageSource
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int) -> Pixels:
        """One image."""
        return self.images.read(int(self.rows[row]))


def select(images: ImageSource, rows: ArrayLike) -> ImageSource:
    """The given rows of a source, in that order."""
    return SelectedImages(images, np.asarray(rows, dtype=np.int64))


def find_unreadable(
    root: Path,
    paths: Sequence[str],
    *,
    value_range: ValueRange = REFUSE,
    workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Decode every file once: relative path -> reason, for those that cannot be decoded."""
    problems = {}

    def check(path: str) -> str:
        try:
            decode(root / path, (8, 8), value_range)
        except ImageError as error:
            return str(error)
        return ""

    for done, (path, problem) in enumerate(
        zip(paths, prefetch(check, paths, workers, ahead=64), strict=True), 1
    ):
        if problem:
            problems[path] = problem
        if progress is not None:
            progress(done, len(paths))
    return problems


def measure_value_range(
    root: Path, paths: Sequence[str], *, workers: int = 2, progress: Progress | None = None
) -> tuple[float, float] | None:
    """Smallest and largest value of all pictures of more than eight bits; None where there is none.

    Files that cannot be read are left to whoever reads them next.
    """

    def look(path: str) -> tuple[float, float] | None:
        try:
            return value_range_of(root / path)
        except ImageError:
            return None

    low, high = math.inf, -math.inf
    for done, span in enumerate(prefetch(look, paths, workers, ahead=64), 1):
        if span is not None:
            low, high = min(low, span[0]), max(high, span[1])
        if progress is not None:
            progress(done, len(paths))
    return (low, high) if low <= high else None


def open_images(
    root: Path | str,
    paths: Sequence[str],
    size: tuple[int, int],
    *,
    value_range: ValueRange = REFUSE,
    resize: Filter = "bilinear",
    cache: Path | None = None,
    dataset: str = "",
    on_bad_image: OnBadImage = "stop",
    workers: int = 2,
    progress: Progress | None = None,
) -> tuple[ImageSource, IntArray]:
    """Open images, dealing at once with those that cannot be read.

    Args:
        root: The dataset's folder.
        paths: Relative paths.
        size: Height and width in pixels.
        value_range: How grey of more than eight bits becomes 256 greys.
        resize: The filter to resize by.
        cache: Folder of the decoded-image cache; None decodes images each time they are read.
        dataset: The dataset's fingerprint.
        on_bad_image: "stop" raises; "skip" leaves unreadable images out and warns, naming each. With "skip"
            and no cache every file is decoded once beforehand; with "stop" and no cache a bad file raises
            when it is read.
        workers: Decoding threads.
        progress: Called with (done, total) while every image is decoded.

    Returns:
        The source, and the (M,) rows of `paths` that it holds, ascending.

    Raises:
        ImageError: Unreadable images under "stop"; all of them are named.
        DataError: The cache cannot be written.
    """
    root = Path(root)
    images: ImageSource = DecodedImages(root, tuple(paths), size, value_range, resize)
    bad: Mapping[str, str] = {}
    if cache is not None:
        opened = open_cache(
            cache,
            CacheKey(root, tuple(paths), size, dataset, value_range, resize),
            workers=workers,
            progress=progress,
        )
        images = opened
        unreadable = [paths[row] for row in np.flatnonzero(~opened.readable).tolist()]
        bad = find_unreadable(root, unreadable, value_range=value_range, workers=0) if unreadable else {}
        bad = {
            path: bad.get(path, f"{root / path}: not readable when the cache was built")
            for path in unreadable
        }
    elif on_bad_image == "skip":
        bad = find_unreadable(root, paths, value_range=value_range, workers=workers, progress=progress)
    if bad and on_bad_image == "stop":
        raise ImageError(list_problems(bad.values()))
    if bad:
        log.warning("left out: %s", list_problems(bad.values()))
    rows = np.array([row for row, path in enumerate(paths) if path not in bad], dtype=np.int64)
    return (select(images, rows) if bad else images), rows


def list_problems(problems: Iterable[str]) -> str:
    """The problems, one a line, under their number."""
    lines = list(problems)
    more = f"\n  and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return f"{len(lines)} image(s) cannot be read:\n  " + "\n  ".join(lines[:LISTED]) + more
