"""Sizes of files: in words, of folders, and what is free."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def size_in_words(count: int) -> str:
    """Bytes as people say them, in powers of ten: 640 bytes, 12 MB, 3.4 GB."""
    if count < 1000:
        return f"{count} bytes"
    size = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:,.0f} {unit}"


def folder_bytes(folder: Path) -> int:
    """What the files below a folder take; linked folders are not followed, a file that goes meanwhile is nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except OSError:
                continue
    return total


def free_bytes(folder: Path) -> int:
    """What is free where a folder is, or will be: at the nearest of its parents that exists."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
