"""Exported files from anyone: proved, or refused before a runtime sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exported_graphs import CARD, small_graph, written
from ivreid.errors import CheckpointError, IvreidError
from ivreid.inference import load
from ivreid.models import exported, read_card
from ivreid.models.exported import read_exported, write_exported
from ivreid.models.wire import structure_bytes
from ivreid.verify import verify_files


def add(model: Any, op: str, *inputs: str, domain: str = "", **attributes: Any) -> None:
    model.graph.node.append(helper.make_node(op, list(inputs), ["added"], domain=domain, **attributes))


def with_domain(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    add(model, "Gelu", "means", domain="com.microsoft")


def with_loop(model: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    add(model, "Loop", "", "", body=body)


def with_chance(model: Any) -> None:
    add(model, "RandomNormalLike", "means")


def with_function(model: Any) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(
        helper.make_function("own", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 20)])
    )


def with_outside_values(model: Any) -> None:
    tensor = model.graph.initializer[2]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def with_outside_constant(model: Any) -> None:
    value = TensorProto(data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="../secret")
    add(model, "Constant", value=value)


def with_short_values(model: Any) -> None:
    model.graph.initializer[2].dims[0] = 1 << 40


def with_a_bomb(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "vast"))
    add(model, "ConstantOfShape", "vast")


def with_a_growing_bomb(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones((60_000, 1), np.float32), "tall"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 60_000), np.float32), "wide"))
    add(model, "MatMul", "tall", "wide")


def with_unknown_size(model: Any) -> None:
    add(model, "NonZero", "infrared")


def with_another_input(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 99


def with_another_output(model: Any) -> None:
    model.graph.output[0].name = "vectors"


def with_wrong_shapes(model: Any) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones((5, 4), np.float32), "matrix"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_domain, "operators of 'com.microsoft'"),
        (with_loop, "an operator Loop"),
        (with_chance, "an operator RandomNormalLike"),
        (with_function, "functions"),
        (with_outside_values, "the values of 'matrix' lie in another file"),
        (with_outside_constant, "lie in another file"),
        (with_short_values, "'matrix' is not as long as its shape says"),
        (with_a_bomb, "more than any network needs"),
        (with_a_growing_bomb, "more than any network needs"),
        (with_unknown_size, "cannot be known beforehand"),
        (with_another_input, "its inputs are not images"),
        (with_another_output, "its outputs are not embedding"),
        (with_wrong_shapes, "do not fit each other"),
    ],
)
def test_a_graph_that_is_none_of_ours_is_refused(
    change: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    model = small_graph()
    assert load(written(tmp_path, model)).embed(np.full((1, 16, 8, 3), 9, np.uint8), "visible").shape == (
        1,
        4,
    )
    change(model)
    with pytest.raises(CheckpointError, match=f"is refused: .*{said}.*; export the weights anew"):
        load(written(tmp_path, model))


def test_what_the_runtime_refuses_is_one_message(tmp_path: Path) -> None:
    model = small_graph()
    model.graph.node[3].attribute.add(name="unknown", i=1, type=onnx.AttributeProto.INT)
    with pytest.raises(CheckpointError, match="onnxruntime cannot use"):
        load(written(tmp_path, model))


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (None, "export.precision"),
        ({**CARD["export"], "precision": "int4"}, "'int4' for 'export.precision'"),  # type: ignore[dict-item]
        ({**CARD["export"], "fingerprint": "x"}, "'x' for 'export.fingerprint'"),  # type: ignore[dict-item]
        ({"precision": "fp32", "fingerprint": "0" * 16}, "export.weights"),
    ],
)
def test_a_card_that_does_not_say_what_is_computed_is_refused(
    block: object, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_card(written(tmp_path, small_graph(), export=block))
    with pytest.raises(CheckpointError, match="'num_classes'"):
        load(written(tmp_path, small_graph(), num_classes="many"))
    with pytest.raises(CheckpointError, match="preprocessing"):
        load(written(tmp_path, small_graph(), preprocessing={"size": [3]}))


def test_other_peoples_onnx_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(small_graph().SerializeToString())
    with pytest.raises(CheckpointError, match="holds no card, so it was not written by ivreid"):
        load(path)
    path.write_bytes(b"no protobuf")
    with pytest.raises(CheckpointError, match="no ONNX file, or is damaged"):
        load(path)
    (report,) = verify_files(path)
    assert report.what == "exported model" and "no ONNX file" in report.problem


def test_a_few_bytes_that_become_much_memory_are_refused_unparsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three million empty nodes: 12 MB in the file, gigabytes as objects."""
    nodes = b"\x0a\x00" * 3_000_000
    length = len(nodes)
    size = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21])
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x3a" + size + nodes)
    assert structure_bytes(small_graph().SerializeToString()) < 1000

    def never(data: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(onnx.ModelProto, "FromString", never, raising=False)
    with pytest.raises(CheckpointError, match="more than 1,000,000 fields"):
        read_exported(path)
    monkeypatch.setattr(exported, "MAX_STRUCTURE", 100)
    written(tmp_path, small_graph())
    with pytest.raises(CheckpointError, match="bytes of it describe the graph"):
        read_exported(path)


def test_values_of_tensors_are_no_structure() -> None:
    model = small_graph()
    few = structure_bytes(model.SerializeToString())
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones((3, 5000), np.float32), "matrix"))
    many = structure_bytes(model.SerializeToString())
    assert abs(many - few) < 20 and len(model.SerializeToString()) > 60_000


def test_every_single_changed_byte_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path, small_graph())
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(CheckpointError):
            read_card(path)
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(CheckpointError):
            read_card(path)


@pytest.mark.campaign(slice=60)
def test_random_damage_with_right_digests_is_refused_in_one_message_or_harmless(
    rng: Random, tmp_path: Path
) -> None:
    """Whoever writes a file can write its digests too: then the graph is judged by what it holds."""
    data = bytearray(small_graph().SerializeToString())
    for _ in range(rng.choice((1, 2, 5))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path = tmp_path / "model.onnx"
    write_exported(path, bytes(data), CARD)
    assert hashlib.sha256(data).hexdigest().encode() in path.read_bytes()
    try:
        vectors = load(path).embed(np.full((2, 16, 8, 3), 9, np.uint8), "visible")
    except IvreidError as error:
        assert 0 < len(str(error)) < 2000
    else:
        assert np.isfinite(vectors).all() and len(vectors) == 2
