"""Decoded images in one file, made once and shared by all workers and processes.

The file (see `cache_file`) is written beside its place and renamed when whole, under a lock that the system
releases when a builder dies: a killed build leaves nothing that is taken for a cache, and of two runs one
builds and the other waits. Every row is checked when it is read; a damaged one is decoded anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ivreid.data.cache_file import MARK, CacheFile, write_cache_file
from ivreid.data.pixels import Filter, Pixels, decode
from ivreid.data.workers import prefetch
from ivreid.errors import DataError, ImageError
from ivreid.io import REFUSE, ValueRange, fingerprint, free_bytes, remove_leftovers, size_in_words, try_lock
from ivreid.paths import user_path
from ivreid.types import BoolArray, Progress

FORMAT = 3

log = logging.getLogger(__name__)


def default_cache_folder() -> Path:
    """`$IVREID_CACHE`, or `ivreid` in the user's cache folder.

    Raises:
        DataError: No such variable, and a user without a home folder (a container's numbered user).
    """
    if named := os.environ.get("IVREID_CACHE"):
        return user_path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return user_path(named) / "ivreid"
    try:
        return Path.home() / ".cache" / "ivreid"
    except RuntimeError as error:
        raise DataError(
            "this user has no home folder for the image cache; name a folder for it (IVREID_CACHE=DIR), or go "
            "without (data.cache=false)"
        ) from error


@dataclass(frozen=True)
class CacheKey:
    """Of what a cache is: these files, at this size, in this state.

    Attributes:
        root: The dataset's folder.
        paths: Relative paths, in the order of the cache's rows.
        size: Height and width in pixels.
        dataset: The dataset's fingerprint.
        value_range: How grey of more than eight bits became 256 greys.
        resize: The filter they were resized by.
    """

    root: Path
    paths: tuple[str, ...]
    size: tuple[int, int]
    dataset: str = ""
    value_range: ValueRange = REFUSE
    resize: Filter = "bilinear"

    @property
    def name(self) -> str:
        """The cache's file name: the same files read in the same way share it, whatever their state."""
        parts = [
            ("root", self.root.resolve()),
            ("paths", self.paths_hash),
            ("size", self.size),
            ("value_range", self.value_range),
            ("resize", self.resize),
            ("format", FORMAT),
        ]
        return f"images-{self.size[0]}x{self.size[1]}-{fingerprint(parts)}.safetensors"

    @cached_property
    def paths_hash(self) -> str:
        """Hash over the paths in order."""
        return fingerprint([("paths", "\0".join(self.paths))])

    @cached_property
    def state(self) -> str:
        """Hash over the files' sizes and times of change; a missing file counts as such."""
        return fingerprint((path, _stamp(self.root / path)) for path in self.paths)

    def metadata(self) -> dict[str, str]:
        """What the cache file says of itself."""
        height, width = self.size
        return {
            MARK: str(FORMAT),
            "root": str(self.root.resolve()),
            "dataset": self.dataset,
            "height": str(height),
            "width": str(width),
            "value_range": str(self.value_range),
            "resize": self.resize,
            "count": str(len(self.paths)),
            "paths": self.paths_hash,
            "state": self.state,
        }


def _stamp(path: Path) -> str:
    """What changes whenever a file does: `cp -p` and `touch` keep its time, but not that of its entry."""
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


class ImageCache:
    """An open cache: `read(row)` gives pixels without decoding.

    Attributes:
        path: The cache file.
        readable: (N,) bool, False where the source could not be decoded (its pixels are black).
    """

    def __init__(self, path: Path, key: CacheKey) -> None:
        """Open a cache of `key`.

        Raises:
            DataError: Missing or damaged file, or a cache of other files, another size or another state of
                the dataset; the message says which.
        """
        self.path = path
        self._key = key
        self._file = CacheFile(path)
        _refuse_stale(path, self._file.metadata, key.metadata())
        self.readable: BoolArray = self._file.readable
        self._damaged = False

    def __len__(self) -> int:
        return len(self._file)

    def read(self, row: int) -> Pixels:
        """The pixels of one image, (H, W, 3) uint8, read-only.

        A row that is damaged is decoded from its picture, with a warning; the next run builds the cache anew.

        Raises:
            ImageError: The row is damaged, and its picture cannot be decoded.
        """
        try:
            return self._file.row(row)
        except DataError as error:
            path = self._key.root / self._key.paths[row]
            if not self._damaged:
                self._damaged = True
                log.warning(
                    "%s (%s); damaged pictures are decoded anew, and the next run rebuilds it", error, path
                )
                with contextlib.suppress(OSError):
                    self.path.unlink()
            return decode(path, self._key.size, self._key.value_range, self._key.resize)


_MEANINGS = {
    MARK: "its format",
    "root": "the dataset's folder",
    "dataset": "the dataset's fingerprint",
    "height": "the image height",
    "width": "the image width",
    "value_range": "the rule for grey of more than eight bits",
    "resize": "the filter of resizing",
    "count": "the number of images",
    "paths": "the list of images",
    "state": "the images' sizes and times of change",
}


def _refuse_stale(path: Path, found: dict[str, str], wanted: dict[str, str]) -> None:
    differing = [
        f"{_MEANINGS[name]} is {found.get(name)!r} there and {value!r} here"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if differing:
        raise DataError(
            f"the image cache {path} is of something else: {'; '.join(differing)}; "
            "delete it, or let it be rebuilt"
        )


def build_cache(
    path: Path, key: CacheKey, *, workers: int = 2, progress: Progress | None = None
) -> dict[str, str]:
    """Decode every image of `key` into a new cache file.

    Args:
        path: The cache file; an older one is replaced when the new one is whole.
        key: What to decode.
        workers: Decoding threads.
        progress: Called with (done, total).

    Returns:
        The unreadable images: relative path -> reason. Their rows are black and marked.

    Raises:
        DataError: The file cannot be written (full disk, read-only folder), or will not fit.
    """
    height, width = key.size
    count = len(key.paths)
    _refuse_without_room(path.parent, count * height * width * 3)
    problems: dict[str, str] = {}

    def make(row: int) -> tuple[Pixels, str]:
        try:
            return decode(key.root / key.paths[row], key.size, key.value_range, key.resize), ""
        except ImageError as error:
            return np.zeros((height, width, 3), dtype=np.uint8), str(error)

    def rows() -> Iterator[tuple[Pixels, bool]]:
        for row, (pixels, problem) in enumerate(prefetch(make, range(count), workers, ahead=64)):
            if problem:
                problems[key.paths[row]] = problem
            yield pixels, not problem
            if progress is not None:
                progress(row + 1, count)

    write_cache_file(path, key.metadata(), key.paths, key.size, rows())
    return problems


def _refuse_without_room(folder: Path, needed: int) -> None:
    free = free_bytes(folder)
    if needed > free:
        raise DataError(
            f"the image cache needs {size_in_words(needed)} in {folder}, where {size_in_words(free)} are free; make room "
            "(ivreid doctor --cache --clean), name another folder (IVREID_CACHE=DIR), or go without (--set "
            "data.cache=false)"
        )


def open_cache(
    folder: Path, key: CacheKey, *, workers: int = 2, progress: Progress | None = None
) -> ImageCache:
    """Open the cache of `key` in `folder`, building it first where there is none or only a stale one.

    Safe to call from many processes at once: one builds, the others wait.

    Args:
        folder: Where caches live.
        key: What is cached.
        workers: Decoding threads.
        progress: Called with (done, total) while building.

    Raises:
        DataError: The cache cannot be written.
    """
    path = folder / key.name
    cache = _open_fresh(path, key)
    if cache is not None:
        return cache
    with _lock(path) as alone:
        cache = _open_fresh(path, key, say_why=True)  # another run may have built it meanwhile
        if cache is not None:
            return cache
        if alone:
            remove_leftovers(folder, path.name)  # of builds that were killed
        build_cache(path, key, workers=workers, progress=progress)
        return ImageCache(path, key)


def _open_fresh(path: Path, key: CacheKey, *, say_why: bool = False) -> ImageCache | None:
    if not path.exists():
        return None
    try:
        return ImageCache(path, key)
    except DataError as error:
        if say_why:
            log.warning("rebuilding: %s", error)
        return None


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Hold the right to build `path`; the system takes it back when this process ends, however it ends.

    Without locks two builders do the work twice, and the later rename wins; False says so.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise DataError(
            f"cannot write the image cache in {path.parent}: {error.strerror}; "
            "name another folder (IVREID_CACHE), or train without a cache"
        ) from error
    with file:
        told = False
        while (held := try_lock(file.fileno(), by_process=False)) == "theirs":
            if not told:
                log.warning("another run is building %s; waiting for it", path)
            told = True
            time.sleep(0.2)
        yield held == "mine"
