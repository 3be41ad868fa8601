"""Taking in what arrives in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ivreid.datasets.found_pictures import find_pictures
from ivreid.errors import DataError, counted
from ivreid.gallery.gallery import Gallery
from ivreid.gallery.intake import Told, crops_of
from ivreid.gallery.taken import Taken
from ivreid.types import Notice

Seen = tuple[int, int]
"""Bytes of a file, and when it was changed."""


def watch(
    gallery: Gallery,
    folder: Path,
    told: Told,
    *,
    every: float = 2.0,
    pictures: bool = True,
    notice: Notice = print,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[float], object] = time.sleep,
) -> Taken:
    """Take in pictures as they arrive, until `stop` says so; a file is taken once it no longer grows.

    What cannot be read or lacks its time, camera or modality is told once, recorded in the audit, and left.

    Args:
        gallery: Where they go.
        folder: Where they arrive; it may be empty.
        told: What is said of them.
        every: Seconds between two looks.
        pictures: Whether to keep the pictures.
        notice: Called with a line for people.
        stop: Asked after every look.
        pause: Waits so many seconds.
    """
    known: dict[str, Seen] = {}
    before: dict[str, Seen] = {}
    total = Taken()
    while True:
        now = _look(folder)
        settled = [file for file, seen in now.items() if before.get(file) == seen and known.get(file) != seen]
        if settled:
            known |= {file: now[file] for file in settled}
            crops, bad = crops_of(folder, tuple(settled), told)
            for line in bad:
                gallery.store.record("skip", detail={"reason": line})
            taken = gallery.add(crops, pictures=pictures, skip_bad=True, notice=notice)
            for line in (*bad, *taken.bad):
                notice(line)
            if taken.added:
                notice(f"{counted(len(taken.added), 'new crop')}")
            total = total + taken + Taken(bad=tuple(bad))
        before = now
        if stop():
            return total
        pause(every)


def _look(folder: Path) -> dict[str, Seen]:
    try:
        files = find_pictures(folder).files
    except DataError:
        if not folder.is_dir():
            raise
        return {}
    out = {}
    for file in files:
        try:
            status = (folder / file).stat()
        except OSError:  # gone again
            continue
        out[file] = status.st_size, status.st_mtime_ns
    return out
