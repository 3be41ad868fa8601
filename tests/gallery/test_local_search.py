"""The local store's search is exact with every kernel, also where thousands are equally near."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from galleries import START, crop, make_local, reopen_local

from ivreid.gallery import Binding, Store, Where
from ivreid.gallery.local import kernels, nearest, view
from ivreid.gallery.vectors import distances, stored
from ivreid.types import Modality

N, D = 3000, 24


@pytest.fixture(params=["faiss", "torch"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "faiss":
        pytest.importorskip("faiss")
    else:
        monkeypatch.setattr(kernels, "_faiss", lambda: None)
    return request.param


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A gallery of 3,000: half of them different, the others of three vectors."""
    folder = tmp_path_factory.mktemp("filled")
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((N, D)).astype(np.float32)
    rows[N // 2 :] = rows[rng.integers(0, 3, N // 2)]
    store = make_local(folder, Binding("f", D, "test"))
    store.add([crop(n) for n in range(2000)], rows[:2000])
    store.compact()
    store.add([crop(n) for n in range(2000, N)], rows[2000:])  # beside the cache, in memory
    store.close()
    return folder, rows


def expected(rows: np.ndarray, query: np.ndarray, where: Where, k: int) -> list[tuple[str, float]]:
    gaps = distances(stored(query)[0], stored(rows))
    passing = [(gaps[n], crop(n).id) for n in range(N) if where.matches(crop(n))]
    return [(name, float(gap)) for gap, name in sorted(passing)[:k]]


@pytest.mark.parametrize("k", [1, 10, 1700])
@pytest.mark.parametrize("queries", [1, 6])
@pytest.mark.parametrize(
    "where",
    [
        Where(),
        Where(
            cameras=frozenset(["gate"]), start=START + timedelta(hours=5), stop=START + timedelta(hours=30)
        ),
        Where(modality=Modality.INFRARED, pids=frozenset([1])),
        Where(not_cameras=frozenset(["gate"]), tracklets=frozenset(["t2"])),
    ],
    ids=str,
)
def test_search_is_exact(
    filled: tuple[Path, np.ndarray], kernel: str, k: int, queries: int, where: Where
) -> None:
    folder, rows = filled
    store = reopen_local(folder)
    probes = np.concatenate([rows[:3], np.random.default_rng(7).standard_normal((3, D))])[:queries]
    found = store.search(probes, where, k)
    store.close()
    assert found.searched == sum(where.matches(crop(n)) for n in range(N))
    for probe, hits in zip(probes, found.hits, strict=True):
        assert [(hit.crop.id, hit.distance) for hit in hits] == expected(rows, probe, where, k)


def test_many_short_runs_are_searched_as_one(
    filled: tuple[Path, np.ndarray], kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "MANY_RUNS", 2)
    folder, rows = filled
    store = reopen_local(folder)
    where = Where(pids=frozenset([1]))
    hits = store.search(rows[:1], where, 10).hits[0]
    store.close()
    assert [(hit.crop.id, hit.distance) for hit in hits] == expected(rows, rows[0], where, 10)


def test_rows_added_and_removed_one_by_one_are_followed(
    tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "MANY_BLOCKS", 3)
    monkeypatch.setattr(kernels, "BLOCK", 7)
    store: Store = make_local(tmp_path, Binding("f", D, "test"))
    other = reopen_local(tmp_path)  # another process, as far as the store knows
    rows = np.random.default_rng(3).standard_normal((200, D))
    there: set[int] = set()
    for step in range(20):
        numbers = list(range(10 * step, 10 * step + 10))
        store.add([crop(n) for n in numbers], rows[numbers])
        there |= set(numbers)
        if step % 4 == 3:
            gone = {n for n in there if n % 5 == step // 4}
            store.delete(Where(ids=frozenset(crop(n).id for n in gone)))
            there -= gone
        for one in (store, other):
            found = one.search(rows[[step]], k=300)
            assert found.searched == len(there)
            assert {hit.crop.id for hit in found.hits[0]} == {crop(n).id for n in there}
    other.close()
    store.close()


def test_a_catalogue_put_back_from_a_copy_does_not_take_the_cache_of_its_lost_future(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).standard_normal((6, D))
    store = make_local(tmp_path, Binding("f", D, "test"))
    store.add([crop(0)], rows[:1])
    store.close()
    copy = (tmp_path / "gallery" / "catalogue.sqlite").read_bytes()
    store = reopen_local(tmp_path)
    store.add([crop(1), crop(2)], rows[1:3])
    store.compact()
    store.close()
    (tmp_path / "gallery" / "catalogue.sqlite").write_bytes(copy)
    store = reopen_local(tmp_path)
    store.add([crop(3), crop(4)], rows[3:5])
    assert [hit.crop.id for hit in store.search(rows[3], k=1).hits[0]] == [crop(3).id]
    assert store.search(rows[3]).searched == 3
    store.close()
