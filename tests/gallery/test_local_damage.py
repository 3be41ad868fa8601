"""What goes wrong with a gallery on disk is mended where it can be, and else named with the next step."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from galleries import BINDING, crop, make_local, picture, reopen_local, vectors

from ivreid.errors import DataError
from ivreid.gallery import Store, Where
from ivreid.gallery.local import LocalStore, database

NUMBERS = list(range(40))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """The folder of a gallery of 40 crops with its cache."""
    store = make_local(tmp_path)
    store.add([crop(n) for n in NUMBERS], vectors(NUMBERS), [picture(n) for n in NUMBERS])
    store.compact()
    store.close()
    return tmp_path / "gallery"


def answers(store: Store) -> list[tuple[str, float]]:
    return [(hit.crop.id, hit.distance) for hit in store.search(vectors([3]), k=100).hits[0]]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["head", "columns", "cut", "empty", "gone", "foreign"])
def test_a_damaged_cache_is_built_anew(filled: Path, damage: str) -> None:
    store = LocalStore(filled)
    expected = answers(store)
    store.close()
    cache = filled / "cache" / "scan"
    match damage:
        case "head":
            flip(cache, 30)
        case "columns":
            flip(cache, 4096 + 8)
        case "cut":
            cache.write_bytes(cache.read_bytes()[:-10])
        case "empty":
            cache.write_bytes(b"")
        case "gone":
            cache.unlink()
        case "foreign":
            cache.write_bytes(b"something else" * 1000)
    store = LocalStore(filled)
    assert answers(store) == expected
    assert store.verify().problems == () and cache.stat().st_size > 4096
    store.close()


def test_a_damaged_matrix_changes_no_distance_and_is_found_by_verify(filled: Path) -> None:
    store = LocalStore(filled)
    expected = answers(store)
    store.close()
    cache = filled / "cache" / "scan"
    whole = cache.read_bytes()
    flip(cache, len(whole) - 5)
    store = LocalStore(filled)
    assert answers(store) == expected
    report = store.verify()
    assert report.problems == () and "differed from the catalogue and was built anew" in report.notes[0]
    assert cache.read_bytes() == whole
    assert store.verify().notes == ()
    store.close()


def rewrite(filled: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(filled / "catalogue.sqlite") as db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE vector SET data = zeroblob(16) WHERE seq = 4", r"crop \w+ \(row 4\) is not as it was written"),
        ("UPDATE vector SET data = zeroblob(3) WHERE seq = 4", r"\(row 4\) has no vector of 8 dimensions"),
        ("DELETE FROM vector WHERE seq = 4", r"\(row 4\) has no vector of 8 dimensions"),
        ("UPDATE crop SET source = 'x' WHERE seq = 4", r"\(row 4\) is not as it was written"),
        ("UPDATE crop SET camera = ' ' WHERE seq = 4", r"\(row 4\) is not as it was written"),
        ("UPDATE picture SET data = zeroblob(9) WHERE seq = 5", r"the picture of crop \w+ \(row 5\) is not as"),
        ("DELETE FROM crop WHERE seq = 5", r"1 vector\(s\) belong to no crop"),
    ],
)  # fmt: skip
def test_verify_names_what_is_not_as_it_was_written(filled: Path, sql: str, said: str) -> None:
    rewrite(filled, sql)
    store = LocalStore(filled)
    problems = store.verify().problems
    store.close()
    assert any(re.search(said, line) for line in problems), problems


def test_a_damaged_or_foreign_catalogue_is_named(filled: Path, tmp_path: Path) -> None:
    path = filled / "catalogue.sqlite"
    whole = path.read_bytes()
    path.write_bytes(b"no database at all, but long enough to be read as one" * 100)
    with pytest.raises(
        DataError, match=r"catalogue.sqlite: the catalogue is damaged .*; take the gallery from a copy"
    ):
        LocalStore(filled)
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with pytest.raises(DataError, match=r"catalogue\.sqlite.*damaged"):
        LocalStore(filled).verify()
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE other (x)")
    with pytest.raises(DataError, match="is an SQLite file, but no gallery of ivreid"):
        LocalStore(filled)
    with pytest.raises(DataError, match="no such catalogue; it is no gallery"):
        LocalStore(tmp_path / "nowhere")


def test_a_gallery_of_a_newer_version_is_refused(filled: Path) -> None:
    with sqlite3.connect(filled / "catalogue.sqlite") as db:
        db.execute(f"PRAGMA user_version = {database.FORMAT + 1}")
    db.close()
    with pytest.raises(DataError, match=r"of format 2, this version of ivreid knows 1: use a newer one"):
        LocalStore(filled)


def test_a_full_disk_adds_nothing_and_says_so(filled: Path) -> None:
    store = LocalStore(filled)
    before = answers(store)
    (pages,) = store._catalogue._connection.execute("PRAGMA page_count").fetchone()
    store._catalogue._connection.execute(f"PRAGMA max_page_count = {pages}")
    numbers = list(range(1000, 1200))
    with pytest.raises(DataError, match="the disk is full; nothing of this step was written"):
        store.add([crop(n) for n in numbers], vectors(numbers), [bytes(4000)] * 200)
    assert answers(store) == before and store.verify().problems == ()
    store._catalogue._connection.execute(f"PRAGMA max_page_count = {pages + 10_000}")
    assert len(store.add([crop(n) for n in numbers], vectors(numbers)).added) == 200
    store.close()


def test_a_cache_that_does_not_fit_the_disk_stays_in_memory(
    filled: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(filled)
    expected = answers(store)
    store.close()
    (filled / "cache" / "scan").unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    store = LocalStore(filled)
    assert answers(store) == expected and "No space left on device" in caplog.text
    assert list((filled / "cache").iterdir()) == []
    store.close()


WRITER = """
import sys
from pathlib import Path
from galleries import crop, reopen_local, vectors
store = reopen_local(Path(sys.argv[1]))
for at in range(int(sys.argv[2]), int(sys.argv[3]), 5):
    part = list(range(at, at + 5))
    store.add([crop(n) for n in part], vectors(part))
