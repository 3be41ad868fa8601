"""The store in PostgreSQL: what a real server must show beyond the contract of all stores."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from galleries import (
    BINDING,
    START,
    crop,
    make_local,
    make_postgres,
    make_shards,
    picture,
    reopen_postgres,
    vectors,
)
from gallery_bytes import forms, remains

from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.gallery import Binding, Crop, Where
from ivreid.gallery.move import copy
from ivreid.gallery.opening import open_store
from ivreid.gallery.postgres import PostgresStore, ShardedStore
from ivreid.gallery.vectors import stored
from ivreid.types import Modality
from postgres_server import PostgresServer, server

D = 64


def crops_and_vectors(count: int) -> tuple[list[Crop], np.ndarray]:
    """Vectors of which many are equal, and many nearly so: the products' rounding decides nothing."""
    rng = np.random.default_rng(3)
    base = rng.standard_normal((40, D))
    rows = base[rng.integers(0, 40, count)]
    near = rng.random(count) < 0.5
    rows[near] += rng.standard_normal((int(near.sum()), D)) * 1e-3
    return [crop(n) for n in range(count)], rows


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    made = PostgresServer()
    yield made
    made.stop()


@pytest.mark.parametrize("sharded", [False, True])
def test_answers_equal_the_local_stores_to_the_last_tie(tmp_path: Path, sharded: bool) -> None:
    binding = Binding("f", D, "test")
    crops, rows = crops_and_vectors(900)
    near, far = make_local(tmp_path, binding), (make_shards if sharded else make_postgres)(tmp_path, binding)
    for store in (near, far):
        store.add(crops, rows)
    queries = np.concatenate([rows[:6], np.random.default_rng(8).standard_normal((6, D))])
    day = START + timedelta(hours=12)
    for where in (
        Where(),
        Where(start=day, stop=day + timedelta(hours=20)),
        Where(cameras=frozenset(["Tür 3"]), modality=Modality.INFRARED, tracklets=frozenset(["t1"])),
    ):
        for k in (1, 20, 300):
            ours, theirs = near.search(queries, where, k), far.search(queries, where, k)
            assert ours.searched == theirs.searched > 0
            for left, right in zip(ours.hits, theirs.hits, strict=True):
                assert [(h.crop, h.distance, h.crop.address) for h in left] == [
                    (h.crop, h.distance, h.crop.address) for h in right
                ]
    near.close()
    far.close()


def test_long_vectors_and_every_float16_come_back_as_they_were_stored(tmp_path: Path) -> None:
    dimension = 2048  # the server keeps them apart from the row
    rows = (
        np.random.default_rng(5).standard_normal((5, dimension))
        * 10.0 ** np.arange(-6, 0).repeat(342)[:dimension]
    )
    store = make_postgres(tmp_path, Binding("f", dimension, "test"))
    crops = [crop(n) for n in range(5)]
    store.add(crops, rows)
    expected = {one.id: row.tobytes() for one, row in zip(crops, stored(rows), strict=True)}
    assert np.any((np.abs(stored(rows)) > 0) & (np.abs(stored(rows)) < 6e-5))  # subnormal ones too
    ((found, vectors_back, _),) = list(store.iterate())
    assert {one.id: row.tobytes() for one, row in zip(found, vectors_back, strict=True)} == expected
    assert store.search(rows[:1], k=1).hits[0][0].distance == 0.0
    store.close()


