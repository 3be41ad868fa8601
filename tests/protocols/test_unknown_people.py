"""People without a number, cameras without a number: what they may never do, and what is said about them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_evaluation import by_camera, by_identity, drawn, listed, one_trial, people, same_place, shuffled

from ivreid.datasets.features import read_features, write_features
from ivreid.errors import ProtocolError
from ivreid.metrics import rank_queries
from ivreid.protocols import evaluate, make_protocol
from ivreid.types import NO_CAMERA, Embeddings, ImageTable

FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


def joined(*parts):
    names = ("pids", "camids", "frames", "infrared")
    columns = [np.concatenate([getattr(part.images, name) for part in parts]) for name in names]
    return Embeddings(np.concatenate([part.vectors for part in parts]), ImageTable(*columns))


def strangers(rng, cameras, infrared_cameras, count, width=6):
    """Images of unknown people, under several numbers below 0; frames need not begin at 1."""
    camids = rng.choice(list(cameras), count)
    table = ImageTable(
        rng.integers(-3, 0, count), camids, np.arange(100, 100 + count), np.isin(camids, infrared_cameras)
    )
    return Embeddings(rng.normal(size=(count, width)), table)


def divided(embeddings):
    """The images of known people, and those of unknown ones, each under a number that nobody else has."""
    images = listed(embeddings)
    unknown = [image for image in images if image[0] < 0]
    return [image for image in images if image[0] >= 0], [
        (1000 + i, *image[1:]) for i, image in enumerate(unknown)
    ]


def sysu_with_strangers(embeddings, cameras, draw, rule):
    known, unknown = divided(embeddings)
    queries = [image for image in known if image[3]]
    visible, others = ([image for image in side if image[1] in cameras] for side in (known, unknown))
    trials = []
    for t in range(10):
        sample = drawn(visible, t, by_identity) if draw == "agw" else drawn(visible, 2019 + 33 * t, by_camera)
        trials.append(
            one_trial(queries, sample + others, lambda q, g: q[1] == 3 and g[1] == 2, "cosine", rule)
        )
    return trials


def llcm_with_strangers(embeddings, direction, rule):
    known, unknown = divided(embeddings)
    infrared = direction == "infrared-to-visible"
    whole = [image for image in known if image[3] == infrared]
    other = [image for image in known if image[3] != infrared]
    trials = []
    for t in range(10):
        sample = drawn(other, t, by_identity)
        if direction.endswith("swapped"):
            queries, gallery = sample, whole + [image for image in unknown if image[3] == infrared]
        else:
            queries, gallery = whole, sample + [image for image in unknown if image[3] != infrared]
        trials.append(one_trial(queries, gallery, same_place, "cosine", rule))
    return trials


def assert_same(result, expected):
    for trial, want in zip(result.trials, expected, strict=True):
        found = [getattr(trial, name) for name in FIGURES]
        assert found == pytest.approx([want[name] for name in FIGURES], abs=1e-12)
    assert result.valid_queries == expected[0]["valid"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cmc", ["identity", "image"])
@pytest.mark.parametrize("draw", ["agw", "iv-reid"])
@pytest.mark.parametrize(("mode", "cameras"), [("all", (1, 2, 4, 5)), ("indoor", (1, 2))])
def test_distractors_of_sysu_mm01(seed, cmc, draw, mode, cameras):
    rng = np.random.default_rng(seed)
    embeddings = shuffled(
        rng, joined(people(rng, range(1, 7), (3, 6)), strangers(rng, range(1, 7), (3, 6), 25))
    )
    result = evaluate(embeddings, make_protocol("sysu-mm01", mode=mode, draw=draw, cmc=cmc))
    assert_same(result, sysu_with_strangers(embeddings, cameras, draw, cmc))
    assert any("25 of" in note and "distractors" in note for note in result.notes)


@pytest.mark.parametrize("cmc", ["identity", "image"])
@pytest.mark.parametrize(
    "direction", ["infrared-to-visible", "visible-to-infrared", "visible-to-infrared-swapped"]
)
def test_distractors_of_llcm(direction, cmc):
    rng = np.random.default_rng(4)
    parts = [
        people(np.random.default_rng(4), (1, 2, 3), infrared, identities=8, most=4)
        for infrared in ((), (1, 2, 3))
    ]
    unknown = [strangers(rng, (1, 2, 3), infrared, 8) for infrared in ((), (1, 2, 3))]
    embeddings = shuffled(rng, joined(*parts, *unknown))
    result = evaluate(embeddings, make_protocol("llcm", direction=direction, cmc=cmc))
    assert_same(result, llcm_with_strangers(embeddings, direction, cmc))


@pytest.mark.parametrize("name", ["regdb", "cross-modality"])
def test_distractors_where_nothing_is_drawn_are_people_seen_once(name):
    rng = np.random.default_rng(5)
    known, unknown = people(rng, (1, 2), (2,), identities=12), strangers(rng, (1, 2), (2,), 20)
    renamed = Embeddings(
        unknown.vectors,
        ImageTable(
            np.arange(100, 120), *(getattr(unknown.images, n) for n in ("camids", "frames", "infrared"))
        ),
    )
    visible = renamed.take(~renamed.images.infrared)
    one, other = (
        evaluate(joined(known, more), make_protocol(name, cmc="identity")) for more in (unknown, visible)
    )
    assert one.mean == pytest.approx(other.mean, abs=1e-12)
    assert (one.queries, one.gallery) == (other.queries, other.gallery)


@pytest.mark.parametrize("name", ["sysu-mm01", "regdb", "llcm", "cross-modality"])
def test_nobody_is_found_among_the_unknown(name, tmp_path):
    # what `ivreid embed` writes for pictures in no numbered folder
    rng = np.random.default_rng(6)
    count = 40
    infrared = np.arange(count) % 2 == 1
    images = ImageTable(np.full(count, -1), np.where(infrared, 6, 1), np.arange(1, count + 1), infrared)
    if name in ("regdb", "llcm", "cross-modality"):
        images = ImageTable(images.pids, np.where(infrared, 2, 1), images.frames, infrared)
    write_features(tmp_path / "f.npz", Embeddings(rng.normal(size=(count, 4)), images))
    with pytest.raises(ProtocolError, match="each of the 20 images that would query is of an unknown person"):
        evaluate(read_features(tmp_path / "f.npz"), make_protocol(name))


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]))
def test_ranking_takes_each_unknown_image_for_a_person_of_its_own(seed, levels):
    rng = np.random.default_rng(seed)
    queries, images = int(rng.integers(1, 9)), int(rng.integers(1, 50))
    distances = rng.integers(0, levels, (queries, images)) / 7
    query_pids, gallery_pids = rng.integers(-2, 5, queries), rng.integers(-2, 5, images)
    apart = np.where(gallery_pids < 0, 100 + np.arange(images), gallery_pids)
    plain = rank_queries(distances, query_pids, gallery_pids)
    other = rank_queries(distances, np.where(query_pids < 0, 99, query_pids), apart)
    for name in ("valid", "ap", "inp", "first_image", "first_identity"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(other, name))
    assert not plain.valid[query_pids < 0].any()


def table(*rows):
    pids, camids, frames, infrared = zip(*rows, strict=True)
    return ImageTable(pids, camids, frames, infrared)


@pytest.mark.parametrize("name", ["llcm", "cross-modality"])
def test_an_unknown_camera_is_no_camera_of_the_querys(name):
    query = table((1, NO_CAMERA, 1, True), (1, 4, 1, True), (2, 5, 1, True), (-1, 4, 1, True))
    gallery = table((1, NO_CAMERA, 1, False), (1, 4, 1, False), (2, 4, 1, False), (-1, 4, 1, False))
    protocol = make_protocol(name)
    expected = np.zeros((4, 4), bool)
    expected[1, 1] = True  # the one pair of one person and one known camera
    np.testing.assert_array_equal(protocol.excluded(query, gallery), expected)
    assert protocol.excluded(query.take([0]), gallery) is None
    assert protocol.excluded(query, gallery.take([0, 3])) is None


def test_llcm_needs_the_camera_of_drawn_images_only():
    rng = np.random.default_rng(7)
    visible = people(rng, (1, 2, 3), (), identities=8)
    infrared = people(np.random.default_rng(8), (1, 2, 3), (1, 2, 3), identities=8)
    infrared = Embeddings(
        infrared.vectors,
        ImageTable(
            visible.images.pids[rng.integers(0, len(visible), len(infrared))],
            np.where(np.arange(len(infrared)) % 2, infrared.images.camids, NO_CAMERA),
            np.arange(1, len(infrared) + 1),
            np.ones(len(infrared), bool),
        ),
    )
    embeddings = joined(visible, infrared)
    known, _ = divided(embeddings)
    queries = [image for image in known if image[3]]
    colour = [image for image in known if not image[3]]

    def forbidden(query, image):
        return query[:2] == image[:2] and query[1] != NO_CAMERA

    expected = [
        one_trial(queries, drawn(colour, t, by_identity), forbidden, "cosine", "identity") for t in range(10)
    ]
    result = evaluate(embeddings, make_protocol("llcm"))
    assert_same(result, expected)
    assert any("no camera rule for" in note for note in result.notes)
    with pytest.raises(ProtocolError, match=r"camera 0 .* 0 stands for an unknown camera"):
        evaluate(embeddings, make_protocol("llcm", direction="visible-to-infrared"))


def one_camera_for_both(known=4):
    """Everyone twice in each modality, all by camera 7."""
    rows = [(pid, 7, frame, infrared) for pid in range(known) for infrared in (0, 1) for frame in (1, 2)]
    return rows


def scored(rows, name="cross-modality", **options):
    images = table(*rows)
    vectors = np.random.default_rng(0).normal(size=(len(images), 5))
    return evaluate(Embeddings(vectors, images), make_protocol(name, **options))


def test_one_camera_number_for_both_modalities_is_named_as_the_cause():
    with pytest.raises(ProtocolError, match="camera number 7 stands on both sides") as caught:
        scored(one_camera_for_both())
    assert "8 had some" in str(caught.value) and "give those different numbers" in str(caught.value)
    with pytest.raises(ProtocolError, match="do both modalities show the same identities"):
        scored([(1, 1, 1, 0), (2, 2, 1, 1)])
    with pytest.raises(ProtocolError, match=r"excluded by the camera rule$"):
        scored([(1, 2, 1, 0), (1, 3, 1, 1)], "sysu-mm01")


def test_queries_are_never_left_out_without_a_note():
    apart = [(pid, 1 + infrared, 1, infrared) for pid in range(10, 14) for infrared in (0, 1)]
    result = scored([*one_camera_for_both(2), *apart])
    assert (result.queries, result.valid_queries) == (8, 4)
    (note,) = (note for note in result.notes if "left out" in note)
    assert note.startswith("4 of 8 queries are left out") and "camera number 7 stands on both sides" in note
    alone = [(pid, 2, 1, 1) for pid in (50, 51, 52)]
    (note,) = (note for note in scored([*apart, *alone]).notes if "left out" in note)
    assert note == "3 of 7 queries are left out: no image of the other modality shows their people"
    assert not any("left out" in note for note in scored(apart).notes)


def test_people_whom_the_protocol_leaves_out_are_not_called_missing():
    rows = [(1, 1, 1, 0), (1, 6, 1, 1), (2, 4, 1, 0), (2, 6, 1, 1)]
    result = scored(rows, "sysu-mm01", mode="indoor")
    assert (result.queries, result.valid_queries) == (2, 1)
    assert not any("left out" in note for note in result.notes)


def test_results_name_the_implementation_that_made_them():
    names = ("sysu-mm01", "regdb", "llcm", "cross-modality")
    assert {make_protocol(name).version for name in names} == {2}


def test_a_dataset_of_ones_own_may_hold_unknown_people(tmp_path, monkeypatch):
    """They are in the test split as distractors; nobody counts, looks for or trains on them."""
    from ivreid.catalogue import DATASETS
    from ivreid.datasets import check_dataset, load_dataset
    from ivreid.datasets.folder import FolderDataset

    class Crowd(FolderDataset):
        name = "crowd"

        def read(self, tree, trial):
            scan = super().read(tree, trial)
            samples = [replace(s, pid=-1) if s.pid == 2 else s for s in scan.splits["test"]]
            scan.splits["test"] = [replace(s, frame=i) for i, s in enumerate(samples, start=1)]
            return scan

    monkeypatch.setattr(DATASETS, "_others", {**DATASETS._others, "crowd": Crowd})
    root = Crowd().example(tmp_path)
    dataset, report = load_dataset("crowd", root), check_dataset("crowd", root)
    assert dataset.pids("test") == (1,)
    assert (~dataset.table("test").known).sum() == 4
    assert {(c.identities, c.images) for c in report.counts} == {(1, 4)}
    assert not report.problems
