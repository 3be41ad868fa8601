"""Every variant of every protocol against the slow derivation, on untidy random data."""

import numpy as np
import pytest
from slow_evaluation import drawn, llcm, people, same_place, sysu, whole

from ivreid.protocols import DIRECTIONS, Permutations, evaluate, make_protocol
from ivreid.protocols.draws import DRAWS

FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")
SEEDS = range(3)


def assert_same(result, expected):
    assert len(result.trials) == len(expected)
    for trial, want in zip(result.trials, expected, strict=True):
        assert [getattr(trial, name) for name in FIGURES] == pytest.approx(
            [want[name] for name in FIGURES], abs=1e-12
        )
    assert result.valid_queries == expected[0]["valid"]


def permutations_for(embeddings, rng, tmp_path):
    images = embeddings.images
    cells = []
    for camid in range(1, 7):
        counts = [int(((images.pids == pid) & (images.camids == camid)).sum()) for pid in range(1, 61)]
        cells.append(tuple(np.array([rng.permutation(n) + 1 for _ in range(10)]) for n in counts))
    return Permutations(tmp_path / "rand_perm_cam.mat", tuple(cells))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cmc", ["identity", "image"])
@pytest.mark.parametrize("mode", ["all", "indoor"])
@pytest.mark.parametrize("draw", DRAWS)
def test_sysu_mm01(seed, cmc, mode, draw, tmp_path):
    rng = np.random.default_rng(seed)
    embeddings = people(rng, range(1, 7), (3, 6))
    permutations = permutations_for(embeddings, rng, tmp_path)
    for metric in ("cosine", "euclidean"):
        protocol = make_protocol("sysu-mm01", mode=mode, draw=draw, cmc=cmc, permutations=permutations)
        expected = sysu(embeddings, mode, draw, metric, cmc, 1, permutations.cells)
        assert_same(evaluate(embeddings, protocol, metric=metric), expected)


@pytest.mark.parametrize("mode", ["all", "indoor"])
def test_sysu_mm01_ten_shots(mode, tmp_path):
    rng = np.random.default_rng(5)
    embeddings = people(rng, range(1, 7), (3, 6), identities=4, most=1)
    images = embeddings.images
    pids = np.repeat(images.pids, 12)  # twelve images of everyone everywhere
    frames = np.tile(np.arange(1, 13), len(images))
    table = type(images)(pids, np.repeat(images.camids, 12), frames, np.repeat(images.infrared, 12))
    embeddings = type(embeddings)(rng.normal(size=(len(table), 5)), table)
    permutations = permutations_for(embeddings, rng, tmp_path)
    protocol = make_protocol("sysu-mm01", mode=mode, shots=10, permutations=permutations)
    assert_same(
        evaluate(embeddings, protocol),
        sysu(embeddings, mode, "official", "cosine", "identity", 10, permutations.cells),
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cmc", ["identity", "image"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_regdb(seed, cmc, direction):
    embeddings = people(np.random.default_rng(seed), (1, 2), (2,), identities=12)
    protocol = make_protocol("regdb", direction=direction, cmc=cmc, trial=seed + 1)
    expected = whole(embeddings, direction, lambda q, g: False, "cosine", cmc)
    assert_same(evaluate(embeddings, protocol), expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cmc", ["identity", "image"])
@pytest.mark.parametrize("direction", [*DIRECTIONS, "visible-to-infrared-swapped"])
def test_llcm(seed, cmc, direction):
    rng = np.random.default_rng(seed)
    # a camera of LLCM sees both modalities: cameras 1 and 2 here, camera 3 in colour only
    visible = people(rng, (1, 2, 3), (), identities=8, most=4)
    infrared = people(np.random.default_rng(seed), (1, 2, 3), (1, 2, 3), identities=8, most=4)
    infrared = infrared.take(infrared.images.camids != 3)
    embeddings = join(visible, infrared)
    protocol = make_protocol("llcm", direction=direction, cmc=cmc)
    assert_same(evaluate(embeddings, protocol), llcm(embeddings, direction, "cosine", cmc))


def join(first, second):
    columns = [
        np.concatenate([getattr(t.images, n) for t in (first, second)]) for n in ("pids", "camids", "frames")
    ]
    infrared = np.concatenate([first.images.infrared, second.images.infrared])
    return type(first)(
        np.concatenate([first.vectors, second.vectors]), type(first.images)(*columns, infrared)
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cameras", [True, False])
def test_cross_modality(direction, cameras):
    rng = np.random.default_rng(8)
    visible, infrared = people(rng, (1, 2), ()), people(np.random.default_rng(8), (1, 2), (1, 2))
    embeddings = join(visible, infrared)
    if not cameras:
        images = embeddings.images
        frames = np.arange(1, len(images) + 1)
        table = type(images)(images.pids, np.zeros(len(images)), frames, images.infrared)
        embeddings = type(embeddings)(embeddings.vectors, table)
    expected = whole(embeddings, direction, same_place if cameras else lambda q, g: False, "cosine", "image")
    result = evaluate(embeddings, make_protocol("cross-modality", direction=direction))
    assert_same(result, expected)
    assert any("no camera rule" in note for note in result.notes) is not cameras


@pytest.mark.parametrize("seed", range(6))
def test_tied_distances_fall_in_the_order_of_ids(seed):
    rng = np.random.default_rng(seed)
    sysu_like = people(rng, range(1, 7), (3, 6), levels=2, width=3)
    result = evaluate(sysu_like, make_protocol("sysu-mm01", draw="agw"), metric="euclidean")
    assert_same(result, sysu(sysu_like, "all", "agw", "euclidean", "identity"))
    regdb_like = people(rng, (1, 2), (2,), identities=15, levels=2, width=3)
    result = evaluate(regdb_like, make_protocol("regdb"), metric="euclidean")
    assert_same(result, whole(regdb_like, "infrared-to-visible", lambda q, g: False, "euclidean", "image"))


def test_a_gallery_of_one_identity():
    embeddings = people(np.random.default_rng(1), range(1, 7), (3, 6), identities=1)
    result = evaluate(embeddings, make_protocol("sysu-mm01"))
    assert result.mean["rank1"] == 1
    assert any("small gallery: 1 identities" in note for note in result.notes)
    assert_same(result, sysu(embeddings, "all", "agw", "cosine", "identity"))


def test_an_identity_seen_in_camera_2_only_has_no_valid_camera_3_query():
    embeddings = people(np.random.default_rng(2), range(1, 7), (3, 6), identities=6)
    images = embeddings.images
    only = int(images.pids[0])
    keep = (images.pids != only) | np.isin(images.camids, (2, 3))
    embeddings = embeddings.take(keep)
    result = evaluate(embeddings, make_protocol("sysu-mm01"))
    lost = int(((embeddings.images.pids == only) & (embeddings.images.camids == 3)).sum())
    assert lost
    assert result.valid_queries <= result.queries - lost
    assert_same(result, sysu(embeddings, "all", "agw", "cosine", "identity"))


def test_the_draw_depends_on_list_lengths_alone():
    # hand-checked: random.seed(0) then choice of [1, 2, 3] gives the second, as any Python since 3.2 does
    images = [(1, 1, frame, False, [0.0]) for frame in (1, 2, 3)]
    assert drawn(images, 0, None)[0][2] == 2
