"""What an ONNX graph may hold before a runtime sees it: nothing from elsewhere, and no more memory than a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ivreid.errors import CheckpointError
from ivreid.reading import clean

IMAGES, INFRARED = "images", "infrared"
EMBEDDING, LENGTH = "embedding", "length"
INPUTS, OUTPUTS = (IMAGES, INFRARED), (EMBEDDING, LENGTH)
"""uint8 (B, H, W, 3) and bool (B,) become float32 (B, D) of length 1, and (B, 1): the lengths before."""
BATCH = 8
"""Images for which memory is reckoned."""
MAX_VALUE_BYTES = 1 << 30
"""Of one value between two operators, for so many images."""
MAX_DIM = 1 << 20
_REFUSED = {"If", "Loop", "Scan", "SequenceMap", "RandomNormal", "RandomUniform", "Multinomial", "Bernoulli"}
_SMALL = 4096


def check_graph(model: Any, size: tuple[int, int], source: str) -> int:
    """Refuse a graph that is none of ours; returns the length of its embeddings.

    Args:
        model: A parsed `onnx.ModelProto`.
        size: Height and width of its images, by the card.
        source: The file, for messages.

    Raises:
        CheckpointError: As `graph_problem` says.
    """
    problem = graph_problem(model, size)
    if problem is not None:
        raise CheckpointError(f"{source} is refused: {problem}; export the weights anew with `ivreid export`")
    return int(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def graph_problem(model: Any, size: tuple[int, int]) -> str | None:
    """Why a graph is refused, None where it is not.

    It is for other inputs or outputs than ours, operators of other makers or with branches and loops in them, tensors
    from other files, and values larger than the budget or of unknown size.
    """
    try:
        return (
            _foreign(model)
            or next(_outside_tensors(model.graph), None)
            or _other_ends(model.graph, size)
            or _unbounded(model)
        )
    except Exception as error:  # hostile bytes provoke many kinds: names that are no text, unknown types
        return f"it cannot be understood ({type(error).__name__}: {clean(error, 120)})"


def _foreign(model: Any) -> str | None:
    for domain in (*(one.domain for one in model.opset_import), *(node.domain for node in model.graph.node)):
        if domain not in ("", "ai.onnx"):
            return f"it uses operators of {clean(domain, 60)!r}, which are not ONNX's own"
    if model.functions or model.training_info or model.graph.sparse_initializer:
        return "it holds functions, training steps or sparse tensors"
    for node in model.graph.node:
        inner = any(part.HasField("g") or part.graphs for part in node.attribute)
        if inner or node.op_type.removesuffix("Like") in _REFUSED:
            return f"it has an operator {clean(node.op_type, 60)}, with branches, loops or chance in it"
    return None


def _outside_tensors(graph: Any) -> Iterator[str]:
    """Tensors whose values lie in another file, or that are not as long as their shape."""
    from onnx import TensorProto, helper

    inner = [t for node in graph.node for part in node.attribute for t in (part.t, *part.tensors)]
    for tensor in (*graph.initializer, *inner):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield f"the values of {clean(tensor.name, 60)!r} lie in another file"
    for tensor in graph.initializer:
        count = math.prod(tensor.dims)
        known = tensor.data_type in helper.get_all_tensor_dtypes() and tensor.data_type != TensorProto.STRING
        if not known or min(tensor.dims, default=0) < 0 or not tensor.HasField("raw_data"):
            yield f"the tensor {clean(tensor.name, 60)!r} holds no plain numbers"
        elif len(tensor.raw_data) != count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize:
            yield f"the tensor {clean(tensor.name, 60)!r} is not as long as its shape says"


def _other_ends(graph: Any, size: tuple[int, int]) -> str | None:
    from onnx import TensorProto

    wanted = ((TensorProto.UINT8, (None, *size, 3)), (TensorProto.BOOL, (None,)))
    inputs = [(one.type.tensor_type.elem_type, _shape(one)) for one in graph.input]
    if tuple(one.name for one in graph.input) != INPUTS or tuple(inputs) != wanted:
        return (
            f"its inputs are not {IMAGES} (B, {size[0]}, {size[1]}, 3) of uint8 and {INFRARED} (B,) of bool"
        )
    outputs = [_shape(one) for one in graph.output]
    floats = all(one.type.tensor_type.elem_type == TensorProto.FLOAT for one in graph.output)
    if (
        tuple(one.name for one in graph.output) != OUTPUTS
        or not floats
        or [len(s) for s in outputs] != [2, 2]
    ):
        return f"its outputs are not {EMBEDDING} (B, D) and {LENGTH} (B, 1) of float32"
    if outputs[0][1] is None or not 1 <= outputs[0][1] <= MAX_DIM:
        return f"its embeddings have a length of {outputs[0][1]}"
    return None


def _shape(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)


def _unbounded(model: Any) -> str | None:
    """A value whose size for `BATCH` images is unknown or beyond the budget, by ONNX's own shape inference."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(
            _outline(model), check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:  # it has many kinds
        return f"its shapes do not fit each other ({clean(error, 120)})"
    shapes = {one.name: _shape(one) for one in (*inferred.graph.value_info, *inferred.graph.output)}
    for node in model.graph.node:
        for name in filter(None, node.output):
            shape = shapes.get(name)
            if shape is None or any(side is None for side in shape):
                return f"the size of {clean(name, 60)!r}, by {clean(node.op_type, 40)}, cannot be known beforehand"
            if 8 * math.prod(side or 0 for side in shape) > MAX_VALUE_BYTES:
                return (
                    f"{clean(name, 60)!r} has {shape} values for {BATCH} images, more than any network needs"
                )
    return None


def _outline(model: Any) -> Any:
    """The graph for `BATCH` images, its large tensors as inputs without values, nothing said of what is between."""
    import onnx

    outline = onnx.ModelProto(ir_version=model.ir_version)
    outline.opset_import.extend(model.opset_import)
    graph = outline.graph
    graph.name = "outline"
    graph.node.extend(model.graph.node)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for given in model.graph.input:
        graph.input.append(given)
        first = graph.input[-1].type.tensor_type.shape.dim[0]
        first.Clear()
        first.dim_value = BATCH
    for found in model.graph.output:
        graph.output.add(name=found.name).type.tensor_type.elem_type = found.type.tensor_type.elem_type
    return outline
