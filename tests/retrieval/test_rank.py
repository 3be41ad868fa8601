import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import DataError, UsageError
from ivreid.retrieval import Ranking, rank


def slow_rank(query, gallery, k, metric, excluded=None):
    """One pair at a time in double precision, sorted by (distance, gallery row)."""
    rows = []
    for i, q in enumerate(query.astype(np.float64)):
        pairs = []
        for j, g in enumerate(gallery.astype(np.float64)):
            if excluded is not None and excluded[i, j]:
                continue
            if metric == "cosine":
                d = 1 - q @ g / np.sqrt(q @ q) / np.sqrt(g @ g)
            else:
                d = np.sqrt(((q - g) ** 2).sum())
            pairs.append((d, j))
        rows.append(sorted(pairs)[:k])
    return rows


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_equals_the_slow_definition(metric, k):
    rng = np.random.default_rng(3)
    query, gallery = rng.normal(size=(17, 8)).astype(np.float32), rng.normal(size=(31, 8)).astype(np.float32)
    excluded = rng.random((17, 31)) < 0.3
    excluded[4] = True
    ranking = rank(query, gallery, k, metric=metric, excluded=excluded)
    assert ranking.k == min(k, 31)
    for i, row in enumerate(slow_rank(query, gallery, k, metric, excluded)):
        found = ranking.indices[i]
        assert found[found >= 0].tolist() == [j for _, j in row]
        np.testing.assert_allclose(ranking.distances[i][: len(row)], [d for d, _ in row], atol=1e-12)
        assert np.isinf(ranking.distances[i][len(row) :]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["cosine", "euclidean"]), st.integers(1, 9))
def test_neither_block_size_nor_precision_of_the_product_matters(seed, metric, k):
    rng = np.random.default_rng(seed)
    # a common offset far larger than the differences drowns them in single precision
    base = rng.normal(size=12) * 300
    gallery = (base + rng.normal(size=(40, 12))).astype(np.float32)
    query = (base + rng.normal(size=(6, 12))).astype(np.float32)
    whole = rank(query, gallery, k, metric=metric)
    rows = rank(query, gallery, k, metric=metric, block_bytes=1)
    assert np.array_equal(whole.indices, rows.indices) and np.array_equal(whole.distances, rows.distances)
    squared = ((query[:, None].astype(np.float64) - gallery[None]) ** 2).sum(-1)
    if metric == "euclidean":
        assert np.array_equal(whole.indices, np.argsort(squared, axis=1, kind="stable")[:, :k])


def test_equal_vectors_stand_in_gallery_order_with_equal_distances():
    rng = np.random.default_rng(0)
    vector = rng.normal(size=(1, 33)).astype(np.float32)
    gallery = np.repeat(vector, 50, axis=0)
    gallery[20] += 1
    for metric in ("cosine", "euclidean"):
        ranking = rank(rng.normal(size=(3, 33)), gallery, 50, metric=metric)
        for row, distances in zip(ranking.indices, ranking.distances, strict=True):
            rest = row[row != 20]
            assert rest.tolist() == sorted(rest) and len(np.unique(distances[row != 20])) == 1
    assert rank(vector, gallery, 1).distances[0, 0] == 0


def test_permuting_the_gallery_permutes_the_answer():
    rng = np.random.default_rng(5)
    query, gallery = rng.normal(size=(9, 6)), rng.normal(size=(50, 6))
    ids = np.array([f"cam1/{i:04d}.jpg" for i in range(50)])
    order = rng.permutation(50)
    a = rank(query, gallery, 12, gallery_ids=ids)
    b = rank(query, gallery[order], 12, gallery_ids=ids[order])
    for q in range(9):
        assert a.of(q).tolist() == b.of(q).tolist()


def test_progress_counts_queries():
    seen = []
    rank(np.eye(5), np.eye(5), 2, block_bytes=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rank(np.eye(3), np.eye(3), 0), UsageError, "k = 0"),
        (lambda: rank(np.eye(3), np.eye(3), metric="hamming"), UsageError, "hamming"),
        (lambda: rank(np.eye(3), np.eye(4)), DataError, "3 dimensions and the gallery 4"),
        (lambda: rank(np.eye(3), np.empty((0, 3))), DataError, "empty"),
        (lambda: rank(np.zeros((1, 3)), np.eye(3)), DataError, "query vectors row 0 is zero"),
        (lambda: rank(np.full((1, 3), np.nan), np.eye(3)), DataError, "finite"),
        (lambda: rank(np.full((1, 3), 1e20), np.eye(3), metric="euclidean"), DataError, "1e\\+20"),
        (lambda: rank(np.eye(3), np.eye(3), excluded=np.zeros((2, 3), bool)), DataError, "excluded"),
        (lambda: rank(np.eye(3), np.eye(3), gallery_ids=[1, 2, 2]), DataError, "2.* more than once"),
        (lambda: rank(np.eye(3), np.eye(3), gallery_ids=[1, 2]), DataError, "2 ids for 3"),
        (lambda: rank(np.eye(3), np.eye(3)).of(7), UsageError, "no query 7"),
    ],
)
def test_bad_input_has_its_message(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("indices", "distances", "message"),
    [
        ([[0, 3]], [[0.0, 1.0]], "outside the gallery"),
        ([[0, 1]], [[1.0, 0.5]], "not sorted"),
        ([[0, 1]], [[0.0, np.nan]], "not a number"),
        ([[0, 0]], [[0.0, 1.0]], "twice"),
        ([[1, 0]], [[1.0, 1.0]], "tie"),
        ([[0, -1]], [[0.0, 1.0]], "where no image stands"),
        ([[0], [1]], [[0.0], [1.0]], "1 query ids for 2"),
        ([[0, 1]], [[0.0]], "shape"),
    ],
)
def test_a_false_ranking_cannot_exist(indices, distances, message):
    with pytest.raises(DataError, match=message):
        Ranking(np.array(["q"]), np.arange(3), np.array(indices), np.array(distances))


def test_a_ranking_is_immutable():
    ranking = rank(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="read-only"):
        ranking.indices[0, 0] = 1
