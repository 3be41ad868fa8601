"""One place turns vectors into distances: its three ways agree, and nobody else does it."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ivreid
from ivreid.errors import DataError, UsageError
from ivreid.metrics.distances import (
    METRICS,
    Distances,
    GalleryProducts,
    PreparedVectors,
    pairwise,
    product_on_cpu,
    to_distance,
    unit,
)


def by_loops(query, gallery, metric):
    found = np.empty((len(query), len(gallery)))
    for i, q in enumerate(query.astype(float)):
        for j, g in enumerate(gallery.astype(float)):
            lengths = np.sqrt((q @ q) * (g @ g))
            found[i, j] = 1 - q @ g / (lengths or 1) if metric == "cosine" else np.sqrt(((q - g) ** 2).sum())
    return found


@settings(max_examples=40, deadline=None, database=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(METRICS))
def test_the_ways_agree(seed, metric):
    rng = np.random.default_rng(seed)
    queries, images, width = rng.integers(1, 12, 3)
    vectors = rng.normal(size=(queries + images, width)).astype(np.float32)
    vectors[rng.integers(0, len(vectors))] = vectors[-1]
    query, gallery = np.arange(queries), np.arange(queries, queries + images)
    expected = by_loops(vectors[query], vectors[gallery], metric)
    found = pairwise(vectors[query], vectors[gallery], metric)
    np.testing.assert_allclose(found, expected, atol=1e-7)  # the root of a rounding error of 1e-15
    space, other = PreparedVectors.of(vectors[query], metric), PreparedVectors.of(vectors[gallery], metric)
    for i in query:
        exact = to_distance(space.squared(int(i), other, np.arange(images)), space.metric)
        np.testing.assert_allclose(exact, expected[i], atol=1e-12)
    products = GalleryProducts(vectors, gallery, metric, np.float64, product_on_cpu)
    keys = products.distances(query)[products.places(gallery)].T
    # what a query's list has in common: the rest of the formula brings the distance back
    own = (vectors[query].astype(float) ** 2).sum(axis=1, keepdims=True)
    back = 1 + keys / np.sqrt(own) if metric == "cosine" else keys + own
    np.testing.assert_allclose(back, expected if metric == "cosine" else expected**2, atol=1e-12)


def test_a_zero_vector_is_refused_or_equally_far_from_all():
    vectors = np.array([[0, 0], [3, 4]], dtype=np.float32)
    with pytest.raises(DataError, match="vector 0 is zero: it has no direction"):
        pairwise(vectors, vectors)
    assert pairwise(vectors, vectors, allow_zero=True).tolist() == [[1, 1], [1, 0]]
    assert pairwise(vectors, vectors, "euclidean").tolist() == [[0, 5], [5, 0]]
    np.testing.assert_allclose(unit(vectors), [[0, 0], [0.6, 0.8]], rtol=1e-15)
    products = GalleryProducts(vectors, np.arange(2), "cosine", np.float64, product_on_cpu)
    assert products.distances(np.array([1]))[products.places(np.array([0]))] == 0


def test_unknown_metrics_have_one_message():
    vectors = np.ones((2, 2), np.float32)
    for call in (
        lambda: Distances(vectors, "l2"),
        lambda: PreparedVectors.of(vectors, "l2"),
        lambda: GalleryProducts(vectors, np.arange(2), "l2", np.float64, product_on_cpu),
    ):
        with pytest.raises(UsageError, match="unknown metric 'l2'; known metrics: cosine, euclidean"):
            call()


ELSEWHERE = {
    "retrieval/nearest.py": "single precision proposes; PreparedVectors decides",
    "retrieval/kreciprocal.py": "products of neighbour sets",
    "report/geometry.py": "principal components",
}


def test_no_other_file_multiplies_vectors_with_vectors():
    """`a @ b.T` among those who score: distances of their own would differ in rounding, zeros and ties."""
    root = Path(ivreid.__file__).parent
    found = set()
    for room in ("protocols", "analysis", "evaluation", "report", "retrieval"):
        for path in (root / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
                if product and isinstance(node.right, ast.Attribute) and node.right.attr == "T":
                    found.add(path.relative_to(root).as_posix())
    assert found == set(ELSEWHERE)
