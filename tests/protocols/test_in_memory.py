"""`ivreid.score`: whatever a loop of one's own holds gives the figures of the same features from a file."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_evaluation import one_trial, people, same_place

import ivreid
from ivreid.errors import DataError, ProtocolError, UsageError
from ivreid.protocols import evaluate, make_protocol
from ivreid.protocols import trials as trials_file
from ivreid.protocols.fixed_trial import DistanceMatrix
from ivreid.protocols.in_memory import prepare
from ivreid.types import Embeddings, ImageTable

FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")
MODALITY = ("visible", "infrared")


def in_order(embeddings):
    """Sorted by ids, as a dataset's sorted files are, so that frames follow from the order."""
    images = embeddings.images
    return embeddings.take(np.lexsort((images.frames, images.camids, images.pids)))


@pytest.fixture(scope="module")
def sysu():
    return in_order(people(np.random.default_rng(0), range(1, 7), (3, 6)))


def words(images):
    return [MODALITY[int(infrared)] for infrared in images.infrared]


def tensors(array):
    return torch.tensor(np.array(array))


FORMS = {
    "arrays": lambda a: a,
    "lists": lambda a: a.tolist(),
    "tensors": tensors,
    "lists of tensors": lambda a: list(tensors(a)),
    "tensors with gradients": lambda a: tensors(a).requires_grad_(a.dtype == np.float32),
    "parameters": lambda a: torch.nn.Parameter(tensors(a), requires_grad=a.dtype == np.float32) * 1,
    "double": lambda a: a.astype(np.float64),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_figures_are_those_of_the_features(sysu, form):
    images, convert = sysu.images, FORMS[form]
    expected = evaluate(sysu, make_protocol("sysu-mm01", mode="indoor"))
    found = ivreid.score(
        convert(sysu.vectors),
        convert(images.pids),
        convert(images.camids),
        protocol="sysu-mm01",
        mode="indoor",
    )
    assert found == expected
    assert ivreid.score(sysu.vectors, images.pids, images.camids, protocol=make_protocol("sysu-mm01")) == (
        evaluate(sysu, make_protocol("sysu-mm01"))
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(sysu, dtype):
    half = tensors(sysu.vectors).to(dtype).requires_grad_()
    rounded = Embeddings(half.detach().float().numpy(), sysu.images)
    images = sysu.images
    found = ivreid.score(half, images.pids, images.camids, protocol="sysu-mm01")
    assert found == evaluate(rounded, make_protocol("sysu-mm01"))
    assert half.grad is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_on_a_gpu(sysu):
    there = [tensors(a).cuda() for a in (sysu.vectors, sysu.images.pids, sysu.images.camids)]
    assert ivreid.score(*there, protocol="sysu-mm01") == evaluate(sysu, make_protocol("sysu-mm01"))


@settings(max_examples=30, deadline=None, database=None)
@given(st.integers(0, 2**32 - 1))
def test_frames_are_numbered_by_the_order_given(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    pids, camids, infrared = rng.integers(-1, 3, count), rng.integers(0, 3, count), rng.random(count) < 0.5
    seen, frames = {}, []
    for group in zip(pids.tolist(), camids.tolist(), infrared.tolist(), strict=True):
        seen[group] = seen.get(group, 0) + 1
        frames.append(seen[group])
    given = {"vectors": np.ones((count, 3)), "pids": pids, "camids": camids, "modality": infrared}
    source, _ = prepare(given, None, None, None, "cross-modality", {})
    assert source.images.frames.tolist() == frames


def test_frames_follow_the_order_and_draws_those():
    # three pictures of one person and camera: random.seed(0) draws the second of them
    pids, camids = np.array([1, 1, 1, 1, 2, 2]), np.array([1, 1, 1, 6, 1, 6])
    vectors = np.array([[9, 0], [0, 9], [9, 0], [0, 9], [5, 5], [6, 5]], dtype=float)
    result = ivreid.score(vectors, pids, camids, protocol="sysu-mm01")
    same = ivreid.score(vectors, pids, camids, frames=[1, 2, 3, 1, 1, 1], protocol="sysu-mm01")
    other = ivreid.score(vectors, pids, camids, frames=[2, 1, 3, 1, 1, 1], protocol="sysu-mm01")
    assert result == same and other != result
    assert result.trials[0].rank1 == 1 and other.trials[0].rank1 == 0.5


@pytest.mark.parametrize(
    "modality",
    [
        lambda infrared: infrared,
        torch.tensor,
        lambda infrared: list(torch.tensor(infrared)),
        lambda infrared: infrared.tolist(),
        lambda infrared: [MODALITY[int(x)] for x in infrared],
        lambda infrared: [ivreid.Modality(MODALITY[int(x)]) for x in infrared],
        lambda infrared: np.where(infrared, "Thermal", "RGB"),
    ],
)
def test_a_modality_is_text_or_booleans(sysu, modality):
    images = sysu.images
    found = ivreid.score(sysu.vectors, images.pids, modality=modality(images.infrared))
    assert "infrared-to-visible" in found.title
    assert found.queries == images.infrared.sum()
    turned = ivreid.score(sysu.vectors, images.pids, modality=~images.infrared)
    assert turned.queries == (~images.infrared).sum()
    assert any("no camera rule" in note for note in found.notes)


@pytest.mark.parametrize("values", [[1, 2], [0, 1], [1.0, 0.0], torch.tensor([1, 2])])
def test_numbers_are_no_modality(values):
    with pytest.raises(
        DataError, match="must be visible or infrared, or booleans that are True for infrared"
    ):
        ivreid.score(np.ones((2, 2)), [1, 1], modality=values)


def test_cameras_imply_the_modality_and_contradictions_are_found(sysu):
    images = sysu.images
    with pytest.raises(
        DataError, match=r"`modality` calls image \d+ .* in sysu-mm01; are the flags inverted"
    ):
        ivreid.score(
            sysu.vectors, images.pids, images.camids, modality=~images.infrared, protocol="sysu-mm01"
        )
    regdb = in_order(people(np.random.default_rng(3), (1, 2), (2,), identities=8))
    expected = evaluate(regdb, make_protocol("regdb", trial=2))
    ids = regdb.images
    for cameras in (ids.camids, None):
        given = {"modality": words(ids)} if cameras is None else {}
        assert ivreid.score(regdb.vectors, ids.pids, cameras, **given, protocol="regdb", trial=2) == expected
    with pytest.raises(
        UsageError, match=r"say of each image whether it is infrared.*sysu-mm01 and regdb imply"
    ):
        ivreid.score(sysu.vectors, images.pids, images.camids)
    with pytest.raises(UsageError, match="camids missing: the camera of each image"):
        ivreid.score(sysu.vectors, images.pids, protocol="sysu-mm01")


@pytest.mark.parametrize("as_tensor", [False, True])
def test_ready_distances_score_as_the_embeddings_do(sysu, as_tensor):
    images, protocol = sysu.images, {"protocol": "sysu-mm01", "mode": "all"}
    unit = sysu.vectors / np.linalg.norm(sysu.vectors, axis=1, keepdims=True)
    square = 1 - unit.astype(float) @ unit.T.astype(float)
    oblong = square[np.ix_(images.infrared, ~images.infrared)]
    expected = evaluate(sysu, make_protocol("sysu-mm01"))
    for matrix in (square, oblong, np.asfortranarray(oblong)):
        given = torch.tensor(matrix) if as_tensor else matrix
        found = ivreid.score(pids=images.pids, camids=images.camids, distances=given, **protocol)
        assert found.trials == expected.trials
        assert found.options == {**expected.options, "metric": "given"}
        assert found.title.endswith("identity CMC, distances as given")
    llcm = ivreid.score(
        pids=images.pids,
        camids=images.camids,
        modality=images.infrared,
        distances=oblong.T,
        protocol="cross-modality",
        direction="visible-to-infrared",
    )
    assert llcm.queries == (~images.infrared).sum()


def test_large_matrices_are_ranked_some_queries_at_a_time(sysu, monkeypatch):
    images = sysu.images
    codes = np.random.default_rng(1).integers(0, 3, (len(images), len(images)))
    arguments = {"pids": images.pids, "camids": images.camids, "protocol": "sysu-mm01", "distances": codes}
    whole = ivreid.score(**arguments)
    monkeypatch.setattr(trials_file, "_WIDE", 1)
    ticks = []
    assert ivreid.score(**arguments, progress=lambda *tick: ticks.append(tick)) == whole
    assert whole.extra["ties"]["queries"][0] > 0
    assert ticks[-1][0] == ticks[-1][1] and len(ticks) > 10 * 2


def test_query_and_gallery_apart_equal_plain_loops(sysu):
    """Every query against the whole gallery, by the camera rule of the protocol."""
    images, vectors = sysu.images, sysu.vectors.tolist()
    listed = list(
        zip(
            images.pids.tolist(),
            images.camids.tolist(),
            images.frames.tolist(),
            images.infrared.tolist(),
            vectors,
            strict=True,
        )
    )
    queries, gallery = ([image for image in listed if image[3] == side] for side in (True, False))
    rules = {"sysu-mm01": lambda q, g: q[1] == 3 and g[1] == 2, "cross-modality": same_place}
    sides = [
        (sysu.vectors[rows], images.pids[rows], images.camids[rows])
        for rows in (images.infrared, ~images.infrared)
    ]
    for name, rule in rules.items():
        want = one_trial(queries, gallery, rule, "cosine", "identity")
        modality = {} if name == "sysu-mm01" else {"modality": ...}
        given = [
            side if not modality else (*side, word) for side, word in zip(sides, MODALITY[::-1], strict=True)
        ]
        found = ivreid.score(query=given[0], gallery=given[1], protocol=name, cmc="identity")
        (trial,) = found.trials
        assert [getattr(trial, f) for f in FIGURES] == pytest.approx([want[f] for f in FIGURES], abs=1e-12)
        assert found.valid_queries == want["valid"]
        assert found.protocol == "as-given" and found.options["camera_rule"] == name
        assert found.title.startswith(
            f"Query and gallery as given, camera rule of {name}, infrared-to-visible"
        )


def test_query_and_gallery_in_every_form(sysu):
    side = sysu.images.infrared
    query, gallery = sysu.take(side), sysu.take(~side)
    expected = ivreid.score(query=query, gallery=gallery, protocol="sysu-mm01")
    names = ("vectors", "pids", "camids")
    for convert in (FORMS["arrays"], FORMS["tensors with gradients"]):
        columns = [
            [convert(getattr(part, "vectors")), convert(part.images.pids), convert(part.images.camids)]  # noqa: B009
            for part in (query, gallery)
        ]
        for make in (tuple, lambda values: dict(zip(names, values, strict=True))):
            found = ivreid.score(query=make(columns[0]), gallery=make(columns[1]), protocol="sysu-mm01")
            assert found.trials == expected.trials
    unit = [part.vectors / np.linalg.norm(part.vectors, axis=1, keepdims=True) for part in (query, gallery)]
    matrix = 1 - unit[0].astype(float) @ unit[1].T.astype(float)
    for pair in (
        (query, gallery),
        (query.images, gallery.images),
        [(part.images.pids, part.images.camids) for part in (query, gallery)],
    ):
        found = ivreid.score(query=pair[0], gallery=pair[1], distances=matrix, protocol="sysu-mm01")
        assert found.trials == expected.trials


def test_fields_may_be_left_out_and_more_be_there(sysu):
    side = sysu.images.infrared
    parts = [(sysu.take(rows), word) for rows, word in ((side, "infrared"), (~side, "visible"))]
    whole = [
        {
            "embeddings": part.vectors,
            "pids": part.images.pids,
            "camids": None,
            "modality": word,
            "frames": np.arange(1, len(part) + 1),
            "paths": ["a.jpg"] * len(part),
        }
        for part, word in parts
    ]
    found = ivreid.score(query=whole[0], gallery=whole[1])
    assert "infrared-to-visible" in found.title and "no camera rule" in found.notes[0]
    matrix = np.random.default_rng(0).random((side.sum(), (~side).sum()))
    sides = [(part.images.pids, part.images.camids, word) for part, word in parts]
    assert "infrared-to-visible" in ivreid.score(query=sides[0], gallery=sides[1], distances=matrix).title
    with pytest.raises(DataError, match=r"^gallery: `camids` has 1 values"):
        ivreid.score(query=whole[0], gallery={**whole[1], "camids": [1]})


def test_one_modality_and_an_unknown_one_can_be_searched_too(sysu):
    part = sysu.take(~sysu.images.infrared)
    query, gallery = part.take(np.arange(0, len(part), 3)), part.take(np.arange(len(part)) % 3 > 0)
    ids = [(p.vectors, p.images.pids, p.images.camids) for p in (query, gallery)]
    found = ivreid.score(query=ids[0], gallery=ids[1])
    assert found.title.startswith("Query and gallery as given, camera rule of cross-modality, image CMC")
    known = ivreid.score(query=query, gallery=gallery)
    assert "visible only" in known.title and known.trials == found.trials
    ones = [(np.ones_like(vectors), *rest) for vectors, *rest in ids]
    collapsed = ivreid.score(query=ones[0], gallery=ones[1])
    assert any(
        note.startswith(f"COLLAPSED: {len(part)} of {len(part)} embeddings") for note in collapsed.notes
    )


def test_the_same_frames_on_both_sides_are_two_images():
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    table = ImageTable([1, 2, 1, 2], [0] * 4, [1, 1, 2, 2], [False] * 4)
    both = Embeddings(vectors, table)
    result = ivreid.score(query=both, gallery=both)
    assert (result.queries, result.gallery, result.mean["rank1"]) == (4, 4, 1)


ONE = (np.ones((1, 2)), [1], [0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, UsageError, "vectors and pids missing"),
        ({"vectors": np.ones((2, 2))}, UsageError, "pids missing"),
        ({"query": ONE}, UsageError, "query and gallery go together"),
        ({"query": ONE, "gallery": ONE, "pids": [1]}, UsageError, "pids belong into each of them"),
        ({"query": ONE, "gallery": ONE, "mode": "all"}, UsageError, "mode would choose the gallery"),
        ({"query": ONE, "gallery": ONE, "direction": "x"}, UsageError, "direction would choose"),
        (
            {"query": ONE, "gallery": (np.ones((1, 3)), [1])},
            DataError,
            "queries have 2 dimensions and the gallery 3",
        ),
        ({"query": ONE, "gallery": 3}, UsageError, "`gallery` is an Embeddings, a tuple .*got int"),
        ({"query": ONE, "gallery": {"features": 1}}, UsageError, "or a mapping with vectors, pids"),
        ({"query": ONE, "gallery": (np.ones((0, 2)), [])}, DataError, "the gallery is empty"),
        (
            {"query": (*ONE, "ir"), "gallery": ONE},
            UsageError,
            "modality of both, query and gallery, or of neither",
        ),
        (
            {"query": ([1],), "gallery": ([1, 2],), "distances": [[1.0]]},
            DataError,
            r"shape \(1, 1\); .* \(1, 2\)",
        ),
        ({"vectors": np.ones((2, 2)), "pids": [1, 1], "shot": 1}, UsageError, "has no option shot"),
        ({"vectors": np.ones((2, 2)), "pids": [[1, 1]]}, DataError, "`pids` must have 1 dimension"),
        ({"vectors": np.ones(2), "pids": [1, 1]}, DataError, "`vectors` must have 2 dimensions"),
        (
            {"vectors": np.ones((2, 2)), "pids": [1, 1], "camids": [1]},
            DataError,
            "`camids` has 1 values for 2",
        ),
        (
            {"vectors": np.ones((2, 2)), "pids": [1, 1], "modality": [True]},
            DataError,
            "`modality` has 1 values for 2",
        ),
        ({"vectors": [["a"]], "pids": [1]}, DataError, "`vectors` must hold real numbers"),
        (
            {"vectors": np.ones((3, 2)), "pids": [1, 1], "modality": [True, False]},
            DataError,
            r"\(dimensions, images\)\? transpose",
        ),
        (
            {"pids": [1, 1, 2], "modality": [True, False, False], "distances": np.ones((2, 2))},
            DataError,
            r"3 images need \(3, 3\), or \(infrared, visible\) = \(1, 2\), in the order of the images",
        ),
        (
            {"pids": [1, 1], "modality": [True, False], "distances": [[0, np.nan], [0, 0]]},
            DataError,
            "distances hold NaN",
        ),
        (
            {"vectors": np.ones((2, 2)), "pids": [-1, 1], "modality": [True, False]},
            ProtocolError,
            "unknown person",
        ),
    ],
)
def test_wrong_arguments_have_one_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        ivreid.score(**arguments)
    made = make_protocol("regdb")
    with pytest.raises(UsageError, match="has its options decided; drop trial"):
        ivreid.score(np.ones((2, 2)), [1, 1], protocol=made, trial=1)


def test_a_matrix_of_one_group_by_another_holds_no_others(sysu):
    images = sysu.images
    side = images.infrared
    matrix = DistanceMatrix.of(np.ones((side.sum(), (~side).sum())), images, query_infrared=True)
    assert matrix.holds(np.flatnonzero(side), np.flatnonzero(~side))
    with pytest.raises(DataError, match="do not hold those between"):
        matrix.between(np.flatnonzero(~side), np.flatnonzero(side))
    with pytest.raises(UsageError, match="needs the embeddings"):
        evaluate(matrix, make_protocol("sysu-mm01"), distance=lambda q, g: q @ g.T)
    some = np.random.default_rng(0).permutation(len(images))[: len(images) // 2]
    values = np.arange(side.sum() * (~side).sum()).reshape(matrix.values.shape)
    part = DistanceMatrix.of(values, images, query_infrared=True)
    rows, columns = (np.flatnonzero(s[some]) for s in (side, ~side))
    np.testing.assert_array_equal(
        part.take(some).between(rows, columns), part.between(some[rows], some[columns])
    )


def test_notes_and_progress_pass_through(sysu):
    images, ticks = sysu.images, []
    result = ivreid.score(
        sysu.vectors,
        images.pids,
        images.camids,
        protocol="sysu-mm01",
        metric="euclidean",
        precision="single",
        notes=["epoch 3"],
        progress=lambda *tick: ticks.append(tick),
    )
    assert result.notes[-1] == "epoch 3" and ticks
    assert (result.options["metric"], result.options["precision"]) == ("euclidean", "single")
