"""Results in which equal distances decide say so and by how much; collapsed embeddings are named."""

import numpy as np
import pytest
from slow_evaluation import people

from ivreid.protocols import FIGURES, Result, evaluate, make_protocol, run_trials
from ivreid.protocols import trials as trials_file
from ivreid.types import Embeddings, ImageTable


def with_vectors(embeddings, vectors):
    return Embeddings(vectors, embeddings.images)


@pytest.fixture(scope="module")
def sysu():
    return people(np.random.default_rng(0), range(1, 7), (3, 6), identities=12)


def told(result, beginning):
    return [note for note in result.notes if note.startswith(beginning)]


def test_all_equal_scores_by_the_order_of_pids_and_the_result_says_what_chance_is():
    # ten people, three images each on both sides: the last match of pid p stands at 3 p, so mINP is the mean of 1 / p
    pids = np.repeat(np.arange(1, 11), 6)
    infrared = np.tile([False, True], 30)
    images = ImageTable(pids, 1 + infrared, np.tile([1, 1, 2, 2, 3, 3], 10), infrared)
    result = evaluate(Embeddings(np.ones((60, 4)), images), make_protocol("regdb", trial=1))
    assert result.mean["mINP"] == pytest.approx(np.mean(1 / np.arange(1, 11)))
    block = result.extra["ties"]
    assert block["queries"] == [30]
    places = np.arange(3, 31)  # of the last of three among thirty
    chance = np.array([(j - 1) * (j - 2) / 2 for j in places]) / (30 * 29 * 28 / 6)
    assert block["expected"]["mINP"] == pytest.approx(3 * (chance / places).sum(), rel=1e-12)
    assert block["expected"]["rank1"] == pytest.approx(0.1, rel=1e-12)
    (note,) = told(result, "equal distances decide")
    assert note.startswith("equal distances decide 30 of 30 queries: tied images stand in gallery order")
    expected, here = (100 * f["mINP"] for f in (block["expected"], result.mean))
    assert f"mINP {expected:.2f} (here {here:.2f})" in note
    assert len(told(result, "COLLAPSED: 30 of 30")) == 2
    assert Result.from_json(result.to_json()) == result


def test_codes_of_few_values_agree_by_every_way_of_ranking(sysu, monkeypatch):
    codes = with_vectors(sysu, np.random.default_rng(1).integers(0, 2, (len(sysu), 4)))
    protocol = make_protocol("sysu-mm01")
    plain = evaluate(codes, protocol, metric="euclidean")
    assert min(plain.extra["ties"]["queries"]) > 0
    assert not told(plain, "COLLAPSED")

    def squared(query, gallery):
        return ((query[:, None] - gallery) ** 2).sum(axis=2)

    given = evaluate(codes, protocol, distance=squared, rerank="squares")
    assert given.extra["ties"]["queries"] == plain.extra["ties"]["queries"]
    assert given.extra["ties"]["expected"] == pytest.approx(plain.extra["ties"]["expected"], abs=1e-13)
    monkeypatch.setattr(trials_file, "_NARROW", 1)
    monkeypatch.setattr(trials_file, "_WIDE", 1)
    monkeypatch.setattr(trials_file, "_LEAST_QUERIES", 17)
    for one, other in zip(
        run_trials(codes, protocol, metric="euclidean"),
        run_trials(codes, protocol, distance=squared),
        strict=True,
    ):
        np.testing.assert_array_equal(one.ties.rows, np.flatnonzero(other.outcomes.tied))
        np.testing.assert_allclose(one.ties.identity, other.ties.identity, atol=1e-13)


def test_without_ties_nothing_is_said(sysu):
    result = evaluate(sysu, make_protocol("sysu-mm01"))
    assert "ties" not in result.extra and not told(result, "equal distances")


