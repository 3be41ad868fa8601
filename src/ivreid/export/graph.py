"""From a network to an ONNX graph: pixels in, embeddings of length 1 out."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ivreid.errors import UsageError
from ivreid.inference import Embedder
from ivreid.models.graph_check import INPUTS, OUTPUTS, graph_problem
from ivreid.reading import clean

TRACED = 2
"""Images of the batch that is traced: with one, the exporter takes every batch to be one image."""


class PixelsToEmbedding(nn.Module):
    """A network with what stands before and after it: normalisation, and L2."""

    scale: Tensor
    shift: Tensor

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        how = embedder.preprocessing
        self.network = embedder.network
        std = torch.tensor(how.std, dtype=torch.float64)
        scale, shift = 1 / (255 * std), torch.tensor(how.mean, dtype=torch.float64) / std
        self.register_buffer("scale", scale.float())
        self.register_buffer("shift", shift.float())

    def forward(self, images: Tensor, infrared: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, 3) uint8 and (B,) bool -> (B, D) of length 1, and (B, 1), the lengths before."""
        x = (images.to(torch.float32) * self.scale - self.shift).permute(0, 3, 1, 2)
        vectors = self.network.embed(x, infrared)
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        return vectors / lengths.clamp(min=1e-12), lengths


def trace(embedder: Embedder) -> Any:
    """The graph of an embedder's network, an `onnx.ModelProto` for any number of images.

    Args:
        embedder: Of weights, on the CPU.

    Raises:
        UsageError: The method cannot be exported; the message says why.
    """
    name = embedder.network.name
    network = PixelsToEmbedding(embedder).to(memory_format=torch.contiguous_format).eval()
    height, width = embedder.preprocessing.size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (TRACED, height, width, 3), dtype=torch.uint8, generator=generator)
    batch = {0: torch.export.Dim("batch")}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            program = torch.onnx.export(
                network,
                (images, torch.tensor([False, True])),
                dynamo=True,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                dynamic_shapes=dict.fromkeys(INPUTS, batch),
                verbose=False,
            )
    except Exception as error:  # the exporter has many kinds, and a method's own code runs in it
        raise _cannot(name, clean(error.__cause__ or error, 300)) from error
    model = program.model_proto  # type: ignore[union-attr]
    given = {one.name: one.type.tensor_type.shape for one in model.graph.input}
    if given.keys() != set(INPUTS) or any(shape.dim[0].HasField("dim_value") for shape in given.values()):
        raise _cannot(
            name,
            f"its `embed` fixes the number of images at {TRACED}; it must not depend on their number: "
            "`images.shape[0]` in place of `len(images)`, no branches by rows",
        )
    model = tidy(model)
    if (problem := graph_problem(model, embedder.preprocessing.size)) is not None:
        raise _cannot(
            name,
            f"{problem}. Where `embed` divides a batch by modality, both parts must run on all rows in a graph: see "
            "`torch.compiler.is_exporting()` in ivreid/models/stems.py",
        )
    return model


def tidy(model: Any) -> Any:
    """The graph without what exporters note in it (paths and code of this machine), tensors as plain bytes."""
    from onnx import numpy_helper

    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    graph.name, model.producer_name, model.producer_version = "ivreid", "ivreid", ""
    for tensor in graph.initializer:
        if not tensor.HasField("raw_data"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return model


def _cannot(method: str, why: str) -> UsageError:
    return UsageError(f"the method {method!r} cannot be exported: {why}")
