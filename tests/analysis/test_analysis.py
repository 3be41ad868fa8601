import json

import numpy as np
import pytest

from ivreid.analysis import full_evaluation
from ivreid.analysis.breakdown import hardest, within_modality
from ivreid.analysis.compare import compare, per_identity
from ivreid.analysis.full_evaluation import analyse, evaluate_in_full
from ivreid.metrics.verification import roc
from ivreid.protocols import Result, evaluate, make_protocol
from ivreid.retrieval import KReciprocal
from ivreid.types import Embeddings, ImageTable


def sysu(people=24, noise=1.0, seed=0):
    """Features in SYSU-MM01's cameras, with identities missing from cameras and unequal image counts."""
    rng = np.random.default_rng(seed)
    visible = rng.normal(size=(people, 16))
    centres = np.stack([visible, 0.6 * visible + 0.8 * rng.normal(size=(people, 16))])
    rows = []
    for pid in range(1, people + 1):
        for camera in range(1, 7):
            if rng.random() < 0.8 or camera in (1, 6):
                rows += [(pid, camera, f) for f in range(1, int(rng.integers(2, 6)) + 1)]
    pids, camids, frames = (np.array(column) for column in zip(*rows, strict=True))
    infrared = np.isin(camids, (3, 6))
    vectors = centres[infrared.astype(int), pids - 1] + noise * rng.normal(size=(len(rows), 16))
    return Embeddings(vectors, ImageTable(pids, camids, frames, infrared))


def regdb(people=20, seed=0):
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(people), 10)
    infrared = np.tile(np.repeat([False, True], 5), people)
    frames = np.tile(np.arange(1, 6), 2 * people)
    vectors = rng.normal(size=(people, 8))[pids] + rng.normal(size=(len(pids), 8))
    return Embeddings(vectors, ImageTable(pids, 1 + infrared, frames, infrared))


@pytest.fixture(scope="module")
def sysu_case():
    embeddings, protocol = sysu(), make_protocol("sysu-mm01")
    return embeddings, protocol, evaluate(embeddings, protocol)


@pytest.fixture(scope="module")
def analysed(sysu_case):
    return analyse(*sysu_case)


def slow_query(embeddings, q, gallery):
    """(first match is nearest, AP, INP) of one query row by the definition, or None without a match."""
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    pids = embeddings.images.pids
    order = sorted(gallery, key=lambda g: 1 - float(unit[q] @ unit[g]))
    ranks = [i + 1 for i, g in enumerate(order) if pids[g] == pids[q]]
    if not ranks:
        return None
    return ranks[0] == 1, np.mean([(i + 1) / r for i, r in enumerate(ranks)]), len(ranks) / ranks[-1]


def slow_row(embeddings, protocol, accept):
    """A row of the breakdown by looping over trials and queries; `accept` picks query and gallery cameras."""
    found = []
    camids = embeddings.images.camids
    for trial in protocol.trials(embeddings.images):
        for q in trial.query:
            allowed = [
                g
                for g in trial.gallery
                if accept(camids[q], camids[g]) and not (camids[q] == 3 and camids[g] == 2)
            ]
            one = slow_query(embeddings, q, allowed)
            if one is not None:
                found.append(one)
    return len(found), np.mean(found, axis=0)


def test_the_figures_are_untouched_and_the_people_add_up_to_them(sysu_case, analysed):
    result = sysu_case[2]
    assert analysed.mean == result.mean and analysed.fingerprints == result.fingerprints
    table = per_identity(Result.from_json(json.loads(json.dumps(analysed.to_json()))))
    assert table.figures() == pytest.approx(result.mean)
    assert table.counts.sum() == pytest.approx(result.valid_queries)
    for name, interval in analysed.extra["intervals"].items():
        assert interval["estimate"] == pytest.approx(result.mean[name])
        assert interval["low"] < interval["estimate"] < interval["high"] and interval["confidence"] == 0.95


def test_in_one_call_is_the_same(sysu_case, analysed):
    embeddings, protocol, _ = sysu_case
    assert evaluate_in_full(embeddings, protocol) == analysed
    marked = evaluate_in_full(embeddings, protocol, metric="euclidean", tta="flip", notes=["why"], seed=1)
    plain = evaluate(embeddings, protocol, metric="euclidean", tta="flip", notes=["why"])
    assert marked == analyse(embeddings, protocol, plain, metric="euclidean", seed=1)
    assert marked.extra["intervals"] != analysed.extra["intervals"]


