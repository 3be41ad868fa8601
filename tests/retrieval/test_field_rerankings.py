"""AIM, query-reciprocal and MSER against their definitions, written again with loops and sets, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.errors import DataError, UsageError
from ivreid.retrieval import (
    RERANKERS,
    AffinityInference,
    MultiSpectral,
    QueryReciprocal,
    get_reranker,
    parse_reranker,
)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def people(rng, *sizes, dimensions=5):
    centres = rng.normal(size=(4, dimensions))
    return [centres[rng.integers(0, 4, n)] + 0.4 * rng.normal(size=(n, dimensions)) for n in sizes]


def looped_affinity(query, gallery, k1, k2):
    """Row by row, with Python lists."""
    query, gallery = unit(query), unit(gallery)

    def kept(likeness, first):
        order = sorted(range(len(likeness)), key=lambda j: (j != first, -likeness[j], j))
        return order, [likeness[j] if j in order[:k1] else 0.0 for j in range(len(likeness))]

    near, rows = zip(*(kept([float(a @ b) for b in gallery], i) for i, a in enumerate(gallery)), strict=True)
    means = [np.mean([rows[j] for j in near[g][:k2]], axis=0) for g in range(len(gallery))]
    out = np.zeros((len(query), len(gallery)))
    for i, q in enumerate(query):
        own = np.array(kept([float(q @ g) for g in gallery], None)[1])
        for g, mean in enumerate(means):
            lengths = np.sqrt(own @ own) * np.sqrt(mean @ mean)
            out[i, g] = -(own @ mean) / (lengths or 1.0) - q @ gallery[g]
    return out


def looped_codes(points, allowed, k1, k2, overlap):
    """Encodings of all points whose neighbours may only be among the first `allowed` of them."""
    n = len(points)
    d = np.array([[((a - b) ** 2).sum() for b in points] for a in points])
    others = [sorted((j for j in range(allowed) if j != i), key=lambda j: (d[i, j], j)) for i in range(n)]
    scaled = d / np.array([row.max() or 1.0 for row in d])[:, None]

    def near(i, k):
        return {i, *others[i][:k]}

    def reciprocal(i, k):
        return {j for j in near(i, k) if i in near(j, k)}

    single = np.zeros((n, n))
    most = min(k1, allowed - 1)
    for i in range(allowed):
        base = reciprocal(i, most)
        full = set(base)
        for j in base if overlap else ():
            extra = reciprocal(j, round(most / 2))
            if 3 * len(base & extra) >= 2 * len(extra):
                full |= extra
        for j in full:
            single[i, j] = np.exp(-scaled[i, j])
        single[i] /= single[i].sum()
    lists = [[i, *others[i]][:k2] if i < allowed else others[i][:k2] for i in range(n)]
    return np.array([np.mean([single[j] for j in members], axis=0) for members in lists]), scaled


def looped_distances(codes, scaled, queries, weight):
    n = len(codes)
    out = np.zeros((queries, n - queries))
    for i in range(queries):
        for g in range(queries, n):
            jaccard = 1 - np.minimum(codes[i], codes[g]).sum() / np.maximum(codes[i], codes[g]).sum()
            out[i, g - queries] = (1 - weight) * jaccard + weight * scaled[i, g]
    return out


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    k1=st.integers(1, 12),
    k2=st.integers(1, 6),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 16)),
)
def test_affinity_inference_equals_loops(seed, k1, k2, sizes):
    query, gallery = people(np.random.default_rng(seed), *sizes)
    ours = AffinityInference(k1, k2)(query, gallery)
    assert ours.shape == sizes and ours.dtype == np.float32
    np.testing.assert_allclose(ours, looped_affinity(query, gallery, k1, k2), atol=3e-6)


def test_affinity_inference_by_hand():
    """Of three gallery images at 0, 60 and 90 degrees, and a query at 0, the rows keep two entries each."""
    angles = np.radians([0.0, 60.0, 90.0])
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    c60, c30 = 0.5, np.cos(np.radians(30))
    rows = np.array([[1, c60, 0], [0, 1, c30], [0, c30, 1]])  # nearest of 60 is 90, of 90 is 60, of 0 is 60
    query = np.array([1, c60, 0])
    cosines = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    expected = -cosines - np.array([1, c60, 0])
    np.testing.assert_allclose(AffinityInference(2, 1)(gallery[:1], gallery)[0], expected, atol=1e-6)
    means = np.array([(rows[0] + rows[1]) / 2, (rows[1] + rows[2]) / 2, (rows[2] + rows[1]) / 2])
    cosines = means @ query / np.linalg.norm(means, axis=1) / np.linalg.norm(query)
    expected = -cosines - np.array([1, c60, 0])
    np.testing.assert_allclose(AffinityInference(2, 2)(gallery[:1], gallery)[0], expected, atol=1e-6)


def test_affinity_of_images_at_right_angles_and_of_equal_images_is_a_number():
    ours = AffinityInference(1, 1)(np.eye(4)[:1], np.eye(4)[1:])
    assert ours.tolist() == [[0, 0, 0]]
    same = AffinityInference(3, 2)(np.ones((2, 3)), np.ones((5, 3)))
    np.testing.assert_allclose(same, looped_affinity(np.ones((2, 3)), np.ones((5, 3)), 3, 2), atol=1e-6)


def test_affinity_in_several_blocks(monkeypatch):
    query, gallery = people(np.random.default_rng(3), 20, 30)
    whole = AffinityInference(6, 3)(query, gallery)
    monkeypatch.setattr("ivreid.retrieval.affinity._ROWS", 7)
    np.testing.assert_allclose(AffinityInference(6, 3)(query, gallery), whole, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    k1=st.integers(1, 8),
    k2=st.integers(1, 6),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
    sizes=st.tuples(st.integers(1, 14), st.integers(1, 9)),
    metric=st.sampled_from(["cosine", "euclidean"]),
)
def test_query_reciprocal_equals_loops(seed, k1, k2, weight, sizes, metric):
    query, gallery = people(np.random.default_rng(seed), *sizes)
    ours = QueryReciprocal(k1, k2, weight, metric)(query, gallery)
    points = np.concatenate([query, gallery])
    points = unit(points) if metric == "cosine" else points
    codes = looped_codes(points, sizes[0], k1, k2, overlap=True)
    assert ours.shape == sizes and ours.dtype == np.float32
    np.testing.assert_allclose(ours, looped_distances(*codes, sizes[0], weight), atol=2e-6)


def test_query_reciprocal_by_hand():
    """Two people far apart, two queries and one gallery image each: the gallery image's code is its queries' mean."""
    query = np.array([[0.0, 0], [0.1, 0], [9, 0], [9.1, 0]])
    gallery = np.array([[0.05, 0], [9.05, 0]])
    ours = QueryReciprocal(k1=1, k2=2, weight=0.0, metric="euclidean")(query, gallery)
    np.testing.assert_allclose(ours, [[0, 1], [0, 1], [1, 0], [1, 0]], atol=1e-6)


def test_query_reciprocal_lives_on_further_queries_of_the_person():
    """Many queries of each person make hard cases easy; the gallery's other images are looked at by none of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 16))
    pids = np.repeat(np.arange(12), 12)
    query = centres[pids] + 0.8 * rng.normal(size=(len(pids), 16))
    gallery = centres + 1.0 * rng.normal(size=centres.shape)
    plain = np.linalg.norm(unit(query)[:, None] - unit(gallery), axis=2).argmin(1)
    again = QueryReciprocal(k1=12, k2=6)(query, gallery).argmin(1)
    assert (again == pids).mean() > (plain == pids).mean() + 0.05
    one, other = (QueryReciprocal(12, 6, 0.0)(query, g)[:, :3] for g in (gallery, gallery[:3]))
    assert np.abs(one - other).max() < 0.2  # only the scale of distances knows of the rest


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("asking", [1, 4], ids=["one", "four"])
@pytest.mark.parametrize("asked", [1, 4], ids=["one", "four"])
def test_mser_equals_loops_over_copies(pooled, asking, asked):
    rng = np.random.default_rng(7)
    query, gallery = people(rng, 6, 8)
    sides = []
    for side, copies in ((query, asking), (gallery, asked)):
        sides.append([unit(side + 0.3 * rng.normal(size=side.shape)) for _ in range(copies)])
    rows = [np.concatenate(copies * (4 // len(copies)), axis=1) / 2 for copies in sides]
    ours = MultiSpectral(k1=5, k2=3, weight=0.3, pooled=pooled)(*rows)
    points = np.concatenate([*sides[0], *sides[1]])
    queries = asking * 6
    codes, scaled = looped_codes(points, len(points) if pooled else queries, 5, 3, overlap=False)
    whole = looped_distances(codes, scaled, queries, 0.3)
    expected = whole.reshape(asking, 6, asked, 8).mean(axis=(0, 2))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_mser_refuses_plain_features():
    plain = np.random.default_rng(0).normal(size=(3, 8))
    for vectors in (plain, plain[:, :6]):
        with pytest.raises(DataError, match=r"four embeddings .* --rerank mser"):
            MultiSpectral()(vectors, vectors)


@pytest.mark.parametrize("kind", RERANKERS.values())
def test_every_reranking_says_what_it_saw(kind):
    one = kind()
    assert one.label.startswith(f"{kind.name} (") and one.label.endswith("-transductive)") and one.note
    for key in kind.parameters():
        assert f"{key}=" in one.label


def test_the_labels():
    seen = {name: get_reranker(name).looked_at for name in RERANKERS}
    assert seen == {
        "k-reciprocal": "query- and gallery-transductive",
        "average-query-expansion": "gallery-transductive",
        "aim": "gallery-transductive",
        "query-reciprocal": "query-transductive",
        "mser": "query-transductive",
    }
    pooled = MultiSpectral(50, 10, 0.2, pooled=True)
    assert pooled.label == "mser (k1=50, k2=10, weight=0.2, pooled=true; query- and gallery-transductive)"


@pytest.mark.parametrize("kind", RERANKERS.values())
def test_empty_sides_and_unequal_lengths(kind):
    make = (lambda n, d: np.ones((n, 4 * d)) / 2) if kind.spectra else (lambda n, d: np.ones((n, d)))
    with pytest.raises(DataError):
        kind()(make(2, 3), make(0, 3))
    with pytest.raises(DataError):
        kind()(make(2, 3), make(2, 4))


def test_words_become_settings():
    assert parse_reranker("aim") == AffinityInference()
    assert parse_reranker("aim:k1=20, k2=6") == AffinityInference(20, 6)
    assert parse_reranker("query-reciprocal:weight=0.5", "euclidean") == QueryReciprocal(
        weight=0.5, metric="euclidean"
    )
    assert parse_reranker("mser:pooled=true,k1=50") == MultiSpectral(k1=50, pooled=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("amm", "no re-ranking 'amm'; did you mean aim"),
        ("aim:k=4", "no setting k; did you mean k"),
        ("aim:weight=1", "no setting weight; known: k1, k2"),
        ("aim:k1", "KEY=VALUE"),
        ("aim:", "KEY=VALUE"),
        ("aim:k1=4,,k2=1", "KEY=VALUE"),
        ("aim:k1=4,k1=5", "k1 is there twice"),
        ("aim:k1=four", "k1 = four; it is a whole number"),
        ("aim:k1=4.0", "k1 = 4.0; it is a whole number"),
        ("aim:k1=0", "k1 >= 1, k2 >= 1; got k1=0, k2=1"),
        ("aim:metric=cosine", "KEY=VALUE"),
        ("k-reciprocal:weight=1.5", r"weight in \[0, 1\]; got weight=1.5"),
        ("k-reciprocal:weight=nan", "weight = nan; it is a number"),
        ("mser:pooled=1", "pooled = 1; it is true or false"),
    ],
)
def test_wrong_words_are_named(words, said):
    with pytest.raises(UsageError, match=said):
        parse_reranker(words)


def test_affinity_is_of_cosines():
    with pytest.raises(UsageError, match="use metric cosine, not euclidean"):
        parse_reranker("aim", "euclidean")
