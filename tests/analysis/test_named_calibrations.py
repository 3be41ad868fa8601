"""Several thresholds by name in one card, and the refusal of those that do not hold for a model."""

import shutil

import numpy as np
import pytest

import ivreid
from ivreid.analysis.named_calibrations import (
    Computed,
    NoCalibration,
    Thresholds,
    fitted_on_drawn,
    with_calibration,
)
from ivreid.datasets.features import write_features
from ivreid.errors import CheckpointError, DataError, ProtocolError, UsageError
from ivreid.inference import Embedder
from ivreid.inference.same_person import KnowsThresholds
from ivreid.metrics.distances import pairwise
from ivreid.models.weights import read_card, read_weights, weights_fingerprint, write_weights
from ivreid.types import Embeddings, ImageTable

MODEL = Computed("a" * 16)


def block(threshold=0.3, metric="cosine", **more):
    return {"metric": metric, "threshold": {"estimate": threshold, "low": 0, "high": 1}, **more}


class Plain(KnowsThresholds):
    def __init__(self, card, precision="fp32", flip=False):
        self.card, self.fingerprint, self.precision, self.flip = card, "a" * 16, precision, flip


def test_names_stand_beside_each_other_and_the_older_single_one_is_the_default():
    old = {"method": "x", "calibration": block(0.2)}
    card = with_calibration(old, "night", block(0.4))
    assert "calibration" not in card and "calibrations" not in old
    found = Thresholds(card, MODEL)
    assert dict(found) == {"default": 0.2, "night": 0.4} and len(found) == 2 and "night" in found
    assert found.default() == 0.2 and dict(Thresholds(old, MODEL)) == {"default": 0.2}
    again = with_calibration(card, "default", block(0.1))
    assert dict(Thresholds(again, MODEL)) == {"default": 0.1, "night": 0.4}
    with pytest.raises(NoCalibration, match="did you mean night"):
        found["nigth"]
    assert found.get("nigth") is None and "nigth" not in found


def test_the_only_one_is_the_default_whatever_its_name_and_two_others_are_not():
    card = with_calibration({}, "night", block(0.4))
    assert Thresholds(card, MODEL).default() == 0.4
    card = with_calibration(card, "day", block(0.3))
    with pytest.raises(UsageError, match="name one of night, day"):
        Thresholds(card, MODEL).default()
    with pytest.raises(UsageError, match="fit one: ivreid calibrate RUN_DIR"):
        Thresholds({}, MODEL).default()


def test_other_weights_precision_or_mirror_images_are_refused():
    fitted = Computed("a" * 16, "fp32", False)
    card = with_calibration({}, "default", block(computed=fitted.to_json()))
    assert Thresholds(card, fitted)["default"] == 0.3
    for model, words in (
        (Computed("b" * 16), "other weights"),
        (Computed("a" * 16, "bf16"), "fitted in fp32, and this model computes in bf16"),
        (Computed("a" * 16, "fp32", True), "fp32 with mirror images"),
    ):
        with pytest.raises(CheckpointError, match=words):
            Thresholds(card, model)["default"]
    older = {"calibration": block()}  # fitted when there was only one way
    assert Thresholds(older, Computed("c" * 16)).default() == 0.3
    with pytest.raises(CheckpointError, match="fp32"):
        Thresholds(older, Computed("c" * 16, "fp16")).default()


@pytest.mark.parametrize(
    "bad", [{"threshold": None}, {"threshold": {"estimate": "x"}}, {"threshold": 0.3}, {}]
)
def test_a_block_without_a_threshold_is_named(bad):
    with pytest.raises(CheckpointError, match="'default' of the card holds no threshold"):
        Thresholds({"calibrations": {"default": bad}}, MODEL).default()
    with pytest.raises(CheckpointError, match="no object"):
        Thresholds({"calibrations": {"default": 3}}, MODEL).default()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_same_compares_by_the_metric_of_the_threshold(metric):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(7, 4)).astype(np.float32)
    distances = pairwise(a, b, metric)
    threshold = float(np.median(distances))
    model = Plain(with_calibration({}, "default", block(threshold, metric)))
    assert model.threshold == model.thresholds["default"] == threshold
    np.testing.assert_array_equal(model.same(a[:, None], b), distances <= threshold)
    np.testing.assert_array_equal(model.same(a, b[:5]), np.diag(distances) <= threshold)
    assert [model.same(a[0], one) for one in b] == (distances[0] <= threshold).tolist()
    assert model.same(a[0], b[0]) in (True, False) and type(model.same(a[0], b[0])) is bool
    with pytest.raises(UsageError, match=r"\(5, 4\) and \(7, 4\)"):
        model.same(a, b)
    with pytest.raises(UsageError, match="no pairs"):
        model.same(a[0], a[0, :1])
    with pytest.raises(DataError, match="embeddings"):
        model.same("someone", b)