def test_a_copy_goes_there_and_back_with_what_is_refused(tmp_path: Path) -> None:
    source = make_local(tmp_path)
    numbers = list(range(30))
    source.add([crop(n) for n in numbers], vectors(numbers), [picture(n) for n in numbers])
    source.erase(Where(ids=frozenset([crop(4).id])))
    url = server().url()
    assert copy(source, url) == (29, 0)
    assert copy(source, url) == (0, 0)  # repeating is resuming
    far = PostgresStore(url)
    assert far.add([crop(4)], vectors([4])).erased == (crop(4).id,)
    assert far.weights().read_bytes() == b"weights" and far.verify().problems == ()
    far.erase(Where(ids=frozenset([crop(5).id])))
    assert copy(far, tmp_path / "back") == (28, 0)
    from ivreid.gallery.local import LocalStore

    back = LocalStore(tmp_path / "back")
    assert back.add([crop(4), crop(5)], vectors([4, 5])).erased == (crop(4).id, crop(5).id)
    everything = {
        one.id: image for crops, _, images in back.iterate() for one, image in zip(crops, images, strict=True)
    }
    assert everything == {crop(n).id: picture(n) for n in numbers if n not in (4, 5)}
    with pytest.raises(UsageError, match="copied into itself"):
        copy(far, url)
    for store in (source, far, back):
        store.close()


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from galleries import crop, picture, reopen_postgres, vectors
store = reopen_postgres(Path(sys.argv[1]))
for batch in range(1000):
    numbers = list(range(100 * batch, 100 * batch + 100))
    store.add([crop(n) for n in numbers], vectors(numbers), [picture(n) for n in numbers])
    print(batch, flush=True)
