"""An fp32 graph in int8: its convolutions and matrix products, per channel, with ranges seen on real images."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ivreid.data.pixels import Pixels
from ivreid.export.graph import tidy
from ivreid.inference.embedder import CPU_CHUNK
from ivreid.models.graph_check import IMAGES, INFRARED
from ivreid.types import BoolArray

HEAVY = ("Conv", "MatMul", "Gemm")
QUANTISED = (*HEAVY, "Add", "Relu", "MaxPool")
"""The heavy operators, and those between them, so that values stay int8 from one to the next."""
LEVELS = ("nothing", "the stem and the head", "the stem and the last quarter", "the stem and the last half")
"""What stays in fp32, tried in this order."""
_SHARE = {2: 3 / 4, 3: 1 / 2}


def quantised(model: Any, pixels: Pixels, infrared: BoolArray) -> Iterator[tuple[str, Any]]:
    """The int8 graphs of an fp32 graph, from the one with most in int8 to the one with least: (what is kept, graph).

    Weights have seven bits: with eight, processors without VNNI overflow where two products are added in 16 bits, and
    one file would give other embeddings on another machine.

    Args:
        model: The fp32 graph, an `onnx.ModelProto`.
        pixels: (N, H, W, 3) images like those it will see; the ranges of its values are measured on them, once.
        infrared: (N,) whether each is infrared.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        source, target, ranges = (Path(folder) / name for name in ("fp32.onnx", "int8.onnx", "ranges.json"))
        onnx.save(model, source)
        for level, kept in enumerate(LEVELS):
            with _quiet():
                quantize_static(
                    source,
                    target,
                    _Batches(pixels, infrared),
                    per_channel=True,
                    reduce_range=True,
                    weight_type=QuantType.QInt8,
                    activation_type=QuantType.QUInt8,
                    nodes_to_exclude=kept_nodes(model, level),
                    op_types_to_quantize=list(QUANTISED),
                    calibration_cache_path=ranges,
                )
            yield kept, tidy(onnx.load(target))


def kept_nodes(model: Any, level: int) -> list[str]:
    """The names of the nodes that stay in fp32.

    The stem is every heavy operator that sees the image before any other does, the head the last heavy one and what
    follows it.
    """
    nodes = list(model.graph.node)
    heavy = [at for at, node in enumerate(nodes) if node.op_type in HEAVY]
    if level == 0 or not heavy:
        return []
    first = heavy[min(int(len(heavy) * _SHARE[level]), len(heavy) - 1)] if level in _SHARE else heavy[-1]
    return [nodes[at].name for at in sorted({*_stem(nodes), *range(first, len(nodes))})]


def _stem(nodes: list[Any]) -> set[int]:
    seen, stem = {IMAGES}, set()
    for at, node in enumerate(nodes):
        if not seen & set(node.input):
            continue
        if node.op_type in HEAVY:
            stem.add(at)
        else:
            seen |= set(node.output)
    return stem


class _Batches:
    """Calibration images as onnxruntime asks for them."""

    def __init__(self, pixels: Pixels, infrared: BoolArray) -> None:
        starts = range(0, len(pixels), CPU_CHUNK)
        self._batches: Iterator[dict[str, Any]] = (
            {IMAGES: pixels[at : at + CPU_CHUNK], INFRARED: infrared[at : at + CPU_CHUNK]} for at in starts
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice about its own steps, which goes through the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
