"""A graph of our form that is made and run in a moment: no tracing, no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ivreid.models.exported import write_exported

SIZE = (16, 8)
CARD = {
    "method": "iv-reid",
    "settings": {},
    "num_classes": 2,
    "preprocessing": {"size": list(SIZE)},
    "export": {"precision": "fp32", "weights": "0" * 16, "fingerprint": "0" * 16},
}


def small_graph() -> Any:
    """A graph of our form: the mean colour of an image, times a matrix."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "matrix"], ["vectors"]),
        helper.make_node("ReduceL2", ["vectors", "last"], ["length"], keepdims=1),
        helper.make_node("Div", ["vectors", "length"], ["embedding"]),
    ]
    tensors = [
        numpy_helper.from_array(np.array([1, 2]), "axes"),
        numpy_helper.from_array(np.array([1]), "last"),
        numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "matrix"),
    ]
    inputs = [
        helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", *SIZE, 3]),
        helper.make_tensor_value_info("infrared", TensorProto.BOOL, ["batch"]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("embedding", 4), ("length", 1))
    ]
    graph = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def written(folder: Path, model: Any, **card: Any) -> Path:
    path = folder / "model.onnx"
    write_exported(path, model.SerializeToString(), {**CARD, **card})
    return path
