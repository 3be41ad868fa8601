"""What `ivreid doctor --cache` says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ivreid.cli.terminal import Terminal
from ivreid.data import clean_caches, default_cache_folder, list_caches
from ivreid.errors import counted
from ivreid.io import free_bytes, size_in_words


def show_caches(folder: Path | None, *, clean: bool, everything: bool) -> None:
    """List the image caches, or delete those that no run will read again, or all."""
    console = Terminal()
    place = folder or default_cache_folder()
    if clean or everything:
        gone = clean_caches(place, everything=everything)
        for one in gone:
            console.print(
                f"deleted {one.path} ({size_in_words(one.bytes)}){f': {one.useless}' if one.useless else ''}"
            )
        console.print(f"{size_in_words(sum(one.bytes for one in gone))} freed in {place}")
        return
    found = list_caches(place)
    for one in found:
        height, width = one.image_size
        what = f"{one.pictures:,} pictures of {one.root}, {height}x{width}" if one.root else one.path.name
        used = datetime.fromtimestamp(one.used).strftime("%Y-%m-%d")
        useless = f" - {one.useless}" if one.useless else ""
        console.print(f"{size_in_words(one.bytes):>8}  {what}, last used {used}{useless}")
    free = size_in_words(free_bytes(place))
    whole = size_in_words(sum(one.bytes for one in found))
    console.print(f"{counted(len(found), 'image cache')} in {place}: {whole}, {free} free there")
    useless_size = sum(one.bytes for one in found if one.useless)
    if useless_size:
        console.print(
            f"ivreid doctor --cache --clean deletes what no run will read again: {size_in_words(useless_size)}"
        )
