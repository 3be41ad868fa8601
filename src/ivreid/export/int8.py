"""The int8 graph of a network with as little in fp32 as its figures allow, or none."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.data.pixels import Pixels
from ivreid.errors import CheckpointError
from ivreid.export.accuracy import FIGURES, GateSplit
from ivreid.export.quantise import quantised
from ivreid.inference import load
from ivreid.models.exported import write_exported
from ivreid.types import BoolArray, Progress


@dataclass(frozen=True)
class Int8:
    """An int8 graph that passed.

    Attributes:
        graph: Its bytes.
        card: The card to write with it: thresholds of fp32 are not in it.
        before, after: Rank-1 and mAP in percent, of fp32 and int8.
        kept: What stays in fp32.
        split: What the figures are of.
    """

    graph: bytes
    card: Mapping[str, Any]
    before: Mapping[str, float]
    after: Mapping[str, float]
    kept: str
    split: str


def make_int8(
    model: Any,
    card: Mapping[str, Any],
    images: tuple[Pixels, BoolArray],
    split: GateSplit,
    *,
    max_drop: float,
    notice: Callable[[str], None],
    progress: Progress | None = None,
) -> Int8:
    """Quantise, compare, and keep more in fp32 until the figures hold.

    Args:
        model: The fp32 graph, an `onnx.ModelProto`.
        card: Its card, with the block `export`.
        images: What its ranges are measured on, and which are infrared.
        split: What it is compared on.
        max_drop: Points in percent by which Rank-1 and mAP may each fall.
        notice: Called with a line about each attempt.
        progress: Called with (images embedded, images in all) of each.

    Raises:
        CheckpointError: No attempt holds the figures, or the embeddings in fp32 have collapsed: nothing may be written.
    """
    worst = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_exported(file, model.SerializeToString(deterministic=True), card)
        before, collapsed = split.figures(load(file), progress)
        if collapsed:
            raise CheckpointError(
                f"the {split.name} cannot show what int8 costs; no file was written. {collapsed}"
            )
        for kept, proto in quantised(model, *images):
            graph = proto.SerializeToString(deterministic=True)
            told = _card(card, graph, kept, len(images[0]), split, max_drop)
            write_exported(file, graph, told)
            after, collapsed = split.figures(load(file), progress)
            drops = {name: before[name] - after[name] for name in FIGURES}
            notice(
                f"int8 with {kept} in fp32: "
                + ", ".join(f"{name} {before[name]:.2f} -> {after[name]:.2f}" for name in FIGURES)
                + (f"; {collapsed}" if collapsed else "")
            )
            if collapsed:  # figures of ties
                drops = dict(before)
            elif max(drops.values()) <= max_drop:
                told["export"] |= {"figures": {"fp32": before, "int8": after}}
                return Int8(graph, told, before, after, kept, split.name)
            worst = min(worst, max(drops.values()))
    raise CheckpointError(
        f"int8 loses {worst:.2f} points in percent of Rank-1 or mAP on the {split.name} at best, and {max_drop:g} may be lost; "
        "no file was written. Calibrate on images nearer to these, allow more (--max-drop), or stay with fp32"
    )


def _card(
    card: Mapping[str, Any], graph: bytes, kept: str, images: int, split: GateSplit, max_drop: float
) -> dict[str, Any]:
    """The card of an int8 graph: distances are others, so thresholds must be fitted anew."""
    block = {
        **card["export"],
        "precision": "int8",
        "fingerprint": hashlib.sha256(graph).hexdigest()[:16],
        "kept_fp32": kept,
        "calibrated_on": images,
        "compared_on": split.name,
        "max_drop": max_drop,
    }
    rest = {key: value for key, value in card.items() if key not in ("calibration", "calibrations")}
    return {**rest, "export": block}
