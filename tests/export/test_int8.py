"""int8: as much of it as Rank-1 and mAP allow, on real images, with thresholds of its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_models import Models
from onnx import TensorProto, helper
from PIL import Image

from ivreid.cli.main import main
from ivreid.datasets import load_dataset
from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.export import accuracy, export_model
from ivreid.export.accuracy import calibration_images, gate_split
from ivreid.export.int8 import make_int8
from ivreid.export.parity import drawn_pixels
from ivreid.export.quantise import LEVELS, kept_nodes
from ivreid.inference import load
from ivreid.models import read_card, read_weights, store_card, write_weights
from ivreid.models.exported import read_exported
from ivreid.synthetic import synthesise
from ivreid.types import Embeddings, Modality


@pytest.fixture(scope="module")
def run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose weights know their dataset and validation identities; the dataset lies in `data` beside it."""
    folder = tmp_path_factory.mktemp("int8")
    synthesise(folder / "data", layout="sysu-mm01", identities=24, images=2, size=(32, 16), seed=1, workers=1)
    dataset = load_dataset("sysu-mm01", folder / "data")
    tensors, card = read_weights(models.weights("iv-reid"))
    card |= {
        "dataset": {"name": "sysu-mm01", "fingerprint": dataset.fingerprint, "trial": None},
        "train_pids": list(dataset.pids("train")),
        "selection": {"on": "validation", "metric": "mAP", "pids": list(dataset.pids("val"))},
    }
    (folder / "run").mkdir()
    write_weights(folder / "run" / "weights.safetensors", tensors, card)
    (folder / "run" / "config.yaml").write_text(f"data:\n  root: {folder / 'data'}\n")
    return folder / "run"


@pytest.fixture(scope="module")
def small(run: Path) -> Path:
    """The run in int8, whatever it costs: what it costs a network of random weights depends on the processor."""
    out = run.parent / "int8.onnx"
    found = export_model(run, out, int8=True, calibrate=run.parent / "data", max_drop=100)
    assert found.int8 is not None and found.int8.kept == "nothing"
    return out


def test_int8_computes_nearly_the_same_in_eight_bits(small: Path, run: Path) -> None:
    exported, weights = load(small), load(run, device="cpu")
    pixels = list(drawn_pixels(9, weights.preprocessing.size, seed=4))
    ours, theirs = exported.embed(pixels, "visible"), weights.embed(pixels, "visible")
    assert np.einsum("nd,nd->n", ours, theirs).min() > 0.9
    assert np.abs(ours - theirs).max() > 1e-6
    nodes = read_exported(small).model.graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) > 10
    weights8 = [t for t in read_exported(small).model.graph.initializer if t.data_type == TensorProto.INT8]
    assert weights8 and max(np.frombuffer(t.raw_data, np.int8).max() for t in weights8) <= 64  # seven bits


def test_the_card_says_what_was_compared_and_forgets_thresholds(small: Path, run: Path) -> None:
    card = read_card(small)
    block = card["export"]
    assert block["precision"] == "int8" and block["weights"] == load(run, device="cpu").fingerprint
    assert (
        block["fingerprint"]
        != block["weights"]
        == read_card(run / "weights.safetensors").get("x", block["weights"])
    )
    assert block["compared_on"] == "validation identities of sysu-mm01" and block["kept_fp32"] == "nothing"
    assert set(block["figures"]) == {"fp32", "int8"} and 0 < block["calibrated_on"] <= 256
    assert "calibration" in read_card(run / "weights.safetensors") and "calibration" not in card


def test_a_threshold_of_another_precision_is_refused_and_its_own_holds(
    small: Path, run: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copy(small, tmp_path / "mine.onnx"))
    with pytest.raises(UsageError, match="no calibration"):
        _ = load(mine).threshold
    with pytest.raises(SystemExit) as left:
        main(["calibrate", str(mine), "--data", str(run.parent / "data"), "--fpr", "0.1"])
    assert left.value.code == 0
    block = read_card(mine)["calibrations"]["default"]
    assert block["computed"]["precision"] == "int8" and block["synthetic"] is True  # drawn people
    assert block["computed"]["weights"] == load(mine).fingerprint
    assert load(mine).threshold == block["threshold"]["estimate"]
    weights = Path(shutil.copytree(run, tmp_path / "run")) / "weights.safetensors"
    card = {key: value for key, value in read_card(weights).items() if key != "calibration"}
    store_card(weights, {**card, "calibrations": {"default": block}})
    with pytest.raises(CheckpointError, match="was fitted with the weights"):
        _ = load(weights, device="cpu").threshold
    old = {**block, "computed": {"weights": None, "precision": "fp32", "flip": "none"}}
    store_card(mine, {**read_card(mine), "calibrations": {"default": old}})
    with pytest.raises(CheckpointError, match=r"fitted in fp32.* computes in int8"):
        _ = load(mine).threshold


class Scores:
    """Figures one after another: of fp32, then of each int8 graph."""

    def __init__(self, *percent: float) -> None:
        self.left = list(percent)

    def __call__(self, embeddings: Embeddings, dataset: Any) -> dict[str, float]:
        return dict.fromkeys(("rank1", "mAP"), self.left.pop(0) / 100)


