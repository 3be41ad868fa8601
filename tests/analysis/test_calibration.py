import json

import numpy as np
import pytest

from ivreid.analysis.calibration import fit_threshold
from ivreid.errors import DataError, UsageError
from ivreid.metrics.distances import pairwise
from ivreid.types import Embeddings, ImageTable


def people(count=25, images=6, noise=0.5, seed=0, cameras=((3, True), (1, False)), dimensions=8):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, dimensions))
    rows = [(p, c, f, ir) for p in range(count) for c, ir in cameras for f in range(1, images + 1)]
    pids, camids, frames, infrared = (np.array(column) for column in zip(*rows, strict=True))
    vectors = centres[pids] + noise * rng.normal(size=(len(rows), dimensions))
    return Embeddings(vectors, ImageTable(pids, camids, frames, infrared))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_pairwise_equals_explicit_loops(metric):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 5)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    b[2] = a[1]
    for dtype, tolerance in ((np.float64, 1e-7), (np.float32, 2e-3)):
        found = pairwise(a, b, metric, dtype)
        assert found.dtype == dtype
        for i, x in enumerate(a.astype(float)):
            for j, y in enumerate(b.astype(float)):
                cosine = 1 - x @ y / np.sqrt((x @ x) * (y @ y))
                expected = cosine if metric == "cosine" else np.sqrt(((x - y) ** 2).sum())
                assert found[i, j] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_threshold_keeps_its_rate_on_the_cross_modality_pairs(metric):
    embeddings = people()
    found = fit_threshold(embeddings, fpr=0.05, metric=metric)
    ids = embeddings.images
    same, different = [], []
    for i in np.flatnonzero(ids.infrared):
        for j in np.flatnonzero(~ids.infrared):
            d = pairwise(embeddings.vectors[[i]], embeddings.vectors[[j]], metric)[0, 0]
            (same if ids.pids[i] == ids.pids[j] else different).append(d)
    assert (found.genuine_pairs, found.impostor_pairs) == (len(same), len(different)) == (900, 21600)
    assert found.identities == 25
    t = found.threshold.estimate
    assert sum(d <= t for d in different) <= 0.05 * len(different) < sum(d <= t + 1e-6 for d in different) + 1
    assert found.tpr.estimate == pytest.approx(np.mean(np.array(same) <= t), abs=2 / 900)
    assert found.threshold.low < t < found.threshold.high
    assert found.tpr.low < found.tpr.estimate < found.tpr.high
    assert json.loads(json.dumps(found.to_json()))["threshold"]["estimate"] == t


def test_the_interval_covers_fresh_people():
    """Thresholds fitted on other people of the same kind fall inside about as often as promised."""
    found = fit_threshold(people(30, seed=1, noise=0.7), fpr=0.05)
    inside = sum(
        found.threshold.low
        <= fit_threshold(people(30, seed=s, noise=0.7), fpr=0.05).threshold.estimate
        <= found.threshold.high
        for s in range(2, 14)
    )
    assert inside >= 7


def test_a_camera_rule_drops_pairs():
    from ivreid.protocols import make_protocol

    embeddings = people(cameras=((3, True), (1, False), (2, False)))
    every = fit_threshold(embeddings, fpr=0.05)
    ruled = fit_threshold(embeddings, fpr=0.05, protocol=make_protocol("sysu-mm01"))
    assert ruled.genuine_pairs == every.genuine_pairs / 2 and ruled.impostor_pairs == every.impostor_pairs / 2


def test_large_sets_are_drawn_from_and_deterministic(monkeypatch):
    monkeypatch.setattr("ivreid.analysis.calibration.MAX_IMAGES", 60)
    embeddings = people()
    found = fit_threshold(embeddings, fpr=0.05, seed=3)
    assert found.genuine_pairs + found.impostor_pairs == 3600
    assert found == fit_threshold(embeddings, fpr=0.05, seed=3)
    assert found != fit_threshold(embeddings, fpr=0.05, seed=4)


def test_bad_input():
    with pytest.raises(UsageError, match="between 0 and 1, got 0"):
        fit_threshold(people(), fpr=0)
    with pytest.raises(UsageError, match="hamming"):
        fit_threshold(people(), metric="hamming")
    with pytest.raises(DataError, match="an infrared one"):
        fit_threshold(people(cameras=((1, False),)))
    with pytest.raises(DataError, match="at least 100,000"):
        fit_threshold(people(), fpr=1e-5)
    apart = people(2, 3)
    strangers = apart.take(apart.images.infrared == (apart.images.pids == 0))
    with pytest.raises(DataError, match="no person stands in both"):
        fit_threshold(strangers, fpr=0.5)
    zero = Embeddings(np.zeros_like(apart.vectors), apart.images)
    with pytest.raises(DataError, match="zero"):
        fit_threshold(zero, fpr=0.1)


def test_unknown_people_are_impostors_to_the_known_and_no_pair_with_each_other():
    embeddings = people(12, 2)
    ids = embeddings.images
    pids = np.where(
        ids.pids < 3, -1 - ids.pids % 2, ids.pids
    )  # three people become unknown, under two numbers
    frames = np.arange(1, len(pids) + 1)
    images = ImageTable(pids, ids.camids, frames, ids.infrared)
    found = fit_threshold(Embeddings(embeddings.vectors, images), fpr=0.05)
    infrared, visible = pids[ids.infrared], pids[~ids.infrared]
    pairs = [(a, b) for a in infrared for b in visible if a >= 0 or b >= 0]
    assert found.genuine_pairs == sum(a == b for a, b in pairs)
    assert found.impostor_pairs == sum(a != b for a, b in pairs)
    assert found.identities == 9


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("noise", [0, 1e-8])
def test_collapsed_features_meet_no_rate(metric, noise):
    embeddings = people()
    point = 1 + noise * np.random.default_rng(0).normal(size=embeddings.vectors.shape)
    with pytest.raises(DataError, match=r"false-positive rate of 0\.01 cannot be met: COLLAPSED: 150 of 150"):
        fit_threshold(Embeddings(point, embeddings.images), metric=metric)


def test_a_rate_below_the_share_of_pairs_at_distance_zero_cannot_be_met():
    embeddings = people(20, 4)
    codes = np.sign(embeddings.vectors[:, :3])  # eight codes for twenty people
    with pytest.raises(
        DataError, match=r"cannot be met: 1\d\.\d% of the pairs of two people have the smallest"
    ):
        fit_threshold(Embeddings(codes, embeddings.images), fpr=0.05)
    assert fit_threshold(Embeddings(codes, embeddings.images), fpr=0.5).threshold.estimate > 0


def test_a_rate_is_met_where_true_pairs_are_nearer_than_the_equal_impostors():
    # distances: 0 for each person's own, 1 for all others
    ids = ImageTable(np.repeat(np.arange(9), 2), np.tile([1, 2], 9), np.ones(18), np.tile([False, True], 9))
    found = fit_threshold(Embeddings(np.eye(9)[ids.pids], ids), fpr=0.1)
    assert 0.9 < found.threshold.estimate < 1 and found.tpr.estimate == 1
