"""Whether image caches hold what was written into them, of pictures as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivreid.data.cache import CacheKey
from ivreid.data.cache_file import CacheFile
from ivreid.errors import DataError
from ivreid.types import Progress

LISTED = 5


@dataclass(frozen=True)
class CacheReport:
    """What was found in one cache.

    Attributes:
        path: The cache file.
        root: The folder of the pictures, as the cache says; empty where it cannot say.
        pictures: How many it holds.
        problem: What is wrong with it, in one sentence; empty where nothing is.
    """

    path: Path
    root: str
    pictures: int
    problem: str = ""


def find_caches(folder: Path, root: Path | None = None) -> list[Path]:
    """The image caches in a folder; with a root only those of pictures below it (and those that cannot say)."""
    found = sorted(folder.glob("images-*.safetensors"))
    return [path for path in found if root is None or _of(path, root)]


def _of(path: Path, root: Path) -> bool:
    try:
        return CacheFile(path).metadata.get("root", str(root.resolve())) == str(root.resolve())
    except DataError:
        return False


def check_cache(path: Path, *, progress: Progress | None = None) -> CacheReport:
    """Read every row of a cache, and look at every picture it is of.

    Args:
        path: The cache file.
        progress: Called with (rows read, rows in all).
    """
    try:
        file = CacheFile(path)
        names = file.names()
    except DataError as error:
        return CacheReport(path, "", 0, str(error))
    root = file.metadata.get("root", "")
    damaged = []
    for row, name in enumerate(names):
        try:
            file.row(row)
        except DataError:
            damaged.append(name)
        if progress is not None:
            progress(row + 1, len(names))
    problem = ""
    if damaged:
        more = f" and {len(damaged) - LISTED} more" if len(damaged) > LISTED else ""
        problem = f"{len(damaged)} damaged row(s): {', '.join(damaged[:LISTED])}{more}; delete it"
    elif file.metadata.get("state") != CacheKey(Path(root), names, file.size).state:
        problem = "pictures have changed since; the next run builds it anew"
    return CacheReport(path, root, len(file), problem)
