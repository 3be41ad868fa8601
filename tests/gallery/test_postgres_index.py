"""An index (HNSW) over a gallery in PostgreSQL: only where asked for, with its recall told, and never short of hits."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from galleries import START, crop, make_local, make_postgres, make_shards, reopen_postgres
from pictures import draw, write_model

from ivreid.cli.answer_text import answer_csv
from ivreid.cli.main import main
from ivreid.errors import UsageError
from ivreid.gallery import Answer, Binding, Crop, Store, Where
from ivreid.gallery.gallery import Gallery
from ivreid.gallery.postgres import PostgresStore, ShardedStore
from ivreid.gallery.vectors import distances, stored
from ivreid.types import Modality
from postgres_server import server

D = 32
BOUND = Binding("f", D, "test")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivreid.gallery.postgres.recall.SAMPLE", 16)


def crowd(count: int, first: int = 0) -> tuple[list[Crop], np.ndarray]:
    """Crops of two days, three cameras and both modalities with vectors that are hard to tell apart."""
    rows = np.random.default_rng(first).standard_normal((count, D))
    return [crop(n) for n in range(first, first + count)], rows


def same(ours: Store, theirs: Store, queries: np.ndarray, where: Where, k: int) -> None:
    one, other = ours.search(queries, where, k), theirs.search(queries, where, k)
    assert one.searched == other.searched and other.approximate is None
    for left, right in zip(one.hits, other.hits, strict=True):
        assert [(hit.crop.id, hit.distance) for hit in left] == [(hit.crop.id, hit.distance) for hit in right]


@pytest.mark.parametrize("sharded", [False, True])
def test_only_who_asks_for_it_gets_an_index_and_what_it_does_not_serve_is_exact(
    tmp_path: Path, sharded: bool
) -> None:
    near, far = make_local(tmp_path, BOUND), (make_shards if sharded else make_postgres)(tmp_path, BOUND)
    assert isinstance(far, PostgresStore | ShardedStore)
    crops, rows = crowd(900)
    for store in (near, far):
        store.add(crops, rows)
    queries = np.random.default_rng(7).standard_normal((3, D))
    assert far.index() is None
    same(near, far, queries, Where(), 20)
    with pytest.raises(UsageError, match=r"has no index.*ivreid gallery index --hnsw"):
        far.measure_index()
    made = far.build_index()
    assert made == far.index() and 0.5 < made.recall <= 1 and made.ef == 200
    broad = Where(not_cameras=frozenset(["gate"]))
    for where in (Where(), broad):
        found = far.search(queries, where, 20)
        assert found.approximate == made and found.searched == near.count(where)
        assert [len(hits) for hits in found.hits] == [20] * 3
        for query, hits in zip(queries, found.hits, strict=True):
            assert all(where.matches(hit.crop) for hit in hits)
            gaps = [float(distances(stored(query)[0], stored(rows[[crops.index(h.crop)]]))[0]) for h in hits]
            assert [(hit.distance, hit.crop.id) for hit in hits] == sorted(
                zip(gaps, (hit.crop.id for hit in hits), strict=True)
            )
    narrow = Where(cameras=frozenset(["gate"]), modality=Modality.INFRARED)
    for where, k in ((narrow, 20), (Where(start=START + timedelta(hours=45)), 5), (Where(), 101)):
        same(near, far, queries, where, k)
    for store in (near, far):  # so many more that the measured recall says nothing of them
        more, vectors = crowd(1000, 900)
        store.add(more, vectors)
    same(near, far, queries, Where(), 20)
    again = far.measure_index(ef=400)
    assert again.ef == 400 and again.measured > made.measured and again.crops > made.crops
    assert far.search(queries, k=5).approximate == again
    assert far.drop_index() and not far.drop_index() and far.index() is None
    same(near, far, queries, Where(), 20)
    near.close()
    far.close()


def test_as_many_hits_come_as_pass_though_all_that_is_near_does_not(tmp_path: Path) -> None:
    """The answer is known: those of one camera lie on an arc, and those of the other before it."""
    store = make_postgres(tmp_path, BOUND)
    assert isinstance(store, PostgresStore)
    axes, rng = np.eye(D), np.random.default_rng(1)
    near = axes[0] + 0.01 * rng.standard_normal((400, D))
    angles = np.radians(40 + 0.1 * np.arange(420))
    arc = np.cos(angles)[:, None] * axes[0] + np.sin(angles)[:, None] * axes[1]
    gate = [crop(n, camera="gate", time=START + timedelta(seconds=n % 60)) for n in range(400)]
    yard = [crop(n, camera="yard", time=START + timedelta(seconds=n % 60)) for n in range(400, 820)]
    store.add(gate + yard, np.concatenate([near, arc]))
    store.build_index(ef=40)
    with store._connections.reading() as session:  # what pgvector does by itself
        session.run("SELECT set_config('enable_sort', 'off', true), set_config('hnsw.ef_search', '40', true)")
        sql = "SELECT id FROM crop WHERE camera = 'yard' ORDER BY vector <#> CAST(:q AS halfvec) LIMIT 50"
        plan = session.run(f"EXPLAIN {sql}", q=str(axes[0].tolist()))
        assert "Index Scan" in str(plan) and "<#>" in str(plan) and "Sort" not in str(plan)
        assert len(session.run(sql, q=str(axes[0].tolist()))) < 50
    where = Where(cameras=frozenset(["yard"]))
    for k in (1, 50, 100):
        found = store.search(axes[:1], where, k)
        (hits,) = found.hits
        assert found.searched == 420 and len(hits) == k
        assert sum(hit.crop.id in {one.id for one in yard[:k]} for hit in hits) >= 0.9 * k
    assert found.approximate is not None
    # a scan that ends before enough rows pass gives way to exact search
    server().sql("ALTER DATABASE postgres SET hnsw.max_scan_tuples = 1")
    try:
        other = reopen_postgres(tmp_path)
        short = other.search(axes[:1], where, 50)
        assert short.approximate is None
        assert [hit.crop.id for hit in short.hits[0]] == [one.id for one in yard[:50]]
        other.close()
    finally:
        server().sql("ALTER DATABASE postgres RESET hnsw.max_scan_tuples")
    store.close()


def test_the_recall_is_the_share_of_the_nearest_that_a_search_finds(tmp_path: Path) -> None:
    """Derived again, by brute force and through `search`, for an index that is made badly."""
    store = make_postgres(tmp_path, BOUND)
    assert isinstance(store, PostgresStore)
    crops, rows = crowd(900)
    store.add(crops, rows)
    with store._connections.writing() as session:
        session.run(
            "CREATE INDEX crop_hnsw ON crop USING hnsw (vector halfvec_ip_ops) WITH (m = 3, ef_construction = 6)"
        )
    told = store.build_index(ef=5)
    half = stored(rows)
    by_id = {one.id: (one, vector) for one, vector in zip(crops, half, strict=True)}
    asked = [
        name
        for kind in Modality
        for name in sorted(name for name, (one, _) in by_id.items() if one.modality == kind)[:8]
    ]
    cameras = [one.camera for one in crops]
    fullest = max(sorted(set(cameras)), key=cameras.count)
    kinds = [Where(), *(Where(modality=kind) for kind in Modality), Where(not_cameras=frozenset([fullest]))]
    kinds = [where for where in kinds if 2 * sum(map(where.matches, crops)) >= len(crops)]
    assert len(kinds) >= 3
    means = []
    for where in kinds:
        ids = [one.id for one in crops if where.matches(one)]
        matrix = np.array([by_id[name][1] for name in ids])
        for depth in (10, 99):
            shares: dict[Modality, list[float]] = {kind: [] for kind in Modality}
            for name in asked:
                one, vector = by_id[name]
                others = sorted(
                    gap for other, gap in zip(ids, distances(vector, matrix), strict=True) if other != name
                )
                found = store.search(vector[None].astype(np.float32), where, depth + 1)
                if found.approximate is None:
                    continue  # too few were proposed
                gaps = [hit.distance for hit in found.hits[0] if hit.crop.id != name][:depth]
                shares[one.modality].append(sum(gap <= others[depth - 1] for gap in gaps) / depth)
            means += [sum(part) / len(part) for part in shares.values() if part]
    assert told.recall == math.floor(min(means) * 10_000) / 10_000 < 0.99
    assert (told.sample, told.crops) == (len(asked), 900)
    store.close()


def test_what_cannot_be_indexed_is_said(tmp_path: Path) -> None:
    store = make_postgres(tmp_path, Binding("f", 4001, "test"))
    assert isinstance(store, PostgresStore)
    with pytest.raises(UsageError, match=r"vectors of 4,001 values, and pgvector indexes 4,000"):
        store.build_index()
    store.close()
    store = make_postgres(tmp_path, BOUND)
    assert isinstance(store, PostgresStore)
    for ef in (0, 1001):
        with pytest.raises(UsageError, match=f"ef is {ef}; pgvector takes 1 to 1,000"):
            store.build_index(ef)
    with pytest.raises(UsageError, match=r"holds 0 crop\(s\), too few"):
        store.build_index()
    store.add(*crowd(30))
    with pytest.raises(UsageError, match=r"holds 30 crop\(s\), too few"):
        store.build_index()
    assert store.index() is None and store.search(np.ones((1, D)), k=3).approximate is None
    store.close()


def test_every_form_of_an_answer_tells_the_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IVREID_CACHE", str(tmp_path / "cache"))
    url, weights = server().url(), write_model(tmp_path / "model")
    for n in range(100):
        draw(tmp_path / "day" / f"{n}.png", n)
    draw(tmp_path / "night.png", 777)

    def said(*words: str) -> str:
        capsys.readouterr()
        try:
            main(words)
        except SystemExit as left:
            assert not left.code, words
        return capsys.readouterr().out

    Gallery.create(url, weights, device="cpu").close()
    said(
        "gallery",
        "add",
        url,
        "day",
        "--camera",
        "gate",
        "--modality",
        "visible",
        "--time",
        "2026-03-01T22:00Z",
    )
    search = ("search", url, "night.png", "--modality", "infrared", "--k", "5")
    assert "approximate" not in json.loads(said(*search, "--json"))
    assert "is exact" in said("gallery", "index", url)
    assert "hnsw, ef 80: it found" in said("gallery", "index", url, "--hnsw", "--ef", "80")
    told = json.loads(said("gallery", "index", url, "--json"))["approximate"]
    answer = json.loads(said(*search, "--json"))
    assert answer["approximate"] == told and told["index"] == "hnsw" and told["recall"] > 0.8
    sentence = f"it found {told['recall']:.2%} of the nearest when measured on {told['measured'][:10]}"
    assert sentence in said(*search, "--html", "out.html")
    assert sentence in Path("out.html").read_text(encoding="utf-8")
    header, first, *_ = said(*search, "--csv").splitlines()
    assert header.endswith(",index_recall") and first.endswith(f",{told['recall']}")
    assert answer_csv(Answer((), partial=("a", "b"))) == header.removesuffix("index_recall") + "partial\n"
    rows = [json.loads(line) for line in said("gallery", "show", url, "--audit").splitlines()]
    assert rows[-1]["approximate"] == told and "approximate" not in rows[1]
    assert "is exact" in said("gallery", "index", url, "--drop")
    assert "APPROXIMATE" not in said(*search)
    with pytest.raises(SystemExit):
        main(["gallery", "index", url, "--hnsw", "--drop"])
    assert "give one" in capsys.readouterr().err
    Gallery.create(tmp_path / "G", weights, device="cpu").close()
    with pytest.raises(SystemExit):
        main(["gallery", "index", "G", "--hnsw"])
    assert "only galleries in PostgreSQL can have one" in " ".join(capsys.readouterr().err.split())
