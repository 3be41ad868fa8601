"""Every store answers as a dictionary with a brute-force search would, to the last tie."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from fractions import Fraction
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
from galleries import BINDING, DIMENSION, START, STORES, crop, picture, vector, vectors
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ivreid.errors import DataError, UsageError
from ivreid.gallery import Added, Crop, Store, Where
from ivreid.gallery.receipts import keep, kept
from ivreid.gallery.vectors import distances, stored
from ivreid.types import Modality

NUMBERS = st.integers(0, 60)
HOURS = st.integers(0, 60).map(lambda hours: START + timedelta(hours=hours))
WHERE = st.builds(
    lambda times, **rest: Where(start=times[0], stop=times[1], **rest),
    times=st.one_of(
        st.just((None, None)),
        HOURS.map(lambda time: (time, None)),
        HOURS.map(lambda time: (None, time)),
        st.tuples(HOURS, st.integers(1, 40)).map(lambda t: (t[0], t[0] + timedelta(hours=t[1]))),
    ),
    cameras=st.none() | st.frozensets(st.sampled_from(["gate", "yard", "Tür 3"]), min_size=1),
    not_cameras=st.none() | st.just(frozenset(["gate"])),
    modality=st.none() | st.sampled_from(list(Modality)),
    tracklets=st.none() | st.just(frozenset(["t1"])),
    pids=st.none() | st.frozensets(st.sampled_from([1, 2, -1]), min_size=1),
    ids=st.none() | st.frozensets(NUMBERS.map(lambda n: crop(n).id), min_size=1, max_size=20),
)


def brute_force(
    held: dict[str, tuple[Crop, int]], query: np.ndarray, where: Where, k: int
) -> list[tuple[str, float]]:
    """By definition, in whole numbers: float16 values are multiples of 2^-24."""
    q = [int(value * 2**24) for value in stored(query)[0].astype(np.float64)]
    found = []
    for one, number in held.values():
        if where.matches(one):
            x = [int(value * 2**24) for value in stored(vector(number))[0].astype(np.float64)]
            dot, xx, qq = (sum(a * b for a, b in zip(s, t, strict=True)) for s, t in ((x, q), (x, x), (q, q)))
            cosine = Fraction(dot, 1) / Fraction(isqrt(xx * qq << 120), 1 << 60)
            found.append((float(1 - cosine), one.id))
    return [(name, gap) for gap, name in sorted((round(gap, 12), name) for gap, name in found)[:k]]


class Galleries(RuleBasedStateMachine):
    kind = "local"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.make, self.reopen = STORES[self.kind]
        self.held: dict[str, tuple[Crop, int]] = {}
        self.erased: set[str] = set()

    @initialize()
    def begin(self) -> None:
        self.store: Store = self.make(Path(self.folder.name))

    def teardown(self) -> None:
        if hasattr(self, "store"):  # a server may not be there to begin with
            self.store.close()
        self.folder.cleanup()

    @rule(numbers=st.lists(NUMBERS, max_size=12))
    def add(self, numbers: list[int]) -> None:
        crops = [crop(n) for n in numbers]
        expected = Added()
        seen = set(self.held)
        lists: dict[str, list[str]] = {"added": [], "known": [], "erased": []}
        for one in crops:
            fate = "erased" if one.pixels in self.erased else "known" if one.id in seen else "added"
            lists[fate].append(one.id)
            seen.add(one.id)
        expected = Added(*(tuple(lists[name]) for name in ("added", "known", "erased")))
        assert self.store.known(crops) == expected
        assert self.store.add(crops, vectors(numbers), [picture(n) for n in numbers]) == expected
        for one, number in zip(crops, numbers, strict=True):
            if one.id in expected.added and one.id not in self.held:
                self.held[one.id] = one, number

    @rule(where=WHERE, queries=st.lists(NUMBERS, min_size=1, max_size=5), k=st.integers(1, 70))
    def search(self, where: Where, queries: list[int], k: int) -> None:
        found = self.store.search(vectors(queries), where, k)
        assert found.searched == sum(where.matches(one) for one, _ in self.held.values())
        for query, hits in zip(queries, found.hits, strict=True):
            expected = brute_force(self.held, vector(query), where, k)
            assert [(hit.crop.id, round(hit.distance, 12)) for hit in hits] == expected
            assert all(hit.crop == self.held[hit.crop.id][0] for hit in hits)

    @rule(where=WHERE)
    def look(self, where: Where) -> None:
        matching = {name: (one, n) for name, (one, n) in self.held.items() if where.matches(one)}
        assert self.store.count(where) == len(matching)
        tracklets = {one.tracklet or name for name, (one, _) in matching.items()}
        assert self.store.count(where, tracklets=True) == len(tracklets)
        seen = {}
        for crops, rows, pictures in self.store.iterate(where, batch=7):
            for one, row, image in zip(crops, rows, pictures, strict=True):
                assert row.tobytes() == stored(vector(matching[one.id][1])).tobytes()
                assert image == picture(matching[one.id][1])
                assert self.store.picture(one.address) == image
                seen[one.id] = one
        assert seen == {name: one for name, (one, _) in matching.items()}

    @rule(ids=st.lists(NUMBERS.map(lambda n: crop(n).id), max_size=5))
    def get(self, ids: list[str]) -> None:
        assert self.store.get(ids) == {name: self.held[name][0] for name in ids if name in self.held}

    def _drop(self, where: Where) -> list[Crop]:
        gone = [one for one, _ in self.held.values() if where.matches(one)]
        for one in gone:
            del self.held[one.id]
        return gone

    @rule(where=WHERE)
    def delete(self, where: Where) -> None:
        assert self.store.delete(where) == len(self._drop(where))

    @rule(where=WHERE)
    def erase(self, where: Where) -> None:
        if where == Where():
            with pytest.raises(UsageError, match="nothing says what to erase"):
                self.store.erase(where)
            return
        gone = self._drop(where)
        self.erased |= {one.pixels for one in gone}
        receipt = self.store.erase(where)
        assert (receipt.action, receipt.crops, receipt.left) == ("erase", len(gone), ())

    @rule(time=HOURS)
    def expire(self, time: object) -> None:
        gone = self._drop(Where(stop=time))  # type: ignore[arg-type]
        assert self.store.expire(time).crops == len(gone)  # type: ignore[arg-type]

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = self.reopen(Path(self.folder.name))

    @rule()
    def compact(self) -> None:
        self.store.compact()

    @rule()
    def verify(self) -> None:
        report = self.store.verify()
        assert (report.crops, report.problems) == (len(self.held), ())

    @invariant()
    def summary_counts(self) -> None:
        if not hasattr(self, "store"):
            return
        summary = self.store.summary()
        crops = [one for one, _ in self.held.values()]
        assert summary.crops == len(crops)
        assert summary.cameras == {
            c: n for c in {o.camera for o in crops} if (n := sum(o.camera == c for o in crops))
        }
        assert set(self.store.cameras()) == {o.camera for o in crops}
        assert self.store.has_tracklets() == any(o.tracklet for o in crops)
        assert summary.first == min((o.time for o in crops), default=None)
        assert summary.last == max((o.time for o in crops), default=None)
        assert summary.tracklets == len({o.tracklet for o in crops} - {None})


@pytest.mark.parametrize("kind", STORES)
def test_a_store_answers_as_a_dictionary_would(kind: str) -> None:
    machine = type(f"{kind.title()}Galleries", (Galleries,), {"kind": kind})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=10 if kind == "shards" else 25, stateful_step_count=20)
    )


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path):
    made = STORES[request.param][0](tmp_path)
    yield made
    made.close()


def test_what_cannot_be_kept_is_refused_and_nothing_is_added(store: Store) -> None:
    with pytest.raises(DataError, match="have 9 dimensions, the gallery's have 8"):
        store.add([crop(1)], np.ones((1, 9)))
    with pytest.raises(DataError, match="row 1, has length 0"):
        store.add([crop(1), crop(2)], np.array([[1.0] * DIMENSION, [0.0] * DIMENSION]))
    with pytest.raises(DataError, match="row 0, has length nan"):
        store.add([crop(1)], np.full((1, DIMENSION), np.nan))
    with pytest.raises(DataError, match="2 crops, 1 vectors"):
        store.add([crop(1), crop(2)], np.ones((1, DIMENSION)))
    with pytest.raises(DataError, match="have 3 dimensions"):
        store.search(np.ones((1, 3)))
    with pytest.raises(UsageError, match="k is 0"):
        store.search(np.ones((1, DIMENSION)), k=0)
    assert store.count() == 0 and store.search(np.ones((1, DIMENSION))).hits == ((),)


def test_a_store_says_what_it_is_bound_to_and_holds_the_weights(store: Store) -> None:
    assert store.binding == BINDING
    assert store.weights().read_bytes() == b"weights"


def test_the_audit_keeps_what_was_recorded_and_every_removal(store: Store) -> None:
    store.add([crop(1), crop(2)], vectors([1, 2]))
    store.record("search", purpose="lost child", detail={"searched": 2})
    store.delete(Where(ids=frozenset([crop(1).id])))
    store.erase(Where(ids=frozenset([crop(2).id])))
    rows = store.audit()
    assert [(row.action, row.purpose) for row in rows] == [
        ("search", "lost child"),
        ("delete", ""),
        ("erase", ""),
    ]
    assert [row.detail.get("crops", row.detail.get("searched")) for row in rows] == [2, 1, 1]
    assert rows[0].time <= rows[1].time and [row.number for row in rows] == sorted(row.number for row in rows)
    assert store.audit(last=1) == rows[-1:]
    assert [row.detail for row in store.audit(action="search")] == [{"searched": 2}]
    assert store.audit(action="search", last=3)[0].purpose == "lost child" and store.audit(action="x") == ()
    assert not any(crop(2).id in str(row) for row in rows)


def test_a_receipt_is_kept_under_its_id(store: Store) -> None:
    store.add([crop(1), crop(2)], vectors([1, 2]))
    first = keep(store, store.erase(Where(ids=frozenset([crop(1).id]))), "asked for")
    second = keep(store, store.expire(crop(2).time + timedelta(hours=1)))
    assert first.id != second.id and first.crops == second.crops == 1
    assert kept(store, first.id) == first.to_json() and kept(store, second.id) == second.to_json()
    assert kept(store, "0" * 32) is None and kept(store, "") is None
    assert [row.purpose for row in store.audit(action="receipt")] == ["asked for", ""]
    assert crop(1).id not in str(store.audit())


def test_a_distance_is_exact_whatever_the_order_of_dimensions() -> None:
    rng = np.random.default_rng(5)
    for dimension in (1, 3, 64, 512, 2048):
        rows = stored(rng.standard_normal((40, dimension)))
        plain = distances(rows[0], rows)
        assert plain[0] == 0.0
        for _ in range(5):
            order = rng.permutation(dimension)
            assert distances(rows[0][order], rows[:, order]).tobytes() == plain.tobytes()
