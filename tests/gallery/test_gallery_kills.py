"""A process that works on a gallery ends at any point: what it acknowledged is there, nothing is half there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import gallery_work
import pytest
from galleries import crop, picture, reopen_local, vector, vectors
from gallery_bytes import remains
from gallery_work import DROPPED, HELD, LATE, NEW

from ivreid.gallery import Store
from ivreid.gallery.vectors import stored
from kill_points import KillPoint, Tally, count_events, run_until

pytestmark = pytest.mark.slow


@cache
def tally(name: str) -> Tally:
    with TemporaryDirectory() as folder:
        gallery_work.begin(Path(folder))
        return count_events(Path(folder) / "tally", getattr(gallery_work, name), Path(folder))


def killed(rng: Random, folder: Path, work: Callable[[Path], None]) -> list[str]:
    """End the work at a point of chance; gives what it had acknowledged."""
    gallery_work.begin(folder)
    run_until(KillPoint.draw(rng, tally(work.__name__)), work, folder)
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def held(store: Store) -> set[int]:
    """Numbers of the crops in a store, each compared with what was written."""
    report = store.verify()
    assert not report.problems
    number_of = {crop(n).id: n for n in (*HELD, *(n for batch in NEW for n in batch))}
    seen = set()
    for crops, rows, pictures in store.iterate(batch=7):
        for one, row, image in zip(crops, rows, pictures, strict=True):
            number = number_of[one.id]
            assert one == crop(number) and image == picture(number)
            assert row.tobytes() == stored(vector(number))[0].tobytes()
            seen.add(number)
    found = store.search(vectors([5]), k=500)
    assert {hit.crop.id for hit in found.hits[0]} == {crop(n).id for n in seen}
    return seen


@pytest.mark.campaign(slice=4)
def test_killed_while_adding(rng: Random, tmp_path: Path) -> None:
    told = killed(rng, tmp_path, gallery_work.add)
    store = reopen_local(tmp_path)
    there = held(store)
    store.close()
    batches = [set(batch) <= there for batch in NEW]
    assert there == set(HELD).union(*(batch for batch, whole in zip(NEW, batches, strict=True) if whole))
    assert len(told) <= sum(batches) <= len(told) + 1 and batches == sorted(batches, reverse=True)
    gallery_work.add(tmp_path)  # repeating is resuming
    store = reopen_local(tmp_path)
    assert held(store) == set(HELD).union(*NEW)
    store.close()


@pytest.mark.campaign(slice=3)
def test_killed_while_deleting(rng: Random, tmp_path: Path) -> None:
    told = killed(rng, tmp_path, gallery_work.delete)
    store = reopen_local(tmp_path)
    there = held(store)
    store.close()
    assert there == set(HELD) - set(DROPPED) or (there == set(HELD) and not told)


@pytest.mark.campaign(slice=5)
def test_killed_while_erasing(rng: Random, tmp_path: Path) -> None:
    told = killed(rng, tmp_path, gallery_work.erase)
    store = reopen_local(tmp_path)
    there = held(store)
    if there == set(HELD):
        assert not told
    else:
        assert there == set(HELD) - set(DROPPED)
        crops = [crop(n) for n in DROPPED]
        assert store.add(crops, vectors(DROPPED)).erased == tuple(one.id for one in crops)
        unique = [picture(n) for n in DROPPED]
        assert (
            remains(tmp_path / "gallery", [image for image in unique if image], [one.id for one in crops])
            == []
        )
    store.close()


@pytest.mark.campaign(slice=3)
def test_killed_while_expiring(rng: Random, tmp_path: Path) -> None:
    told = killed(rng, tmp_path, gallery_work.expire)
    store = reopen_local(tmp_path)
    there = held(store)
    store.close()
    left = {n for n in HELD if crop(n).time >= LATE}
    assert there == left or (there == set(HELD) and not told)


@pytest.mark.campaign(slice=3)
def test_killed_while_copying(rng: Random, tmp_path: Path) -> None:
    told = killed(rng, tmp_path, gallery_work.copy_all)
    gallery_work.copy_all(tmp_path)  # repeating is resuming, whatever was left
    for folder in (tmp_path, tmp_path / "other"):
        store = reopen_local(folder)
        assert held(store) == set(HELD), told
        store.close()
