"""`ivreid gallery add --watch`: taking in what arrives, until a signal ends it."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from ivreid.cli.signals import ended_by_signals
from ivreid.cli.terminal import Terminal
from ivreid.errors import counted
from ivreid.gallery import Gallery
from ivreid.gallery.intake import Told
from ivreid.gallery.watch import watch


def watch_folder(gallery: Gallery, folder: Path, told: Told, *, every: float, pictures: bool) -> None:
    """Watch a folder and say what comes of it."""
    console, ended = Terminal(), Event()
    console.print(f"watching {folder}; Ctrl-C ends it")
    with ended_by_signals(ended):
        taken = watch(
            gallery,
            folder,
            told,
            every=every,
            pictures=pictures,
            notice=console.print,
            stop=ended.is_set,
            pause=ended.wait,
        )
    console.print(f"{counted(len(taken.added), 'new crop')} while watching, {len(taken.bad):,} skipped")
