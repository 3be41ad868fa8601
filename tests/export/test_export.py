"""An exported file computes what its weights compute, and is written only then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_models import Models, method_names
from PIL import Image
from torch import Tensor, nn

import ivreid
from ivreid.cli.main import main
from ivreid.data import Preprocessing
from ivreid.errors import CheckpointError, UsageError
from ivreid.export import export_model, parity, write
from ivreid.export.graph import trace
from ivreid.export.parity import LEAST_SPREAD, check_parity, drawn_pixels, largest_swap, spread
from ivreid.inference import Embedder, load
from ivreid.methods import Method, MethodSettings
from ivreid.models import gem, read_card, read_weights
from ivreid.models.exported import read_exported
from method_batches import OWN_PARTS


@pytest.mark.parametrize("name", method_names())
def test_every_method_exports_and_gives_the_weights_embeddings(models: Models, name: str) -> None:
    exported, weights = load(models.exported(name)), load(models.weights(name), device="cpu")
    pixels = list(drawn_pixels(11, weights.preprocessing.size, seed=5))
    for modality in ("visible", "infrared", ["visible", "infrared"] * 5 + ["infrared"]):
        ours, theirs = exported.embed(pixels, modality), weights.embed(pixels, modality)
        assert ours.shape == (11, weights.embedding_dim) == (11, exported.embedding_dim)
        assert np.einsum("nd,nd->n", ours.astype(float), theirs).min() >= 0.99999
    apart = exported.embed(pixels, "visible") - exported.embed(pixels, "infrared")
    assert (np.abs(apart).max() > 1e-3) == (name in OWN_PARTS)
    block = exported.card["export"]
    assert block["precision"] == "fp32" and block["least_cosine"] >= 0.99999
    assert exported.fingerprint == weights.fingerprint == block["weights"]


def test_any_runtime_of_onnx_gives_the_embeddings_of_pixels(model: Path) -> None:
    """The plain runtime, on the plain file: what a program in another language does."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["images", "infrared"]
    size = load(model).preprocessing.size
    pixels = drawn_pixels(3, size, seed=1)
    infrared = np.array([True, False, True])
    embedding, length = session.run(["embedding", "length"], {"images": pixels, "infrared": infrared})
    _, card = read_weights(model.parent / "weights.safetensors")
    network = ivreid.load(model.parent, device="cpu").network
    mean, std = (np.array(card["preprocessing"][key]) for key in ("mean", "std"))
    inputs = torch.from_numpy(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        vectors = network.embed(inputs, torch.from_numpy(infrared)).numpy()
    np.testing.assert_allclose(embedding * length, vectors, rtol=1e-3, atol=1e-4 * np.abs(vectors).max())
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    metadata = json.loads(onnx.load(str(model)).metadata_props[0].value)
    assert metadata["method"] == "iv-reid" and metadata["preprocessing"] == card["preprocessing"]


def test_mirror_images_are_averaged_as_with_the_weights(model: Path) -> None:
    pixels = list(drawn_pixels(5, load(model).preprocessing.size, seed=2))
    ours = load(model, flip=True).embed(pixels, "visible")
    theirs = load(model.parent, device="cpu", flip=True).embed(pixels, "visible")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(ours - load(model).embed(pixels, "visible")).max() > 1e-3


def test_the_file_tells_nothing_of_this_machine(model: Path) -> None:
    told = onnx.load(model)
    assert sum(len(tensor.raw_data) for tensor in told.graph.initializer) > 0.9 * model.stat().st_size
    for tensor in told.graph.initializer:
        tensor.ClearField("raw_data")  # any three letters stand somewhere in megabytes of weights
    data = told.SerializeToString()
    assert str(Path.cwd()).encode() not in data and b".py" not in data and b"stack_trace" not in data
    assert [path.name for path in model.parent.iterdir() if ".onnx" in path.name] == ["model.onnx"]


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0


def test_the_verb_and_the_verbs_that_take_the_file(
    model: Path, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.onnx"
    run("export", str(models.weights("iv-reid")), "--to", "onnx", "--out", str(out))
    assert "iv-reid: least cosine" in capsys.readouterr().out
    assert out.read_bytes() == model.read_bytes()
    folder = tmp_path / "people" / "3"
    folder.mkdir(parents=True)
    for number, pixels in enumerate(drawn_pixels(4, (64, 32), seed=3)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    rows = []
    for weights in (out, model.parent):
        out = tmp_path / "f.npz"
        run("embed", str(weights), str(folder.parent), "--modality", "visible", "--out", str(out))
        rows.append(ivreid.read_features(out).vectors)
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


def test_what_cannot_be_exported_or_written_is_refused_before_the_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--to 'tflite' is unknown; it is onnx"):
        export_model(model.parent, tmp_path / "a.onnx", to="tflite")
    with pytest.raises(UsageError, match="exported already"):
        export_model(model, tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=r"written as \.onnx"):
        export_model(model.parent, tmp_path / "a.safetensors")
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(UsageError, match="would be overwritten"):
        export_model(model.parent, tmp_path / "other.onnx")
    with pytest.raises(UsageError, match="computes on the CPU"):
        load(model, device="cuda")
    with pytest.raises(UsageError, match="leave the precision bf16 out"):
        load(model, precision="bf16")
    with pytest.raises(CheckpointError, match="give the weights it was exported from"):
        read_weights(model)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'ivreid\[export\]'"):
        load(model)


class TinySettings(MethodSettings):
    pass


class Tiny(Method):
    """A convolution; `how` says what its embedding does besides."""

    name = "tiny"
    citation = "none"
    Settings = TinySettings

    def __init__(self, how: str) -> None:
        super().__init__(TinySettings(), 2, (16, 8))
        torch.manual_seed(0)
        self.conv, self.how, self.embedding_dim = nn.Conv2d(3, 8, 3), how, 8

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        vectors = self.conv(images).mean((2, 3))
        if self.how == "len":
            return vectors.reshape(len(images), -1)
        if self.how == "rows":
            return torch.cat([vectors[infrared], vectors[~infrared]])
        if self.how == "collapsed":  # an untrained head, a diverged run: what is seen hardly matters
            return 1 + 1e-4 * vectors
        if self.how == "blind by night":
            return torch.where(infrared[:, None], 1 + 1e-4 * vectors, vectors)
        if self.how == "empty":  # a norm makes such a channel as large as any
            return torch.cat([vectors, 1e4 * gem(0 * images)], 1)
        if self.how == "batch":  # in evaluation mode this is no method's business
            return vectors - vectors.mean(0)
        return vectors

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        raise NotImplementedError


def tiny(how: str) -> Embedder:
    return Embedder(Tiny(how), Preprocessing(size=(16, 8)), device="cpu", workers=0)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("len", r"'tiny' cannot be exported: .*`images\.shape\[0\]` in place of `len\(images\)`"),
        (
            "rows",
            r"'tiny' cannot be exported: the size of .* cannot be known .* both parts must run on all rows",
        ),
    ],
)
def test_a_method_that_cannot_be_exported_is_told_why(how: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        trace(tiny(how))


def test_the_mean_of_an_empty_channel_is_exported() -> None:
    embedder = tiny("empty")
    found = check_parity(embedder, trace(embedder).SerializeToString())
    assert found.least_cosine > 1 - 1e-6 and found.largest_swap < 1e-6


def test_a_graph_that_computes_something_else_is_refused() -> None:
    sound = tiny("plain")
    graph = trace(sound)
    assert check_parity(sound, graph.SerializeToString()).least_cosine > 0.999999
    kernel = next(one for one in graph.graph.initializer if len(one.dims) == 4)
    values = onnx.numpy_helper.to_array(kernel).copy()
    values[0] *= 1.05
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    with pytest.raises(
        CheckpointError, match=r"differs from the weights: cosine 0\.\d+ .*no file was written"
    ):
        check_parity(sound, graph.SerializeToString())
    for shape in (one.type.tensor_type.shape for one in graph.graph.input):
        shape.dim[0].dim_value = 2
    with pytest.raises(CheckpointError, match="cannot run a batch of 1 "):
        check_parity(sound, graph.SerializeToString())


@pytest.mark.parametrize(("how", "modality"), [("collapsed", "visible"), ("blind by night", "infrared")])
def test_embeddings_that_are_all_alike_prove_nothing(how: str, modality: str) -> None:
    collapsed = tiny(how)
    graph = trace(collapsed).SerializeToString()
    with pytest.raises(
        CheckpointError,
        match=f"most drawn {modality} images one embedding .*no file was written.*export weights",
    ):
        check_parity(collapsed, graph)


def test_spread_is_the_distance_that_most_images_keep_from_most_others() -> None:
    one, other, third = np.eye(3)
    assert spread(np.array([one] * 5 + [other] * 4)) == pytest.approx(0)
    assert spread(np.array([one] * 4 + [other] * 4 + [third])) == pytest.approx(1)
    angle = np.arccos(1 - 2 * LEAST_SPREAD)
    turned = np.array([np.cos(angle), np.sin(angle), 0])
    assert spread(np.array([one, turned, other, third]).astype(np.float64)) >= LEAST_SPREAD
    assert spread(np.array([one, turned])) == pytest.approx(LEAST_SPREAD)


def test_a_refused_graph_leaves_no_file(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = read_exported(model).model

    def damaged(embedder: Embedder) -> object:
        largest = max(exact.graph.initializer, key=lambda one: len(one.raw_data))
        values = onnx.numpy_helper.to_array(largest)
        largest.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(values), largest.name))
        return exact

    monkeypatch.setattr(write, "trace", damaged)
    with pytest.raises(CheckpointError, match="no file was written"):
        export_model(model.parent, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_swaps_are_measured_by_the_distances_that_change_places() -> None:
    expected = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.4]])
    assert largest_swap(expected, np.array([[1.0, 2.0, 3.0], [7.0, 8.0, 2.0]])) == 0
    assert largest_swap(expected, np.array([[2.0, 1.0, 3.0], [8.0, 7.0, 2.0]])) == pytest.approx(0.1)
    assert largest_swap(expected, np.array([[3.0, 2.0, 1.0], [1.0, 1.0, 2.0]])) == pytest.approx(0.2)


def test_a_ranking_beyond_ties_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = tiny("plain")
    graph = trace(sound).SerializeToString()
    monkeypatch.setattr(parity, "largest_swap", lambda expected, found: 2e-5)
    with pytest.raises(CheckpointError, match=r"differ by 2\.0e-05 change places"):
        check_parity(sound, graph)


def test_a_card_is_stored_without_touching_the_graph(model: Path, tmp_path: Path) -> None:
    from ivreid.models import store_card

    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model.read_bytes())
    before = read_exported(copy)
    store_card(copy, {**read_card(copy), "licence": "MIT"})
    after = read_exported(copy)
    assert after.graph == before.graph and read_card(copy)["licence"] == "MIT"
    assert {**after.card, "licence": 0} == {**before.card, "licence": 0}