store.close()
"""


def test_two_writers_lose_nothing(filled: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    folder = str(filled.parent)
    spans = [("100", "200"), ("150", "250")]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, folder, *span], env=env) for span in spans]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    store = LocalStore(filled)
    assert store.count() == 40 + 150 and store.verify().problems == ()
    assert len(answers(store)) == 100
    store.close()


def test_a_writer_that_holds_on_is_named_after_a_while(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    other = sqlite3.connect(filled / "catalogue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = LocalStore(filled)
    with pytest.raises(DataError, match="another process has been writing"):
        store.add([crop(500)], vectors([500]))
    assert len(answers(store)) == 40  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert store.add([crop(500)], vectors([500])).added == (crop(500).id,)
    store.close()


def test_several_threads_search_while_one_adds_and_deletes(filled: Path) -> None:
    store = LocalStore(filled)
    problems: list[BaseException] = []
    ended = threading.Event()

    def look() -> None:
        try:
            while not ended.is_set():
                found = store.search(vectors([1, 2]), k=500)
                assert {crop(n).id for n in NUMBERS} <= {hit.crop.id for hit in found.hits[0]}
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(200, 230):
        store.add([crop(n)], vectors([n]))
        if n % 3 == 0:
            store.delete(Where(ids=frozenset([crop(n).id])))
    ended.set()
    for thread in threads:
        thread.join()
    assert problems == [] and store.count() == 60
    store.close()


def test_a_closed_gallery_says_so(filled: Path) -> None:
    store = LocalStore(filled)
    store.close()
    store.close()
    with pytest.raises(DataError, match="the gallery is closed; open it again"):
        store.count()


def test_a_gallery_that_may_only_be_read_is_refused_for_no_search_goes_unrecorded(
    filled: Path, permissions_bind: None
) -> None:
    for path in (filled, *filled.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with pytest.raises(DataError, match=r"cannot be written to .* check the permissions of its folder"):
            LocalStore(filled)
    finally:
        for path in (filled, *filled.rglob("*")):
            path.chmod(0o755)


def test_making_a_gallery_is_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot make the gallery"):
        LocalStore.create(tmp_path / "G", BINDING, tmp_path / "no-weights.safetensors")
    assert list(tmp_path.iterdir()) == []
    made = make_local(tmp_path)
    made.close()
    assert reopen_local(tmp_path).binding == BINDING


def test_a_quality_that_is_a_whole_number_is_no_damage(tmp_path: Path) -> None:
    store = make_local(tmp_path)
    store.add([crop(1, quality=1), crop(2, quality=0), crop(3, quality=-0.0)], vectors([1, 2, 3]))
    assert store.verify().problems == ()
    store.close()
