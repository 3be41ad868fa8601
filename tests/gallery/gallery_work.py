"""What processes do to a gallery until they are killed; each acknowledged step goes into a log."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from galleries import START, crop, make_local, picture, reopen_local, vectors

from ivreid.gallery import Where
from ivreid.gallery.move import copy

HELD = range(60)
"""Crops that are there when the work begins."""
NEW = [range(100 + 10 * n, 110 + 10 * n) for n in range(6)]
"""Batches that the work adds."""
DROPPED = [n for n in HELD if n % 3 == 1]
LATE = START + timedelta(hours=30)


def begin(folder: Path) -> None:
    store = make_local(folder)
    store.add([crop(n) for n in HELD], vectors(list(HELD)), [picture(n) for n in HELD])
    store.compact()
    store.close()


def acknowledge(folder: Path, step: str) -> None:
    with (folder / "log").open("a") as log:
        log.write(f"{step}\n")


def add(folder: Path) -> None:
    store = reopen_local(folder)
    for number, batch in enumerate(NEW):
        store.add([crop(n) for n in batch], vectors(list(batch)), [picture(n) for n in batch])
        acknowledge(folder, str(number))
        if number % 2:
            store.compact()
    store.close()


def delete(folder: Path) -> None:
    store = reopen_local(folder)
    store.delete(Where(ids=frozenset(crop(n).id for n in DROPPED)))
    acknowledge(folder, "dropped")
    store.compact()
    store.close()


def erase(folder: Path) -> None:
    store = reopen_local(folder)
    store.search(vectors([1]))
    receipt = store.erase(Where(ids=frozenset(crop(n).id for n in DROPPED)))
    assert not receipt.left
    acknowledge(folder, "dropped")
    store.compact()
    store.close()


def expire(folder: Path) -> None:
    store = reopen_local(folder)
    store.expire(LATE)
    acknowledge(folder, "dropped")
    store.close()


def copy_all(folder: Path) -> None:
    store = reopen_local(folder)
    (folder / "other").mkdir(exist_ok=True)
    copy(store, folder / "other" / "gallery")
    acknowledge(folder, "copied")
    store.close()
