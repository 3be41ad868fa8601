"""From weights to one self-contained file for onnxruntime, on any machine and from any language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ivreid.errors import UsageError
from ivreid.export.graph import trace
from ivreid.export.parity import BATCHES, Parity, check_parity
from ivreid.inference import Embedder, load, weights_file
from ivreid.io import check_output
from ivreid.models.exported import EXPORTED_FILE, is_exported, require_export, write_exported

To = Literal["onnx"]


@dataclass(frozen=True)
class ExportedModel:
    """What was written.

    Attributes:
        path: The file.
        card: Its card; `export` in it says how it was made and what was found.
        parity: How near the fp32 graph is to the weights.
    """

    path: Path
    card: Mapping[str, Any]
    parity: Parity


def export_model(
    model: Path | str,
    out: Path | str,
    *,
    to: str = "onnx",
    notice: Callable[[str], None] = lambda line: None,
) -> ExportedModel:
    """Write trained weights as one ONNX file that every verb, and every runtime of ONNX, can use.

    Normalisation and L2 are in the graph: images are uint8 (B, H, W, 3) of the card's size. The file is written only
    if it computes what the weights compute, see `check_parity`. Its card is that of the weights, so thresholds stay.

    Args:
        model: A run folder, a weights file, or an address `hf://ORG/NAME[@REVISION]`.
        out: The file to write (.onnx).
        to: The format; there is one.
        notice: Called with a line about each step.

    Raises:
        UsageError: An unknown format, a method that cannot be exported (the message says why), `out` would overwrite
            something else, or the extra `export` is not installed.
        CheckpointError: Weights that cannot be used, or a graph that computes something else: no file is written.
        DataError: `out` cannot be written.
    """
    if to not in get_args(To):
        raise UsageError(f"--to {to!r} is unknown; it is {', '.join(get_args(To))}")
    require_export()
    file = weights_file(model)
    if is_exported(file):
        raise UsageError(f"{file} is exported already; give the weights it comes from")
    check_output(out, EXPORTED_FILE, inputs=[file], size=file.stat().st_size)
    embedder = load(model, device="cpu")
    notice(f"tracing {embedder.network.name}")
    proto = trace(embedder)
    graph = proto.SerializeToString(deterministic=True)
    notice(f"comparing it with the weights in batches of {', '.join(map(str, BATCHES))}")
    parity = check_parity(embedder, graph)
    card = {**embedder.card, "export": export_block(embedder, proto, parity)}
    write_exported(out, graph, card)
    return ExportedModel(Path(out), card, parity)


def export_block(embedder: Embedder, proto: Any, parity: Parity) -> dict[str, Any]:
    """What an exported file's card says of the export.

    The fingerprint of fp32 is that of the weights: what it computes was compared, so that galleries and thresholds of
    the weights are its own.
    """
    return {
        "to": "onnx",
        "precision": "fp32",
        "weights": embedder.fingerprint,
        "fingerprint": embedder.fingerprint,
        "opset": next(one.version for one in proto.opset_import),
        "batches": list(BATCHES),
        "least_cosine": parity.least_cosine,
        "largest_swap": parity.largest_swap,
    }