def test_camera_pairs_and_query_cameras_equal_explicit_loops(sysu_case, analysed):
    embeddings, protocol, _ = sysu_case
    breakdown = analysed.extra["breakdown"]
    pairs = {(row["query"], row["gallery"]): row for row in breakdown["camera_pairs"]}
    assert set(pairs) == {(3, 1), (3, 4), (3, 5), (6, 1), (6, 2), (6, 4), (6, 5)}
    for query, gallery in ((3, 4), (6, 2), (6, 5)):
        count, figures = slow_row(embeddings, protocol, lambda q, g: (q, g) == (query, gallery))  # noqa: B023
        row = pairs[query, gallery]
        assert row["valid_queries"] == count / 10
        assert (row["rank1"], row["mAP"], row["mINP"]) == pytest.approx(tuple(figures))
    cameras = {row["camera"]: row for row in breakdown["query_cameras"]}
    assert set(cameras) == {3, 6}
    count, figures = slow_row(embeddings, protocol, lambda q, g: q == 3)
    assert (cameras[3]["valid_queries"], cameras[3]["mAP"]) == pytest.approx((count / 10, figures[1]))


def test_places_equal_explicit_loops(sysu_case, analysed):
    embeddings, protocol, _ = sysu_case
    places = {(row["query"], row["gallery"]): row for row in analysed.extra["breakdown"]["places"]}
    assert set(places) == {(a, b) for a in ("indoor", "outdoor") for b in ("indoor", "outdoor")}
    count, figures = slow_row(embeddings, protocol, lambda q, g: q == 6 and g in (1, 2))
    row = places["outdoor", "indoor"]
    assert (row["valid_queries"], row["rank1"], row["mAP"]) == pytest.approx(
        (count / 10, figures[0], figures[1])
    )


def test_modalities_show_the_gap(analysed):
    rows = {(r["query"], r["gallery"]): r for r in analysed.extra["breakdown"]["modalities"]}
    assert set(rows) == {("infrared", "visible"), ("visible", "visible"), ("infrared", "infrared")}
    assert rows["infrared", "visible"]["mAP"] == pytest.approx(analysed.mean["mAP"])
    assert rows["visible", "visible"]["mAP"] > rows["infrared", "visible"]["mAP"]


def test_hardest_identities_come_in_order(analysed):
    table, rows = per_identity(analysed), analysed.extra["breakdown"]["hardest"]
    means = table.sums["mAP"] / table.counts
    assert len(rows) == 10 and [row["mAP"] for row in rows] == pytest.approx(sorted(means)[:10])
    assert all(means[table.pids == row["pid"]] == row["mAP"] for row in rows)
    assert hardest(table, 2) == rows[:2]


def test_verification_is_the_first_trial_without_excluded_pairs(sysu_case, analysed):
    embeddings, protocol, _ = sysu_case
    trial, block = protocol.trials(embeddings.images)[0], analysed.extra["verification"]
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    ids, same, different = embeddings.images, [], []
    for q in trial.query:
        for g in trial.gallery:
            if not (ids.camids[q] == 3 and ids.camids[g] == 2):
                (same if ids.pids[q] == ids.pids[g] else different).append(1 - float(unit[q] @ unit[g]))
    curve = roc(np.array(same), np.array(different))
    assert (block["genuine_pairs"], block["impostor_pairs"]) == (len(same), len(different))
    assert block["equal_error_rate"] == pytest.approx(curve.equal_error_rate, abs=1e-3)
    assert block["area"] == pytest.approx(curve.area, abs=1e-4)
    assert block["tpr_at_fpr"]["0.01"] == pytest.approx(curve.tpr_at(0.01), abs=2e-3)
    assert block["roc"]["fpr"][-1] == block["roc"]["tpr"][-1] == 1


def test_many_pairs_are_thinned(sysu_case, analysed, monkeypatch):
    monkeypatch.setattr("ivreid.analysis.full_evaluation.MAX_PAIRS", 2000)
    block = analyse(*sysu_case).extra["verification"]
    assert block["genuine_pairs"] + block["impostor_pairs"] <= 2000
    assert block["area"] == pytest.approx(analysed.extra["verification"]["area"], abs=0.1)


def test_within_a_modality_no_query_meets_its_own_camera_or_itself():
    images = sysu().images
    query, gallery, excluded = within_modality(images, False, rng=np.random.default_rng(0))
    assert not images.infrared[query].any() and not np.isin(query, gallery).any()
    drawn = list(zip(images.pids[gallery], images.camids[gallery], strict=True))
    assert len(set(drawn)) == len(drawn)
    for i in range(0, len(query), 7):
        for j, (pid, camera) in enumerate(drawn):
            assert excluded[i, j] == (pid == images.pids[query[i]] and camera == images.camids[query[i]])
    limited = within_modality(images, True, rng=np.random.default_rng(0), limit=5)
    assert len(limited[0]) == 5 and limited[2] is not None
    alone = images.take(np.unique(images.pids, return_index=True)[1])
    assert within_modality(alone, False, rng=np.random.default_rng(0)) is None
    assert within_modality(images.take(~images.infrared), True, rng=np.random.default_rng(0)) is None


