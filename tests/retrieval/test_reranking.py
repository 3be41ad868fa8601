import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import DataError, UsageError
from ivreid.retrieval import AverageQueryExpansion, KReciprocal, get_reranker


def dense_k_reciprocal(query, gallery, k1, k2, weight, metric):
    """The paper's equations with Python sets and full N x N arrays, one image at a time."""
    points = np.concatenate([query, gallery]).astype(np.float64)
    if metric == "cosine":
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    n = len(points)
    d = np.array([[((a - b) ** 2).sum() for b in points] for a in points])
    lists = [[i, *(j for _, j in sorted((d[i, j], j) for j in range(n) if j != i))] for i in range(n)]
    for i in range(n):
        d[i] /= d[i].max() or 1.0

    def near(i, k):
        return set(lists[i][: k + 1])

    def reciprocal(i, k):
        return {j for j in near(i, k) if i in near(j, k)}

    v = np.zeros((n, n))
    for i in range(n):
        base = reciprocal(i, k1)
        full = set(base)
        for j in base:
            extra = reciprocal(j, round(min(k1, n - 1) / 2))
            if len(base & extra) >= 2 / 3 * len(extra) - 1e-9:
                full |= extra
        for j in full:
            v[i, j] = np.exp(-d[i, j])
        v[i] /= v[i].sum()
    v = np.array([np.mean([v[j] for j in lists[i][:k2]], axis=0) for i in range(n)])
    out = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for g in range(len(gallery)):
            a, b = v[i], v[len(query) + g]
            jaccard = 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()
            out[i, g] = (1 - weight) * jaccard + weight * d[i, len(query) + g]
    return out


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    k1=st.integers(1, 12),
    k2=st.integers(1, 6),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
    metric=st.sampled_from(["cosine", "euclidean"]),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 22)),
)
def test_equals_the_dense_definition(seed, k1, k2, weight, metric, sizes):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 5))
    query, gallery = (centres[rng.integers(0, 4, n)] + 0.4 * rng.normal(size=(n, 5)) for n in sizes)
    ours = KReciprocal(k1, k2, weight, metric)(query, gallery)
    assert ours.shape == sizes and ours.dtype == np.float32
    np.testing.assert_allclose(ours, dense_k_reciprocal(query, gallery, k1, k2, weight, metric), atol=2e-6)


def test_equals_the_dense_definition_over_several_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    query, gallery = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
    monkeypatch.setattr("ivreid.retrieval.kreciprocal._ROWS", 16)
    ours = KReciprocal()(query, gallery)
    np.testing.assert_allclose(ours, dense_k_reciprocal(query, gallery, 20, 6, 0.3, "cosine"), atol=2e-6)


@pytest.mark.parametrize("k1", [3, 7, 10, 11])
def test_half_of_k1_is_rounded_as_stated(k1):
    rng = np.random.default_rng(6)
    centres = rng.normal(size=(8, 3))
    query, gallery = (centres[rng.integers(0, 8, n)] + 0.5 * rng.normal(size=(n, 3)) for n in (20, 40))
    ours = KReciprocal(k1=k1, k2=1, weight=0.0)(query, gallery)
    np.testing.assert_allclose(ours, dense_k_reciprocal(query, gallery, k1, 1, 0.0, "cosine"), atol=2e-6)


def test_duplicates_and_coinciding_points():
    rng = np.random.default_rng(2)
    query, gallery = np.ones((3, 4)), np.concatenate([np.ones((5, 4)), rng.normal(size=(6, 4))])
    ours = KReciprocal(k1=4, k2=2)(query, gallery)
    np.testing.assert_allclose(ours, dense_k_reciprocal(query, gallery, 4, 2, 0.3, "cosine"), atol=2e-6)
    assert np.isfinite(KReciprocal()(np.ones((2, 3)), np.ones((4, 3)))).all()


def test_separated_people_are_nearer_after_reranking():
    """Two tight groups: inside one the Jaccard distance falls to near 0, across it is 1."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(2, 8), 10, axis=0) + 0.01 * rng.normal(size=(20, 8))
    distances = KReciprocal(k1=8, k2=3, weight=0.0)(groups[[0, 10]], groups[np.r_[1:10, 11:20]])
    same = np.array([[True] * 9 + [False] * 9, [False] * 9 + [True] * 9])
    assert distances[~same].min() == 1.0 and distances[same].max() < 0.7


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_average_query_expansion_equals_explicit_loops(metric):
    rng = np.random.default_rng(4)
    query, gallery = rng.normal(size=(7, 5)), rng.normal(size=(12, 5))
    excluded = rng.random((7, 12)) < 0.3
    excluded[2] = True
    if metric == "cosine":
        unit_q, unit_g = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (query, gallery))
    else:
        unit_q, unit_g = query, gallery
    ours = AverageQueryExpansion(n=3, metric=metric)(query, gallery, excluded=excluded)
    for i in range(7):
        order = sorted((((unit_q[i] - g) ** 2).sum(), j) for j, g in enumerate(unit_g) if not excluded[i, j])
        new = np.mean([unit_q[i], *(unit_g[j] for _, j in order[:3])], axis=0)
        for j in range(12):
            if metric == "cosine":
                expected = 1 - new @ unit_g[j] / np.linalg.norm(new)
            else:
                expected = np.linalg.norm(new - unit_g[j])
            assert ours[i, j] == pytest.approx(expected, abs=1e-6)


def test_the_registry_and_its_labels():
    assert (
        get_reranker("k-reciprocal", k1=30).label
        == "k-reciprocal (k1=30, k2=6, weight=0.3; query- and gallery-transductive)"
    )
    assert (
        get_reranker("average-query-expansion").label == "average-query-expansion (n=5; gallery-transductive)"
    )
    with pytest.raises(UsageError, match="did you mean k-reciprocal"):
        get_reranker("k-reciprocals")
    with pytest.raises(UsageError, match="no setting k3"):
        get_reranker("k-reciprocal", k3=1)


@pytest.mark.parametrize("settings_", [{"k1": 0}, {"k2": 0}, {"weight": 1.5}])
def test_parameters_out_of_range(settings_):
    with pytest.raises(UsageError, match=r"k1 >= 1|weight in"):
        KReciprocal(**settings_)


def test_bad_input():
    with pytest.raises(UsageError, match="n >= 1"):
        AverageQueryExpansion(n=0)
    with pytest.raises(DataError, match="0 and 3"):
        KReciprocal()(np.empty((0, 3)), np.eye(3))
    with pytest.raises(DataError, match="3 dimensions and the gallery 4"):
        KReciprocal()(np.eye(3), np.eye(4))


@pytest.mark.parametrize("count", range(2, 30, 3))
def test_equal_vectors_are_at_distance_zero_and_never_below(count):
    ones = np.ones((count, 5))
    for name in ("k-reciprocal", "query-reciprocal"):
        distances = get_reranker(name)(ones[:1], ones[1:])
        assert ((distances >= 0) & (distances <= 1)).all()
        assert (get_reranker(name)(ones, ones) >= 0).all()