@pytest.fixture
def run(tmp_path):
    """A run folder whose weights were tested on features.npz beside them."""
    from ivreid import methods

    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 3)
    card = {**method.card(), "train_pids": [1, 2, 3], "preprocessing": {"size": [32, 16]}}
    (tmp_path / "run").mkdir()
    write_weights(tmp_path / "run" / "weights.safetensors", method.state_dict(), card)
    write_features(tmp_path / "run" / "features.npz", features(10))
    return tmp_path / "run"


def features(first_pid, people=12):
    rng = np.random.default_rng(first_pid)
    pids = np.repeat(np.arange(first_pid, first_pid + people), 4)
    infrared = np.tile([True, True, False, False], people)
    vectors = rng.normal(size=(people, 5))[pids - first_pid] + 0.4 * rng.normal(size=(len(pids), 5))
    return Embeddings(
        vectors, ImageTable(pids, np.where(infrared, 2, 1), np.tile([1, 2], 2 * people), infrared)
    )


def test_features_of_the_test_are_refused_unless_asked_for(run, tmp_path):
    part = features(10).take(np.arange(8, 40)[::-1])  # some of them, in another order, in another place
    write_features(tmp_path / "part.npz", part)
    write_features(tmp_path / "half.npz", part, half=True)
    for source, weights in (
        (run / "features.npz", None),
        (tmp_path / "part.npz", run),
        (tmp_path / "half.npz", run),
    ):
        with pytest.raises(ProtocolError, match=r"(48|32) of the (48|32) images .* was tested on"):
            ivreid.calibrate(source, fpr=0.1, weights=weights)
    assert "calibrations" not in read_card(run / "weights.safetensors")
    found = ivreid.calibrate(tmp_path / "part.npz", fpr=0.1, weights=run, allow_test=True)
    assert found.origin["tested_on"] == 32
    write_features(tmp_path / "others.npz", features(100))  # the same shape, other people
    assert "tested_on" not in ivreid.calibrate(tmp_path / "others.npz", fpr=0.1, weights=run).origin
    write_features(tmp_path / "moved.npz", features(100), split="test")  # away from its run, and still marked
    with pytest.raises(ProtocolError, match="holds the test images of a dataset"):
        ivreid.calibrate(tmp_path / "moved.npz", fpr=0.1)
    assert ivreid.calibrate(tmp_path / "moved.npz", fpr=0.1, allow_test=True).origin["tested_on"] == 48
    shutil.copytree(run, run / "evaluations" / "night" / "run")
    write_features(run / "evaluations" / "night" / "features.npz", features(100))
    with pytest.raises(ProtocolError, match="night"):
        ivreid.calibrate(tmp_path / "others.npz", fpr=0.1, weights=run)


def test_a_stored_threshold_is_bound_to_its_weights_and_the_way_they_compute(run, tmp_path):
    write_features(tmp_path / "f.npz", features(100))
    ivreid.calibrate(tmp_path / "f.npz", fpr=0.1, weights=run)
    night = ivreid.calibrate(tmp_path / "f.npz", fpr=0.3, weights=run, name="night", flip=True)
    tensors, card = read_weights(run / "weights.safetensors")
    print_ = weights_fingerprint(tensors, card)
    assert night.origin["computed"] == {"weights": print_, "precision": "fp32", "flip": True}
    model = ivreid.load(run, device="cpu")
    assert isinstance(model, Embedder) and sorted(model.thresholds) == ["default", "night"]
    assert model.threshold == model.thresholds["default"]
    with pytest.raises(CheckpointError, match="mirror images"):
        model.thresholds["night"]
    assert ivreid.load(run, device="cpu", flip=True).thresholds["night"] > model.threshold
    unit = ivreid.calibrate(tmp_path / "f.npz", fpr=0.3, weights=run, name="unit", flip="unit")
    assert unit.origin["computed"]["flip"] == "unit"
    with pytest.raises(
        CheckpointError,
        match=r"fitted in fp32 with mirror images \(unit\), and .* in fp32 with mirror images;",
    ):
        _ = ivreid.load(run, device="cpu", flip="average").thresholds["unit"]
    assert ivreid.load(run, device="cpu", flip="unit").thresholds["unit"] > model.threshold
    moved = {**card, "num_classes": card["num_classes"], "settings": {**card["settings"], "margin": 9}}
    assert Plain(moved).fingerprint != print_
    with pytest.raises(CheckpointError, match="other weights"):
        _ = Plain(card).threshold
    for name in ("", "two words", "-x", "x" * 41):
        with pytest.raises(UsageError, match="name"):
            ivreid.calibrate(tmp_path / "f.npz", fpr=0.1, weights=run, name=name)
    with pytest.raises(UsageError, match="fp64"):
        ivreid.calibrate(tmp_path / "f.npz", fpr=0.1, weights=run, precision="fp64")


def test_older_calibrations_say_of_their_dataset_that_its_people_are_drawn():
    assert fitted_on_drawn({"synthetic": True}) and fitted_on_drawn({"dataset": {"synthetic": True}})
    for block in ({}, {"synthetic": False}, {"dataset": {"name": "regdb"}}, {"dataset": "synthetic"}):
        assert not fitted_on_drawn(block)
