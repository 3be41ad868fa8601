"""Weights for use: tensors and a readable card in one safetensors file; nothing in it can run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ivreid.errors import CheckpointError
from ivreid.io import OutputKind
from ivreid.models.exported import is_exported, read_exported, write_exported
from ivreid.models.sealed import Kind, add_tensors, read_info, read_sealed, write_sealed
from ivreid.reading import clean, reason

WEIGHTS = Kind("weights", "weights file", "use weights.safetensors of a run, or see `ivreid import`")
REQUIRED: dict[str, type] = {"method": str, "settings": dict, "num_classes": int}
OPTIONAL: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("preprocessing", "dataset", "selection", "metrics", "versions"), (dict,)),
    **dict.fromkeys(("calibration", "calibrations"), (dict,)),
    **dict.fromkeys(("licence", "created", "dataset.name", "dataset.fingerprint", "selection.on"), (str,)),
    **dict.fromkeys(("train_pids", "selection.pids", "size", "preprocessing.size"), (list, tuple)),
    "dataset.trial": (int,),
}
"""Kinds of the rest, where it is there and not null; lists hold whole numbers."""
TEXTS = ("seen_pictures",)
"""Lists of texts."""
MAX_CLASSES = 100_000


def _is_weights_file(path: Path) -> bool:
    try:
        read_info(path, WEIGHTS)
    except CheckpointError:
        return False
    return True


WEIGHTS_FILE = OutputKind("weights", ".safetensors", _is_weights_file)


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
    check_card(card, str(path))
    write_sealed(path, WEIGHTS, tensors, card)


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and card of a weights file.

    Raises:
        CheckpointError: Missing, damaged, foreign, of another kind, or of a newer format; the message says
            which.
    """
    _refuse_pickles(Path(path))
    tensors, card = read_sealed(path, WEIGHTS)
    check_card(card, str(path))
    return tensors, card


def read_card(path: Path | str) -> dict[str, Any]:
    """The card alone, of a weights file or an exported model; of weights it reads the file's head only.

    Raises:
        CheckpointError: As `read_weights`.
    """
    if is_exported(path):
        card = read_exported(path).card
        check_card(card, str(path))
        return card
    _refuse_pickles(Path(path))
    card, _ = read_info(path, WEIGHTS)
    check_card(card, str(path))
    return card


def store_card(path: Path | str, card: Mapping[str, Any]) -> None:
    """Give a weights file or an exported model another card; what it computes stays, byte by byte.

    Raises:
        CheckpointError: The file or the card cannot be used.
        DataError: It cannot be written; the old file stays.
    """
    check_card(card, str(path))
    if is_exported(path):
        write_exported(path, read_exported(path).graph, card)
        return
    tensors, _ = read_weights(path)
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors")
    write_weights(path, tensors, card)


def weights_fingerprint(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """A 16-digit hash of what weights compute: their tensors, method, settings and preprocessing.

    The rest of the card, a calibration for instance, makes no other model.
    """
    names = ("method", "settings", "num_classes", "preprocessing")
    digest = hashlib.sha256(json.dumps([card.get(name) for name in names], sort_keys=True).encode())
    add_tensors(digest, tensors)
    return digest.hexdigest()[:16]


def model_fingerprint(path: Path | str) -> str:
    """The fingerprint of what a weights file or an exported model computes.

    Raises:
        CheckpointError: As `read_weights`.
    """
    if is_exported(path):
        return str(read_exported(path).card["export"]["fingerprint"])
    return weights_fingerprint(*read_weights(path))


def _refuse_pickles(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    if is_exported(path):
        raise CheckpointError(
            f"{path} is an exported model, whose tensors cannot be taken out; give the weights it was exported from"
        )
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"cannot read {clean(path)}: {reason(error)}") from error
    # a safetensors file starts with its header's length, which may look like anything, then "{"
    if head[8:] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80"):
        raise CheckpointError(
            f"{path} is a pickled checkpoint; convert it first: ivreid import {path.name} --from iv-reid"
        )


def check_card(card: Mapping[str, Any], path: str) -> None:
    """Refuse a card that lacks what building its method needs, or holds values of a wrong kind.

    Raises:
        CheckpointError: The message names the entry and `path`.
    """
    for key, expected in REQUIRED.items():
        if type(card.get(key)) is not expected:
            found = type(card[key]).__name__ if key in card else "nothing"
            raise CheckpointError(f"the card of {path} needs {key!r} ({expected.__name__}), it has {found}")
    _check_optional(card, path)
    if not 1 <= card["num_classes"] <= MAX_CLASSES:
        raise CheckpointError(
            f"the card of {path}: num_classes {card['num_classes']} is not in 1..{MAX_CLASSES}"
        )


def _check_optional(card: Mapping[str, Any], path: str) -> None:
    for key in TEXTS:
        value = card.get(key) or []
        if type(value) is not list or not all(type(one) is str for one in value):
            raise CheckpointError(
                f"the card of {path} has {clean(repr(value), 60)} for {key!r}, not a list of texts"
            )
    for key, kinds in OPTIONAL.items():
        *above, last = key.split(".")
        section = card.get(above[0]) if above else card
        value = section.get(last) if isinstance(section, Mapping) else None
        if value is None:
            continue
        whole = list not in kinds or (type(value) in kinds and all(type(one) is int for one in value))
        if type(value) not in kinds or not whole:
            needed = "a list of whole numbers" if list in kinds else kinds[0].__name__
            raise CheckpointError(
                f"the card of {path} has {clean(repr(value), 60)} for {key!r}, not {needed}"
            )