def test_ties_too_few_to_see_are_counted_and_not_told(monkeypatch):
    rng = np.random.default_rng(3)
    embeddings = people(rng, (1, 2), (2,), identities=8)
    vectors = embeddings.vectors.copy()
    visible = np.flatnonzero(~embeddings.images.infrared)
    pids = embeddings.images.pids
    other = next(row for row in visible if pids[row] != pids[visible[0]])
    vectors[other] = vectors[visible[0]]
    result = evaluate(with_vectors(embeddings, vectors), make_protocol("regdb"))
    assert result.extra["ties"]["queries"][0] > 0 and told(result, "equal distances decide")
    monkeypatch.setattr("ivreid.protocols.tie_notes._SHOWN", 1.0)
    quiet = evaluate(with_vectors(embeddings, vectors), make_protocol("regdb"))
    assert quiet.extra == result.extra and not told(quiet, "equal distances")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_vectors_equal_but_for_rounding_have_collapsed(sysu, metric):
    rng, side = np.random.default_rng(4), sysu.images.infrared
    point = rng.normal(size=6)
    near = point * (1 + 1e-7 * rng.normal(size=(len(sysu), 6)))
    result = evaluate(with_vectors(sysu, near), make_protocol("sysu-mm01"), metric=metric)
    assert told(result, f"COLLAPSED: {side.sum()} of {side.sum()} infrared embeddings are one vector")
    assert told(result, f"COLLAPSED: {(~side).sum()} of {(~side).sum()} visible embeddings")
    one = np.where(side[:, None], near, rng.normal(size=near.shape))
    (note,) = told(evaluate(with_vectors(sysu, one), make_protocol("sysu-mm01"), metric=metric), "COLLAPSED")
    assert "infrared" in note


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("spread", [1e-7, 1e-5, 2e-4])
def test_half_precision_rounds_equal_vectors_apart(sysu, metric, spread):
    rng = np.random.default_rng(4)
    below = rng.normal(size=256).astype(np.float16)
    between = below.astype(float) + np.spacing(below).astype(float) / 2  # the worst case
    near = between * (1 + spread * rng.normal(size=(len(sysu), 256)))
    half = near.astype(np.float16).astype(np.float32)
    assert len(np.unique(half, axis=0)) > 1
    result = evaluate(with_vectors(sysu, half), make_protocol("sysu-mm01"), metric=metric)
    assert len(told(result, "COLLAPSED")) == 2
    exact = evaluate(with_vectors(sysu, near.astype(np.float32)), make_protocol("sysu-mm01"), metric=metric)
    assert len(told(exact, "COLLAPSED")) == (2 if spread == 1e-7 else 0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_half_precision_alone_is_no_collapse(sysu, metric):
    rng = np.random.default_rng(8)
    near = (rng.normal(size=256) * (1 + 0.01 * rng.normal(size=(len(sysu), 256)))).astype(np.float16)
    result = evaluate(with_vectors(sysu, near.astype(np.float32)), make_protocol("sysu-mm01"), metric=metric)
    assert not told(result, "COLLAPSED")


def test_lengths_matter_to_euclid_alone(sysu):
    scaled = np.ones((len(sysu), 6)) * np.arange(1, len(sysu) + 1)[:, None]
    ran = {
        metric: told(
            evaluate(with_vectors(sysu, scaled), make_protocol("sysu-mm01"), metric=metric), "COLLAPSED"
        )
        for metric in ("cosine", "euclidean")
    }
    assert len(ran["cosine"]) == 2 and not ran["euclidean"]


def test_most_is_more_than_half(sysu):
    rng = np.random.default_rng(5)
    rows = np.flatnonzero(sysu.images.infrared)
    for share, collapsed in ((0.45, 0), (0.6, 1)):
        vectors = rng.normal(size=(len(sysu), 6))
        vectors[rows[: round(share * len(rows))]] = 1
        result = evaluate(with_vectors(sysu, vectors), make_protocol("sysu-mm01"))
        assert len(told(result, "COLLAPSED")) == collapsed
    nothing = evaluate(with_vectors(sysu, np.zeros((len(sysu), 6))), make_protocol("sysu-mm01"))
    assert len(told(nothing, "COLLAPSED")) == 2


def test_exactly_half_and_a_single_image_have_not_collapsed():
    rng = np.random.default_rng(6)
    infrared = np.arange(20) < 10
    images = ImageTable(np.arange(20) % 10, np.zeros(20), np.arange(1, 21), infrared)
    for equal, collapsed in ((5, False), (6, True)):
        vectors = rng.normal(size=(20, 4))
        vectors[:equal] = 1
        result = evaluate(Embeddings(vectors, images), make_protocol("cross-modality"))
        assert bool(told(result, f"COLLAPSED: {equal} of 10 infrared")) is collapsed
    alone = evaluate(Embeddings(vectors[[0, 10]], images.take([0, 10])), make_protocol("cross-modality"))
    assert not told(alone, "COLLAPSED")


def test_every_figure_has_its_expectation(sysu):
    result = evaluate(with_vectors(sysu, np.ones((len(sysu), 2))), make_protocol("sysu-mm01"))
    assert list(result.extra["ties"]["expected"]) == list(FIGURES)
