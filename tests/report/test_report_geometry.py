"""The embedding map and the distance histograms, against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import embeddings, samples

from ivreid.report.geometry import pair_distances, principal_plane, spread_sample
from ivreid.types import Embeddings, ImageTable


def test_the_plane_is_spanned_by_the_leading_eigenvectors_of_the_covariance():
    vectors = np.random.default_rng(0).normal(size=(60, 7)).astype(np.float32) * np.arange(
        1, 8, dtype=np.float32
    )
    plane = principal_plane(vectors)
    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    x = x - x.mean(axis=0)
    values, axes = np.linalg.eigh(x.T @ x)
    for column in (0, 1):
        expected = x @ axes[:, -1 - column]
        np.testing.assert_allclose(np.abs(plane.places[:, column]), np.abs(expected), atol=1e-6)
        assert plane.shares[column] == pytest.approx(values[-1 - column] / values.sum(), abs=1e-6)


def test_the_map_does_not_flip():
    vectors = embeddings(samples(4, 2)).vectors
    peaks = principal_plane(vectors).places
    for column in (0, 1):
        assert peaks[np.abs(peaks[:, column]).argmax(), column] > 0


@pytest.mark.parametrize("shape", [(4, 1), (1, 5), (3, 2)])
def test_a_plane_exists_for_tiny_input(shape):
    plane = principal_plane(np.arange(1, 1 + shape[0] * shape[1], dtype=np.float32).reshape(shape))
    assert plane.places.shape == (shape[0], 2)
    assert np.isfinite(plane.places).all()


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=40), st.integers(1, 30))
def test_the_sample_is_even_over_people_and_modalities(rows, most):
    pids, infrared = (np.array(column) for column in zip(*rows, strict=True))
    table = ImageTable(pids, np.ones(len(rows)), np.arange(1, len(rows) + 1), infrared)
    chosen = spread_sample(table, most)
    assert len(set(chosen)) == len(chosen) == min(most, len(rows))
    counts = {key: [rows[i] for i in chosen].count(key) for key in rows}
    for key, count in counts.items():
        if count < rows.count(key):  # whoever has images left may lag the richest by one at most
            assert max(counts.values()) <= count + 1


def test_pair_distances_equal_a_loop_over_pairs():
    both = embeddings(samples(4, 1), noise=1.5)
    expected = {(c, s): [] for c in (True, False) for s in (True, False)}
    for i in range(len(both)):
        for j in range(i):
            a, b = both.vectors[i].astype(float), both.vectors[j].astype(float)
            crossing = both.images.infrared[i] != both.images.infrared[j]
            same = both.images.pids[i] == both.images.pids[j]
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            expected[bool(crossing), bool(same)].append(1 - cosine)
    for crossing, pairs in zip((True, False), pair_distances(both), strict=True):
        np.testing.assert_allclose(np.sort(pairs.same), np.sort(expected[crossing, True]), atol=1e-9)
        np.testing.assert_allclose(np.sort(pairs.different), np.sort(expected[crossing, False]), atol=1e-9)
        wins = [s < d for s in expected[crossing, True] for d in expected[crossing, False]]
        assert pairs.auc == pytest.approx(np.mean(wins))


def test_a_single_modality_has_no_pairs_across():
    both = embeddings(samples(3, 2))
    across, within = pair_distances(both.take(both.images.infrared))
    assert len(across.same) == len(across.different) == 0
    assert len(within.same) > 0


def test_embeddings_of_length_zero_are_no_trouble():
    table = ImageTable(np.array([1, 1, 2]), np.ones(3), np.arange(1, 4), np.array([False, True, True]))
    across, _ = pair_distances(Embeddings(np.zeros((3, 4)), table))
    assert across.same.tolist() == [1.0]


def test_two_unknown_people_make_no_pair():
    rng = np.random.default_rng(0)
    images = ImageTable([-1, -1, 4, 4], [1, 2, 1, 2], [1, 1, 1, 1], [False, True, False, True])
    across, within = pair_distances(Embeddings(rng.normal(size=(4, 3)), images))
    assert (len(across.same), len(across.different)) == (1, 2)  # 4 with 4; each of the unknown with 4
    assert (len(within.same), len(within.different)) == (0, 2)
