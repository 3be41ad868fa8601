"""Erased means gone: no file of the gallery holds the vector or the picture, by its bytes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest
from galleries import START, crop, make_local, reopen_local
from gallery_bytes import forms, remains

from ivreid.gallery import Binding, Store, Where
from ivreid.gallery.vectors import stored

D = 64
ROWS = np.random.default_rng(9).standard_normal((400, D))


def image(number: int) -> bytes:
    return np.random.default_rng(1000 + number).bytes(300 + 97 * (number % 70))


def filled(folder: Path, numbers: list[int]) -> Store:
    store = make_local(folder, Binding("f", D, "test"))
    for at in range(0, len(numbers), 37):
        part = numbers[at : at + 37]
        store.add([crop(n) for n in part], ROWS[part], [image(n) for n in part])
    return store


def left_of(folder: Path, numbers: list[int]) -> list[str]:
    things = [image(n) for n in numbers]
    for n in numbers:
        things += forms(stored(ROWS[n])[0])
    return remains(folder / "gallery", things, [crop(n).id for n in numbers])


@pytest.mark.parametrize("how", ["erase", "expire"])
def test_no_file_holds_what_was_erased(tmp_path: Path, how: str) -> None:
    rng = Random(3)
    numbers = list(range(400))
    rng.shuffle(numbers)
    store = filled(tmp_path, numbers)
    store.compact()
    store.search(ROWS[:1])
    assert (
        len(left_of(tmp_path, [7])) > 2
    )  # the looking finds what is there: in the catalogue and in the cache
    # rows that move about in the file's pages before they are erased
    for n in rng.sample(range(400), 150):
        store.delete(Where(ids=frozenset([crop(n).id])))
    store.compact()
    gone = [n for n in range(400) if n % 5 == 2]
    if how == "erase":
        receipt = store.erase(Where(ids=frozenset(crop(n).id for n in gone)))
    else:
        limit = START + timedelta(hours=20)
        gone = [n for n in range(400) if crop(n).time < limit]
        receipt = store.expire(limit)
    assert receipt.left == () and receipt.crops > 20
    assert left_of(tmp_path, gone) == []
    store.compact()
    assert left_of(tmp_path, gone) == []
    store.close()
    assert left_of(tmp_path, gone) == []
    store = reopen_local(tmp_path)
    assert store.verify().problems == ()
    fate = store.add([crop(n) for n in gone], ROWS[gone])
    assert len(fate.erased if how == "erase" else fate.added) == (
        receipt.crops if how == "erase" else len(gone)
    )
    store.close()


def test_erased_pixels_are_refused_with_any_camera_and_time(tmp_path: Path) -> None:
    store = filled(tmp_path, [1, 2])
    store.erase(Where(ids=frozenset([crop(1).id])))
    other = crop(1, camera="another", time=START + timedelta(days=3))
    assert other.id != crop(1).id
    assert store.add([other], ROWS[:1]).erased == (other.id,)
    store.close()


def test_a_reader_that_holds_an_old_state_is_told_and_the_next_opening_finishes(tmp_path: Path) -> None:
    import sqlite3

    store = filled(tmp_path, [1, 2, 3])
    reader = sqlite3.connect(tmp_path / "gallery" / "catalogue.sqlite")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM crop").fetchone()
    store._catalogue._connection.execute("PRAGMA busy_timeout = 100")  # type: ignore[attr-defined]
    receipt = store.erase(Where(ids=frozenset([crop(1).id])))
    assert receipt.crops == 1 and "another process still reads" in receipt.left[0]
    assert not any("written anew" in line for line in receipt.done)
    assert store.count() == 2
    store.close()
    reader.close()
    store = reopen_local(tmp_path)
    assert left_of(tmp_path, [1]) == []
    store.close()
