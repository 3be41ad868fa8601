"""What must not move a figure, and what a figure must obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_evaluation import people, shuffled

from ivreid.errors import DataError, UsageError
from ivreid.metrics.distances import distinct, product_on_cpu
from ivreid.protocols import evaluate, make_protocol, run_trials
from ivreid.protocols import trials as trials_file
from ivreid.types import Embeddings, ImageTable

SEED = st.integers(0, 2**32 - 1)
NAMES = ("sysu-mm01", "regdb", "llcm", "cross-modality")


def example(rng, name, **options):
    cameras, infrared = {"sysu-mm01": (range(1, 7), (3, 6)), "regdb": ((1, 2), (2,))}.get(
        name, (range(1, 5), (2, 4))
    )
    return people(rng, cameras, infrared, **options)


def with_table(embeddings, **columns):
    images = embeddings.images
    kept = {name: getattr(images, name) for name in ("pids", "camids", "frames", "infrared")}
    return Embeddings(embeddings.vectors, ImageTable(**{**kept, **columns}))


@settings(max_examples=25, deadline=None, database=None)
@given(SEED, st.sampled_from(NAMES), st.sampled_from([None, 3]))
def test_order_of_files_names_and_id_types_change_nothing(seed, name, levels):
    rng = np.random.default_rng(seed)
    embeddings = example(rng, name, levels=levels)
    protocol = make_protocol(name)
    result = evaluate(embeddings, protocol)
    assert evaluate(shuffled(rng, embeddings), protocol) == result  # bitwise, fingerprint included
    # draws go by ascending identity: any renaming that keeps the order is the same evaluation
    renamed = with_table(embeddings, pids=embeddings.images.pids.astype(np.uint16) * 7 + 3)
    assert evaluate(renamed, protocol).trials == result.trials
    assert evaluate(renamed, protocol).fingerprints != result.fingerprints


@settings(max_examples=25, deadline=None, database=None)
@given(SEED, st.sampled_from(["regdb", "cross-modality"]))
def test_any_renaming_is_the_same_evaluation_where_nothing_is_drawn(seed, name):
    rng = np.random.default_rng(seed)
    embeddings = example(rng, name)
    renamed = with_table(embeddings, pids=rng.permutation(100)[embeddings.images.pids])
    one, other = (evaluate(e, make_protocol(name)) for e in (embeddings, renamed))
    assert other.trials[0].cmc == pytest.approx(one.trials[0].cmc, abs=1e-12)
    assert other.mean == pytest.approx(one.mean, abs=1e-12)


@settings(max_examples=25, deadline=None, database=None)
@given(SEED, st.sampled_from(NAMES), st.sampled_from(["cosine", "euclidean"]))
def test_a_perfect_embedding_scores_one_and_no_curve_falls(seed, name, metric):
    rng = np.random.default_rng(seed)
    embeddings = example(rng, name)
    perfect = Embeddings(np.eye(64, dtype=np.float32)[embeddings.images.pids], embeddings.images)
    assert set(evaluate(perfect, make_protocol(name), metric=metric).mean.values()) == {1.0}
    for trial in evaluate(embeddings, make_protocol(name), metric=metric).trials:
        assert (np.diff(trial.cmc) >= 0).all()
        assert trial.rank1 == trial.cmc[0]
        assert trial.rank20 == trial.cmc[19]


def test_rank_one_is_the_same_under_both_cmc_rules():
    embeddings = example(np.random.default_rng(4), "sysu-mm01", width=2)
    image, identity = (
        evaluate(embeddings, make_protocol("sysu-mm01", cmc=rule)) for rule in ("image", "identity")
    )
    assert image.mean["rank1"] == identity.mean["rank1"]
    assert image.mean["rank5"] < identity.mean["rank5"]
    assert image.mean["mAP"] == identity.mean["mAP"]


def test_images_the_camera_rule_excludes_change_nothing():
    embeddings = example(np.random.default_rng(6), "sysu-mm01")
    # camera-3 queries never see camera 2, and this draw takes camera 1 before camera 2
    both = embeddings.take(np.isin(embeddings.images.camids, (1, 2, 3)))
    without = both.take(both.images.camids != 2)
    indoor = make_protocol("sysu-mm01", draw="iv-reid", mode="indoor")
    one, other = evaluate(both, indoor), evaluate(without, indoor)
    assert one.gallery > other.gallery
    assert one.trials == other.trials


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("levels", [None, 2])
def test_blocks_change_nothing(name, levels, monkeypatch):
    embeddings = example(np.random.default_rng(7), name, levels=levels, width=37)
    # distances of whole numbers are exact, so that ties between different vectors are, whatever the product
    metric = "euclidean" if levels else "cosine"
    expected = evaluate(embeddings, make_protocol(name), metric=metric)
    for wide, least, narrow in ((1, 3, 1), (1, 17, 1 << 20)):
        monkeypatch.setattr(trials_file, "_WIDE", wide)
        monkeypatch.setattr(trials_file, "_LEAST_QUERIES", least)
        monkeypatch.setattr(trials_file, "_NARROW", narrow)
        result = evaluate(embeddings, make_protocol(name), metric=metric)
        assert result.mean == pytest.approx(expected.mean, abs=1e-12)


def test_equal_vectors_have_equal_distances_in_any_block():
    # two people with one and the same vector: the smaller pid always comes first, so 2 never wins
    vectors = np.repeat(np.random.default_rng(0).normal(size=(1, 333)), 400, axis=0)
    pids = np.arange(400) % 2 + 1
    infrared = np.arange(400) >= 200
    images = ImageTable(pids, np.where(infrared, 2, 1), np.arange(400) // 2 % 100 + 1, infrared)
    result = evaluate(Embeddings(vectors, images), make_protocol("regdb"), precision="single")
    assert result.mean["rank1"] == 0.5
    assert result.mean["mINP"] == pytest.approx((1 + 100 / 200) / 2)


@settings(max_examples=50, deadline=None, database=None)
@given(SEED, st.integers(1, 40), st.integers(1, 3))
def test_distinct_finds_each_vector_once(seed, number, width):
    # permuted and shifted values collide in a sum; only equal rows may be joined
    vectors = np.random.default_rng(seed).integers(0, 3, (number, width)).astype(np.float32)
    first, place = distinct(vectors)
    np.testing.assert_array_equal(vectors[first][place], vectors)
    assert len(first) == len({row.tobytes() for row in vectors})


def test_a_callable_replaces_the_metric_and_is_named():
    embeddings = example(np.random.default_rng(9), "sysu-mm01")
    seen = []

    def cosine(queries, gallery):
        seen.append((queries.shape, gallery.shape))
        unit = [
            v / np.linalg.norm(v, axis=1, keepdims=True)
            for v in (queries.astype(float), gallery.astype(float))
        ]
        return 1 - unit[0] @ unit[1].T

    plain = evaluate(embeddings, make_protocol("sysu-mm01"))
    other = evaluate(
        embeddings, make_protocol("sysu-mm01"), distance=cosine, rerank="k-reciprocal", tta="flip"
    )
    assert other.mean == pytest.approx(plain.mean, abs=1e-12)
    assert len(seen) == 10
    assert (other.rerank, other.tta, plain.rerank, plain.tta) == ("k-reciprocal", "flip", None, None)
    assert other.title.endswith("RE-RANKED by k-reciprocal, TEST-TIME AUGMENTED by flip")


def test_a_scorer_multiplies_and_progress_counts_every_query():
    embeddings = example(np.random.default_rng(10), "llcm")
    galleries, ticks = [], []

    def product(gallery):
        galleries.append(gallery)
        return product_on_cpu(gallery)

    protocol = make_protocol("llcm", direction="visible-to-infrared-swapped")
    found = run_trials(
        embeddings, protocol, product=product, progress=lambda done, total: ticks.append((done, total))
    )
    total = sum(len(one.trial.query) for one in found)
    assert ticks[-1] == (total, total)
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks)
    assert all(gallery.dtype == np.float64 for gallery in galleries)


def test_products_do_not_depend_on_the_order_of_the_file():
    rng = np.random.default_rng(13)
    embeddings = example(rng, "sysu-mm01")
    galleries = []

    def product(gallery):
        galleries.append(gallery.copy())
        return product_on_cpu(gallery)

    for one in (embeddings, shuffled(rng, embeddings)):
        run_trials(one, make_protocol("sysu-mm01"), product=product)
    np.testing.assert_array_equal(*galleries)


def test_wrong_metric_precision_and_overflow_are_refused():
    embeddings = example(np.random.default_rng(11), "regdb")
    with pytest.raises(UsageError, match="unknown metric 'l1'; known metrics: cosine, euclidean"):
        evaluate(embeddings, make_protocol("regdb"), metric="l1")
    with pytest.raises(UsageError, match="double or single"):
        evaluate(embeddings, make_protocol("regdb"), precision="half")  # type: ignore[arg-type]
    huge = Embeddings(embeddings.vectors * 1e30, embeddings.images)
    with pytest.raises(DataError, match="too large to compare in float32"):
        evaluate(huge, make_protocol("regdb"), metric="euclidean", precision="single")
    with pytest.raises(DataError, match="too large to compare in float32"):
        evaluate(huge, make_protocol("regdb"), precision="single")
    tiny = Embeddings(embeddings.vectors * 1e-30, embeddings.images)
    with pytest.raises(DataError, match="too small to compare in float32"):
        evaluate(tiny, make_protocol("regdb"), precision="single")
    assert evaluate(huge, make_protocol("regdb")).mean == evaluate(embeddings, make_protocol("regdb")).mean


def test_zero_vectors_are_equally_far_from_everyone():
    embeddings = example(np.random.default_rng(12), "regdb")
    nothing = Embeddings(np.zeros_like(embeddings.vectors), embeddings.images)
    order = Embeddings(np.ones_like(embeddings.vectors), embeddings.images)
    assert evaluate(nothing, make_protocol("regdb")).mean == evaluate(order, make_protocol("regdb")).mean
