"""From weights to one self-contained file for onnxruntime, on any machine and from any language."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ivreid.data.pixels import Pixels
from ivreid.errors import UsageError
from ivreid.export.accuracy import GateSplit, calibration_images, gate_split
from ivreid.export.graph import trace
from ivreid.export.int8 import Int8, make_int8
from ivreid.export.parity import BATCHES, Parity, check_parity
from ivreid.inference import Embedder, load, weights_file
from ivreid.io import check_output
from ivreid.models.exported import EXPORTED_FILE, is_exported, require_export, write_exported
from ivreid.types import BoolArray, Progress

To = Literal["onnx"]
MAX_DROP = 1.0
"""Points in percent of Rank-1 and mAP that int8 may cost."""


@dataclass(frozen=True)
class ExportedModel:
    """What was written.

    Attributes:
        path: The file.
        card: Its card; `export` in it says how it was made and what was found.
        parity: How near the fp32 graph is to the weights.
        int8: What int8 costs, where it was asked for.
    """

    path: Path
    card: Mapping[str, Any]
    parity: Parity
    int8: Int8 | None = None


def export_model(
    model: Path | str,
    out: Path | str,
    *,
    to: str = "onnx",
    int8: bool = False,
    calibrate: Path | str | None = None,
    data_root: Path | str | None = None,
    max_drop: float = MAX_DROP,
    notice: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> ExportedModel:
    """Write trained weights as one ONNX file that every verb, and every runtime of ONNX, can use.

    Normalisation and L2 are in the graph: images are uint8 (B, H, W, 3) of the card's size. The file is written only
    if it computes what the weights compute, see `check_parity`. The card of fp32 is that of the weights, so thresholds
    stay. int8 is written only if Rank-1 and mAP stay, and its thresholds must be fitted anew.

    Args:
        model: A run folder, a weights file, or an address `hf://ORG/NAME[@REVISION]`.
        out: The file to write (.onnx).
        to: The format; there is one.
        int8: Convolutions and matrix products in int8.
        calibrate: With int8, images of both modalities to measure its ranges on, see `calibration_images`.
        data_root: With int8, the dataset to compare on, where the run does not say it, see `gate_split`.
        max_drop: With int8, points in percent by which Rank-1 and mAP may each fall.
        notice: Called with a line about each step.
        progress: With int8, called with (images embedded, images in all) of each comparison.

    Raises:
        UsageError: An unknown format, a method that cannot be exported (the message says why), `out` would overwrite
            something else, options that do not fit, or the extra `export` is not installed.
        CheckpointError: Weights that cannot be used, a graph that computes something else, or int8 that loses more
            than `max_drop`: no file is written.
        DataError, ImageError, ProtocolError: `out` cannot be written, or images that cannot be used.
    """
    if to not in get_args(To):
        raise UsageError(f"--to {to!r} is unknown; it is {', '.join(get_args(To))}")
    if int8 and calibrate is None:
        raise UsageError(
            "int8 measures its ranges on images; give some of both modalities with --calibrate IMAGES"
        )
    if not int8 and (calibrate is not None or data_root is not None):
        raise UsageError("--calibrate and --data go with --int8; fp32 needs no images")
    if not (math.isfinite(max_drop) and 0 <= max_drop <= 100):
        raise UsageError(f"--max-drop {max_drop:g}: points in percent lie between 0 and 100")
    require_export()
    file = weights_file(model)
    if is_exported(file):
        raise UsageError(f"{file} is exported already; give the weights it comes from")
    inputs = [file, *([] if calibrate is None else [calibrate])]
    check_output(out, EXPORTED_FILE, inputs=inputs, size=file.stat().st_size)
    embedder = load(model, device="cpu")
    prepared = _prepare(model, embedder, calibrate, data_root) if calibrate is not None else None
    notice(f"tracing {embedder.network.name}")
    proto = trace(embedder)
    graph = proto.SerializeToString(deterministic=True)
    notice(f"comparing it with the weights in batches of {', '.join(map(str, BATCHES))}")
    parity = check_parity(embedder, graph)
    card: Mapping[str, Any] = {**embedder.card, "export": export_block(embedder, proto, parity)}
    found = None
    if prepared is not None:
        found = make_int8(proto, card, *prepared, max_drop=max_drop, notice=notice, progress=progress)
        graph, card = found.graph, found.card
    write_exported(out, graph, card)
    return ExportedModel(Path(out), card, parity, found)


def _prepare(
    model: Path | str, embedder: Embedder, calibrate: Path | str, data_root: Path | str | None
) -> tuple[tuple[Pixels, BoolArray], GateSplit]:
    """What int8 is measured and compared on; before the work, so that a wrong path is told at once."""
    split = gate_split(model, embedder.card, data_root)
    compared = frozenset(sample.pid for sample in split.samples if sample.pid >= 0)
    return calibration_images(calibrate, embedder, without=compared), split


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