def attempt(run: Path, model: Path, scores: Scores, max_drop: float) -> Any:
    split = gate_split(run, read_card(run / "weights.safetensors"), None)
    few = replace(split, samples=split.samples[:2], score=scores)
    exported = read_exported(model)
    proto = exported.model
    del proto.metadata_props[:]
    images = drawn_pixels(4, load(model).preprocessing.size, 0), np.array([True, False] * 2)
    return make_int8(proto, exported.card, images, few, max_drop=max_drop, notice=lambda line: None)


def test_more_stays_in_fp32_until_the_figures_hold(run: Path, model: Path) -> None:
    found = attempt(run, model, Scores(90, 80, 85, 89.5, 99), max_drop=0.6)
    assert found.kept == LEVELS[2] and found.after["mAP"] == 89.5 and found.before["rank1"] == 90
    first = attempt(run, model, Scores(90, 89.5), max_drop=0.6)
    assert first.kept == "nothing" and len(first.graph) < len(found.graph)


def test_int8_that_loses_too_much_is_refused(run: Path, model: Path) -> None:
    with pytest.raises(CheckpointError, match=r"loses 0\.70 points in percent .* 0\.6 may be lost; no file"):
        attempt(run, model, Scores(90, 80, 85, 89, 89.3), max_drop=0.6)


def test_collapsed_embeddings_cannot_show_what_int8_costs(
    run: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every figure is then one of ties, which int8 keeps whatever it does."""
    alike = ["COLLAPSED: 9 of 9"]
    monkeypatch.setattr(accuracy, "collapse_notes", lambda embeddings: alike)
    with pytest.raises(
        CheckpointError, match=r"cannot show what int8 costs; no file was written\. COLLAPSED"
    ):
        attempt(run, model, Scores(90, 90), max_drop=0.6)
    answers = iter([[], alike, []])
    monkeypatch.setattr(accuracy, "collapse_notes", lambda embeddings: next(answers))
    found = attempt(run, model, Scores(90, 90, 89.5), max_drop=0.6)
    assert found.kept == LEVELS[1] and found.after["mAP"] == 89.5


def test_what_is_compared_on_and_measured_on(run: Path, models: Models, tmp_path: Path) -> None:
    card = read_card(run / "weights.safetensors")
    split = gate_split(run, card, None)
    assert {s.pid for s in split.samples} == set(card["selection"]["pids"])
    other = gate_split(run, {**card, "selection": None}, None)
    assert other.name == "test identities of sysu-mm01" and other.samples == other.dataset.split("test")
    with pytest.raises(UsageError, match="--data ROOT"):
        gate_split(models.weights("iv-reid"), {}, None)
    embedder = load(run, device="cpu")
    compared = frozenset(card["train_pids"][:5])
    pixels, infrared = calibration_images(run.parent / "data", embedder, without=compared)
    assert pixels.shape[1:] == (*embedder.preprocessing.size, 3) and 0 < infrared.sum() < len(pixels)
    assert len(pixels) < len(calibration_images(run.parent / "data", embedder)[0])
    for modality in Modality:
        (tmp_path / modality.value / "7").mkdir(parents=True)
    Image.new("RGB", (8, 16), "red").save(tmp_path / "visible" / "7" / "a.png")
    with pytest.raises(DataError, match="holds no image"):
        calibration_images(tmp_path, embedder)
    Image.new("L", (8, 16), 9).save(tmp_path / "infrared" / "7" / "a.png")
    pixels, infrared = calibration_images(tmp_path, embedder)
    assert infrared.tolist() == [False, True] and pixels[0, 0, 0].tolist() == [255, 0, 0]
    with pytest.raises(UsageError, match="neither a dataset's folder"):
        calibration_images(tmp_path / "visible", embedder)


def test_options_that_do_not_fit_are_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    with pytest.raises(UsageError, match="--calibrate IMAGES"):
        export_model(run, out, int8=True)
    with pytest.raises(UsageError, match="go with --int8"):
        export_model(run, out, calibrate=run.parent)
    with pytest.raises(UsageError, match="--max-drop -1"):
        export_model(run, out, int8=True, calibrate=run.parent / "data", max_drop=-1)
    assert list(tmp_path.iterdir()) == []


def test_the_stem_the_head_and_what_lies_between() -> None:
    """Two stems side by side, three convolutions, a head: which of them each level keeps."""
    steps = [("Cast", "images", "x"), ("Conv", "x", "a"), ("Relu", "a", "b"), ("Conv", "x", "c")]
    steps += [
        ("Where", "b", "d"),
        ("Conv", "d", "e"),
        ("Conv", "e", "f"),
        ("Conv", "f", "g"),
        ("Conv", "g", "h"),
    ]
    steps += [("ReduceMean", "h", "i"), ("MatMul", "i", "j"), ("Div", "j", "k")]
    nodes = [helper.make_node(op, [given], [made], name=made) for op, given, made in steps]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert kept_nodes(model, 0) == []
    assert kept_nodes(model, 1) == ["a", "c", "j", "k"]
    assert kept_nodes(model, 2) == ["a", "c", "h", "i", "j", "k"]
    assert kept_nodes(model, 3) == ["a", "c", "f", "g", "h", "i", "j", "k"]