def test_one_camera_a_modality_needs_no_camera_rule():
    embeddings, protocol = regdb(), make_protocol("regdb", trial=1)
    found = analyse(embeddings, protocol, evaluate(embeddings, protocol)).extra["breakdown"]
    assert found["places"] == [] and found["camera_pairs"] == []
    assert [row["camera"] for row in found["query_cameras"]] == [2]
    rows = {(r["query"], r["gallery"]): r["valid_queries"] for r in found["modalities"]}
    assert rows == {("infrared", "visible"): 100, ("visible", "visible"): 80, ("infrared", "infrared"): 80}


def test_a_reranked_result_is_broken_down_by_its_own_distances():
    embeddings, protocol, rerank = regdb(), make_protocol("regdb", trial=1), KReciprocal(k1=8, k2=3)
    result = evaluate(embeddings, protocol, distance=rerank, rerank=rerank.label)
    found = analyse(embeddings, protocol, result, distance=rerank)
    assert per_identity(found).figures() == pytest.approx(result.mean)
    plain = evaluate(embeddings, protocol)
    assert (
        found.rerank == "k-reciprocal (k1=8, k2=3, weight=0.3; query- and gallery-transductive)"
        and found.mean != plain.mean
    )
    comparison = compare(analyse(embeddings, protocol, plain), found)
    assert comparison.pairing == "identities"
    assert any("re-ranking differs" in warning for warning in comparison.warnings)
    assert not any(row.clear for row in comparison.differences) and "not ranked" in comparison.explanation
    assert comparison.differences[4].difference == pytest.approx(result.mean["mAP"] - plain.mean["mAP"])


def test_the_order_of_the_file_changes_nothing(sysu_case, analysed):
    embeddings, protocol, result = sysu_case
    order = np.random.default_rng(1).permutation(len(embeddings))
    turned = analyse(embeddings.take(order), protocol, result)
    for block in ("per_identity", "intervals", "verification"):
        assert turned.extra[block] == analysed.extra[block]
    assert turned.extra["breakdown"] == analysed.extra["breakdown"]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("make", [sysu, regdb])
def test_how_many_queries_are_analysed_at_a_time_makes_no_difference(monkeypatch, metric, make):
    embeddings, protocol = make(), make_protocol("sysu-mm01" if make is sysu else "cross-modality")
    monkeypatch.setattr(full_evaluation, "MAX_PAIRS", 2000)
    whole, ticks = evaluate_in_full(embeddings, protocol, metric=metric), []
    monkeypatch.setattr(full_evaluation, "BLOCK", 700)
    split = evaluate_in_full(embeddings, protocol, metric=metric, progress=lambda *tick: ticks.append(tick))
    for name, rows in whole.extra["breakdown"].items():
        found = split.extra["breakdown"][name]
        assert len(found) == len(rows)
        assert all(one == pytest.approx(other, abs=1e-12) for one, other in zip(found, rows, strict=True))
    assert split.extra["verification"]["genuine_pairs"] == whole.extra["verification"]["genuine_pairs"]
    for name in ("area", "equal_error_rate"):
        assert split.extra["verification"][name] == pytest.approx(whole.extra["verification"][name], abs=1e-6)
    assert ticks[-1][0] == ticks[-1][1]
    assert len(ticks) > 3


def test_within_a_modality_unknown_people_never_query():
    images = sysu().images
    pids = np.where(images.pids % 5 == 0, -1, images.pids)
    images = ImageTable(pids, images.camids, np.arange(1, len(pids) + 1), images.infrared)
    query, gallery, _ = within_modality(images, False, rng=np.random.default_rng(0))
    assert images.known[query].all()
    unknown = np.flatnonzero(~images.known & ~images.infrared)
    assert len(unknown) and np.isin(unknown, gallery).all()


def test_distractors_enter_every_block_and_are_nobodys_match():
    embeddings = sysu(noise=1.5)
    ids = embeddings.images
    unknown = ids.pids % 4 == 0
    images = ImageTable(np.where(unknown, -1, ids.pids), ids.camids, np.arange(1, len(ids) + 1), ids.infrared)
    found = evaluate_in_full(Embeddings(embeddings.vectors, images), make_protocol("cross-modality"))
    table = per_identity(found)
    assert table.pids.min() >= 0 and table.figures() == pytest.approx(found.mean)
    assert all(row["pid"] >= 0 for row in found.extra["breakdown"]["hardest"])
    query, gallery = ids.pids[ids.infrared & ~unknown], ids.pids[~ids.infrared]
    block = found.extra["verification"]
    assert block["genuine_pairs"] == (query[:, None] == gallery).sum()
    assert block["genuine_pairs"] + block["impostor_pairs"] == len(query) * len(gallery)
