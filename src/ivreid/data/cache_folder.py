"""The folder of image caches: what lies there, what nobody will use again, and room for one more."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ivreid.data.cache import CacheKey, default_cache_folder
from ivreid.data.cache_check import find_caches
from ivreid.data.cache_file import CacheFile
from ivreid.errors import DataError
from ivreid.io import remove_leftovers

OLD = 3600.0
"""Seconds after which a file that a build was writing is one that a killed build left."""


@dataclass(frozen=True)
class CacheEntry:
    """One image cache.

    Attributes:
        path: Its file.
        root: The folder of its pictures; empty where it cannot say.
        pictures: How many it holds.
        image_size: Height and width of each.
        bytes: What it takes.
        used: When it was last written or read, seconds since 1970, as far as the file system keeps that.
        useless: Why no run will read it as it is; empty where one may.
    """

    path: Path
    root: str
    pictures: int
    image_size: tuple[int, int]
    bytes: int
    used: float
    useless: str = ""


def list_caches(folder: Path | str | None = None) -> list[CacheEntry]:
    """The image caches in a folder, the largest first; every picture they are of is looked at, none is read.

    Args:
        folder: Where caches lie; None: `$IVREID_CACHE`, or the user's cache folder.

    Raises:
        DataError: No folder given, and no home to look in.
    """
    found = (_entry(path) for path in find_caches(default_cache_folder() if folder is None else Path(folder)))
    return sorted((one for one in found if one is not None), key=lambda one: -one.bytes)


def clean_caches(folder: Path | str | None = None, *, everything: bool = False) -> list[CacheEntry]:
    """Delete the caches that no run will read again, and what killed builds left; a deleted one is built anew when needed.

    Args:
        folder: As for `list_caches`.
        everything: Delete them all.

    Returns:
        Those that were deleted.

    Raises:
        DataError: One cannot be deleted.
    """
    folder = default_cache_folder() if folder is None else Path(folder)
    gone = [one for one in list_caches(folder) if everything or one.useless]
    for one in gone:
        try:
            one.path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"cannot delete {one.path}: {error.strerror}") from error
    remove_leftovers(folder, older_than=OLD)
    return gone


def _entry(path: Path) -> CacheEntry | None:
    try:
        stat = path.stat()
    except OSError:  # deleted meanwhile
        return None
    used = max(stat.st_mtime, stat.st_atime)
    try:
        file = CacheFile(path)
        names = file.names()
    except DataError as error:
        return CacheEntry(path, "", 0, (0, 0), stat.st_size, used, f"damaged or of another version ({error})")
    root = Path(file.metadata.get("root", ""))
    useless = ""
    if not root.is_dir():
        useless = "its pictures are gone"
    else:
        with contextlib.suppress(OSError):
            if file.metadata.get("state") != CacheKey(root, names, file.size).state:
                useless = "its pictures have changed"
    return CacheEntry(path, str(root), len(file), file.size, stat.st_size, used, useless)
