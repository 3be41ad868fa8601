"""Weights for use: tensors and a readable card in one safetensors file; nothing in it can run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ivreid.errors import CheckpointError
from ivreid.io import atomic_write

FORMAT = 1
KIND = "weights"
METADATA_KEY = "ivreid"
REQUIRED: dict[str, type] = {"method": str, "settings": dict, "num_classes": int}
MAX_CLASSES = 100_000


def write_weights(path: Path | str, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write weights whole or not at all.

    Args:
        path: Ends in .safetensors by convention.
        tensors: Named tensors on any device.
        card: JSON values: at least method, settings and num_classes; also preprocessing, dataset, train_pids,
            metrics, versions, licence and created, as far as known. `format` and `kind` are filled in.

    Raises:
        CheckpointError: A card that lacks what `read_weights` needs, or is not JSON.
        DataError: The disk is full or the folder cannot be written; the old file stays.
    """
    full = {**card, "format": FORMAT, "kind": KIND}
    _check(full, str(path))
    try:
        text = json.dumps(full, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the card of {path} is not JSON: {error}") from error
    # clone: the format has no views, and two names may share one storage
    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    data = safetensors.torch.save(plain, metadata={METADATA_KEY: text})
    with atomic_write(path) as file:
        file.write(data)


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and card of a weights file.

    Raises:
        CheckpointError: Missing, damaged, foreign, of another kind, or of a newer format; the message says
            which.
    """
    card = read_card(path)
    try:
        return safetensors.torch.load_file(path), card
    except Exception as error:  # safetensors raises its own kinds and OSError
        raise CheckpointError(f"{path} is damaged: {error}") from error


def read_card(path: Path | str) -> dict[str, Any]:
    """The card alone; reads the file's head only.

    Raises:
        CheckpointError: As `read_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    with path.open("rb") as file:
        head = file.read(9)
    # a safetensors file starts with its header's length, which may look like anything, then "{"
    if head[8:] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80"):
        raise CheckpointError(
            f"{path} is a pickled checkpoint; convert it first: ivreid import {path.name} --from iv-reid"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except Exception as error:
        raise CheckpointError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    if METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{path} holds tensors but no card, so it was not written by ivreid; see `ivreid import`"
        )
    try:
        card = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the card of {path} is damaged: {error}") from error
    _check(card, str(path))
    return dict(card)


def weights_fingerprint(path: Path | str) -> str:
    """A 16-digit hash of what a weights file computes: its tensors, method, settings and preprocessing.

    The rest of the card, a calibration for instance, makes no other model.

    Raises:
        CheckpointError: As `read_weights`.
    """
    tensors, card = read_weights(path)
    names = ("method", "settings", "num_classes", "preprocessing")
    digest = hashlib.sha256(json.dumps([card.get(name) for name in names], sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _check(card: Any, path: str) -> None:
    if not isinstance(card, dict):
        raise CheckpointError(f"the card of {path} must be a JSON object")
    kind, version = card.get("kind"), card.get("format")
    if kind != KIND:
        hint = "; use weights.safetensors of the same run" if kind == "checkpoint" else ""
        raise CheckpointError(f"{path} is of kind {kind!r}, not {KIND!r}{hint}")
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has weights format {version!r}; this version of ivreid reads format {FORMAT}"
        )
    for key, expected in REQUIRED.items():
        if type(card.get(key)) is not expected:
            found = type(card[key]).__name__ if key in card else "nothing"
            raise CheckpointError(f"the card of {path} needs {key!r} ({expected.__name__}), it has {found}")
    if not 1 <= card["num_classes"] <= MAX_CLASSES:
        raise CheckpointError(
            f"the card of {path}: num_classes {card['num_classes']} is not in 1..{MAX_CLASSES}"
        )