"""


def test_what_was_acknowledged_is_there_after_the_server_was_killed(
    tmp_path: Path, own: PostgresServer
) -> None:
    (tmp_path / "url").write_text(own.url())
    weights = tmp_path / "given.safetensors"
    weights.write_bytes(b"weights")
    store = PostgresStore.create((tmp_path / "url").read_text(), BINDING, weights)
    store.add([crop(10**6)], vectors([1]))
    command = [sys.executable, "-c", WRITER, str(tmp_path), *map(str, Path(__file__).parents[:2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        told = [int(writer.stdout.readline()) for _ in range(5)]
        own.kill()
        told += [int(line) for line in writer.stdout]
        errors = writer.stderr.read()
    assert writer.returncode == 1 and "the server does not answer, or left while it was asked" in errors
    with pytest.raises(DataError, match="the server does not answer"):
        store.count()
    own.start()
    assert store.verify().problems == ()  # the same store goes on
    held = {one.id for crops, _, _ in store.iterate() for one in crops} - {crop(10**6).id}
    whole = [b for b in range(1000) if crop(100 * b).id in held]
    assert held == {crop(n).id for b in whole for n in range(100 * b, 100 * b + 100)}
    assert set(told) <= set(whole) and len(whole) <= len(told) + 1
    store.close()


@pytest.mark.parametrize("indexed", [False, True])
def test_no_table_holds_what_was_erased(tmp_path: Path, own: PostgresServer, indexed: bool) -> None:
    rows = np.random.default_rng(9).standard_normal((120, D))
    images = [np.random.default_rng(1000 + n).bytes(300 + 97 * (n % 70)) for n in range(120)]
    (tmp_path / "given.safetensors").write_bytes(b"weights")
    for path in own.data.rglob("*"):
        os.utime(path, (0, 0))  # files that nobody touches from now on need no look
    store = PostgresStore.create(own.url(), Binding("f", D, "test"), tmp_path / "given.safetensors")

    def left_of(numbers: list[int]) -> list[str]:
        own.sql("CHECKPOINT")  # what the server holds in memory goes into its files
        things = [images[n][:96] + images[n][-48:] for n in numbers]
        for n in numbers:
            things += forms(stored(rows[n : n + 1])[0])[:2]  # float16, which is all the server is given
        files = [f for f in own.data.iterdir() if f.is_dir() and f.name != "pg_wal"]
        return [
            line
            for folder in files
            for line in remains(folder, things, [crop(n).id for n in numbers], since=1.0)
        ]

    for at in range(0, 120, 37):
        part = list(range(at, min(120, at + 37)))
        store.add([crop(n) for n in part], rows[part], [images[n] for n in part])
    if indexed:
        assert store.build_index().crops == 120
    store.compact()
    # the looking finds what is there: picture, row, and its vector again in the index
    assert (
        len(left_of([7])) > 2
        and sum(repr(forms(stored(rows[7:8])[0])[0][:24]) in line for line in left_of([7])) == 1 + indexed
    )
    again = [7, 12, 22]
    store.delete(Where(ids=frozenset(crop(n).id for n in again)))  # leaves dead rows behind
    store.add([crop(n) for n in again], rows[again], [images[n] for n in again])
    store.compact()
    gone = [n for n in range(120) if n % 5 == 2]
    receipt = store.erase(Where(ids=frozenset(crop(n).id for n in gone)))
    assert receipt.crops == len(gone) and receipt.left == ()
    assert any("write-ahead log" in line for line in receipt.beyond)
    assert any("replicas" in line and "backups" in line for line in receipt.beyond)
    limit = START + timedelta(hours=30)
    old = [n for n in range(120) if n not in gone and crop(n).time < limit]
    if indexed:  # the tables that were written anew have it, too
        found = store.search(rows[gone[:1]], k=1)
        assert found.approximate is not None and found.hits[0][0].crop.id != crop(gone[0]).id
    assert store.expire(limit).crops == len(old) > 20
    store.compact()
    assert left_of(gone + old) == []
    assert store.verify().problems == () and store.count() == 120 - len(gone) - len(old)
    assert store.add([crop(n) for n in gone], rows[gone]).erased == tuple(crop(n).id for n in gone)
    assert len(store.add([crop(n) for n in old], rows[old]).added) == len(old)
    store.close()


def test_the_planner_keeps_no_samples_of_what_may_be_erased(tmp_path: Path) -> None:
    store = make_postgres(tmp_path)
    numbers = list(range(60))
    store.add([crop(n) for n in numbers], vectors(numbers), [picture(n) for n in numbers])
    store.erase(Where(ids=frozenset([crop(1).id])))  # a table that was written anew keeps none either
    store.compact()
    sampled = server().sql(
        f"SELECT DISTINCT attname FROM pg_stats WHERE schemaname = '{store.server.schema}' AND tablename LIKE 'crop%'"
    )
    names = {row[0] for row in sampled}
    assert "camera" in names and not names & {"id", "address", "pixels", "source", "vector", "picture"}
    store.close()


def test_a_search_beside_an_erasure_sees_all_rows_before_or_after_it(tmp_path: Path) -> None:
    store, other = make_postgres(tmp_path), reopen_postgres(tmp_path)
    day = [crop(n, time=START + timedelta(seconds=n)) for n in range(200)]
    store.add(day, vectors(list(range(200))))
    seen: list[int] = []
    problems: list[BaseException] = []
    done = threading.Event()

    def look() -> None:
        try:
            while not done.is_set():
                found = other.search(vectors([1]), k=500)
                assert len(found.hits[0]) == found.searched
                seen.append(found.searched)
        except BaseException as error:
            problems.append(error)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(40):
        store.erase(Where(ids=frozenset([day[n].id])))
    done.set()
    for reader in readers:
        reader.join()
    assert not problems and len(seen) > 10
    assert all(160 <= count <= 200 for count in seen)
    store.close()
    other.close()


def test_several_writers_add_each_crop_once(tmp_path: Path) -> None:
    make_postgres(tmp_path).close()
    fates = []

    def write(first: int) -> None:
        store = reopen_postgres(tmp_path)
        for at in range(first, first + 60, 10):
            numbers = list(range(at, at + 20))
            fates.append(store.add([crop(n) for n in numbers], vectors(numbers)))
        store.close()

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 10, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    added = [name for fate in fates for name in fate.added]
    store = reopen_postgres(tmp_path)
    assert sorted(added) == sorted(crop(n).id for n in range(90)) and store.count() == 90
    store.close()


def test_a_filter_of_time_reads_only_its_days(tmp_path: Path) -> None:
    store = make_postgres(tmp_path)
    store.add([crop(n, time=START + timedelta(days=n)) for n in range(20)], vectors(list(range(20))))
    with store._connections.reading() as session:
        plan = session.run(
            "EXPLAIN SELECT count(*) FROM crop WHERE time >= CAST(:a AS bigint) AND time < CAST(:b AS bigint)",
            a=int((START + timedelta(days=3)).timestamp() * 10**6),
            b=int((START + timedelta(days=3, hours=1)).timestamp() * 10**6),
        )
    text = "\n".join(line for (line,) in plan)
    assert "crop_20260304" in text and text.count("crop_2026") <= 2
    store.close()


def test_what_is_damaged_in_the_tables_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVREID_CACHE", str(tmp_path / "cache"))
    store = make_postgres(tmp_path)
    store.add([crop(1), crop(2), crop(4)], vectors([1, 2, 4]), [picture(n) for n in (1, 2, 4)])
    schema = store.server.schema
    server().sql(f"UPDATE {schema}.crop SET camera = 'other' WHERE id = '{crop(1).id}'")
    server().sql(f"UPDATE {schema}.crop SET picture = 'x' WHERE id = '{crop(2).id}'")
    problems = store.verify().problems
    assert len(problems) == 2
    assert any(crop(1).id in line and "checksum differs" in line for line in problems)
    assert any(f"picture of crop {crop(2).id}" in line for line in problems)
    assert any("fsync = off" in note for note in store.verify().notes)
    server().sql(f"UPDATE {schema}.weights SET data = 'y'")
    with pytest.raises(DataError, match="the weights in it are damaged"):
        store.weights()
    store.close()


def test_what_stands_in_the_way_is_named_with_the_next_step(tmp_path: Path) -> None:
    weights = tmp_path / "given.safetensors"
    weights.write_bytes(b"weights")
    url = server().url()
    with pytest.raises(
        DataError, match=r"holds no gallery in the schema g[0-9a-f]+; see `ivreid gallery create`"
    ):
        PostgresStore(url)
    with pytest.raises(
        CheckpointError, match=r"long model makes vectors of 16,001 values.*halfvec holds 16,000"
    ):
        PostgresStore.create(url, Binding("f", 16_001, "long model"), weights)
    with pytest.raises(DataError, match="holds no gallery"):  # nothing was left behind
        PostgresStore(url)
    store = PostgresStore.create(url, BINDING, weights)
    with pytest.raises(UsageError, match=r"there is a schema g[0-9a-f]+ already"):
        PostgresStore.create(url, BINDING, weights)
    server().sql(f"UPDATE {store.server.schema}.meta SET value = '9' WHERE name = 'format'")
    with pytest.raises(
        DataError, match="a gallery of format 9, this version of ivreid knows 1: use a newer one"
    ):
        PostgresStore(url)
    store.close()
    store.close()
    with pytest.raises(DataError, match="the gallery is closed"):
        store.count()
    with pytest.raises(DataError, match='"nowhere" does not exist; make it first: createdb'):
        PostgresStore(url.replace("/postgres?", "/nowhere?"))
    with pytest.raises(DataError, match="the server does not answer"):
        PostgresStore(f"postgresql://ivreid@/postgres?host={tmp_path}")


def test_a_lock_that_somebody_holds_ends_the_erasure_and_nothing_is_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ivreid.gallery.postgres.connections.SESSION",
        "SET lock_timeout = '200ms'; SET client_min_messages = warning",
    )
    store = make_postgres(tmp_path)
    store.add([crop(1), crop(2)], vectors([1, 2]))
    with store._connections.reading() as session:
        session.run("SELECT count(*) FROM crop")
        with pytest.raises(DataError, match="another process has been writing or reading for more than"):
            store.erase(Where(ids=frozenset([crop(1).id])))
    assert store.count() == 2 and store.known([crop(1)]).known == (crop(1).id,)
    assert store.erase(Where(ids=frozenset([crop(1).id]))).crops == 1
    store.close()


def test_a_shard_that_does_not_answer_is_named(tmp_path: Path, own: PostgresServer) -> None:
    (tmp_path / "given.safetensors").write_bytes(b"weights")
    urls = [server().url(), own.url()]
    store = ShardedStore.create(",".join(urls), BINDING, tmp_path / "given.safetensors")
    numbers = list(range(40))
    store.add([crop(n) for n in numbers], vectors(numbers))
    assert all(shard.count() > 5 for shard in store._shards)
    again = ShardedStore(",".join(reversed(urls)))  # in any order
    assert [h.crop.id for h in again.search(vectors([3]), k=40).hits[0]] == [
        h.crop.id for h in store.search(vectors([3]), k=40).hits[0]
    ]
    again.close()
    with pytest.raises(UsageError, match="is one of 2 shards of a gallery; give the addresses of all"):
        open_store(urls[0])
    with pytest.raises(DataError, match=r"these are the shards \[1\] of a gallery of 2"):
        ShardedStore(urls[0])
    lone = PostgresStore.create(server().url(), BINDING, tmp_path / "given.safetensors")
    with pytest.raises(DataError, match="are no shards of one gallery"):
        ShardedStore(f"{urls[0]},{server().url(lone.server.schema)}")
    lone.close()
    own.kill()
    for ask in (
        lambda: store.search(vectors([1])),
        store.count,
        lambda: store.delete(Where(cameras=frozenset(["gate"]))),
        lambda: ShardedStore(",".join(urls)),
    ):
        with pytest.raises(DataError, match=f"{own.home}.*the server does not answer"):
            ask()
    with pytest.raises(UsageError, match="has no shards"):
        open_store(urls[0], allow_partial=True)
    for later in (False, True):  # a shard that is away at first, and one that goes later
        if later:
            own.start()
        partial = open_store(",".join(urls), allow_partial=True)
        if later:
            assert partial.search(vectors([1])).notes == ()
            own.kill()
        found = partial.search(vectors([1]), k=40)
        assert found.searched == len(found.hits[0]) == partial.count() and 5 < found.searched < 40
        (note,) = found.notes
        assert "PARTIAL ANSWER" in note and str(own.home) in note and "the server does not answer" in note
        partial.record("search")
        with pytest.raises(UsageError, match="opened to be read in part"):
            partial.erase(Where(cameras=frozenset(["gate"])))
        partial.close()
    own.start()
    left = sum(crop(n).camera != "gate" for n in numbers)
    store.delete(Where(cameras=frozenset(["gate"])))  # repeated when it is back
    assert store.count() == left and store.verify().problems == ()
    store.close()
    with pytest.raises(DataError, match="the gallery is closed"):
        store.count()


def test_a_verb_shows_no_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ivreid.cli.main import main

    store = make_postgres(tmp_path)
    store.add([crop(1)], vectors([1]))
    url = (tmp_path / "url").read_text().replace("ivreid@", "ivreid:topsecret@")
    for words in (["verify", url], ["delete", url, "--pid", "7"], ["info", url]):
        with contextlib.suppress(SystemExit):
            main(["gallery", *words])
        said = capsys.readouterr()
        assert "topsecret" not in said.out + said.err and "error" not in said.err
    store.close()


def test_shards_are_made_on_all_servers_or_on_none(tmp_path: Path) -> None:
    (tmp_path / "given.safetensors").write_bytes(b"weights")
    first, taken = server().url(), server().url()
    PostgresStore.create(taken, BINDING, tmp_path / "given.safetensors").close()
    with pytest.raises(UsageError, match="there is a schema"):
        ShardedStore.create(f"{first},{taken}", BINDING, tmp_path / "given.safetensors")
    ShardedStore.create(f"{first},{server().url()}", BINDING, tmp_path / "given.safetensors").close()
