"""Exported models: an ONNX graph and the card of its weights in one file, with digests of both.

The file is the graph's bytes followed by an entry of metadata: protobuf joins what stands one after another, so
every runtime reads it, and a new card changes no byte of the graph. The card's text lies in the metadata under
"ivreid", its digest under "sha256", the graph's length under "graph_bytes" and its digest under "graph_sha256".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.errors import CheckpointError, UsageError
from ivreid.io import OutputKind, atomic_write
from ivreid.models.sealed import FORMAT, TENSOR_DIGEST, TEXT, TEXT_DIGEST, Head, Kind, proved_info
from ivreid.models.wire import structure_bytes
from ivreid.reading import clean, read_bytes

SUFFIX = ".onnx"
EXPORTED = Kind("exported", "exported model", "export weights of your own with `ivreid export`")
GRAPH_BYTES, GRAPH_DIGEST = "graph_bytes", "graph_sha256"
KEYS = {TEXT, TEXT_DIGEST, GRAPH_BYTES, GRAPH_DIGEST}
MAX_BYTES = (2 << 30) - 1
"""A protobuf message holds no more."""
PRECISIONS = ("fp32", "int8")
MAX_STRUCTURE = 4 << 20
"""Bytes of a file besides its large tensors; a ResNet-50 has 0.1 MB. Each may cost a hundred in memory."""


@dataclass(frozen=True)
class Exported:
    """An exported model that is as it was written.

    Attributes:
        model: The parsed graph, an `onnx.ModelProto`.
        graph: Its bytes, without the card.
        card: The card; `export` in it says the precision, the fingerprint of what is computed, and that of the
            weights it comes from.
    """

    model: Any
    graph: bytes
    card: dict[str, Any]


def is_exported(path: Path | str) -> bool:
    """Whether a path names an exported model, by its suffix."""
    return Path(path).suffix.lower() == SUFFIX


def require_export() -> None:
    """Refuse to go on without what the extra `export` brings.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"exported models need onnx and onnxruntime ({error.name} is not installed): pip install 'ivreid[export]'"
        ) from error


def write_exported(path: Path | str, graph: bytes, card: Mapping[str, Any]) -> None:
    """Write a graph and its card whole or not at all.

    Raises:
        CheckpointError: A card that is not JSON, or a graph larger than the format allows.
        DataError: The disk is full or the folder cannot be written; the old file stays.
    """
    data = graph + _tail(path, graph, card)
    if len(data) > MAX_BYTES:
        raise CheckpointError(
            f"{path} would hold {len(data):,} bytes; an ONNX file holds at most {MAX_BYTES:,}"
        )
    with atomic_write(path) as file:
        file.write(data)


def read_exported(path: Path | str) -> Exported:
    """Graph and card of an exported model, both proved to be as they were written.

    Raises:
        CheckpointError: Missing, damaged, foreign, or of a newer format; the message says which.
        UsageError: The extra `export` is not installed.
    """
    require_export()
    import onnx

    data = read_bytes(path, MAX_BYTES, error=CheckpointError)
    said = f"{clean(path)} is not a readable {EXPORTED.noun}"
    try:
        found = structure_bytes(data)
        model = onnx.ModelProto.FromString(data) if found <= MAX_STRUCTURE else None
    except Exception as error:  # protobuf has its own kinds
        raise CheckpointError(f"{said}: it is no ONNX file, or is damaged ({clean(error, 80)})") from error
    if model is None:
        raise CheckpointError(
            f"{said}: {found:,} bytes of it describe the graph, and no network needs more than {MAX_STRUCTURE:,}; it "
            "is refused"
        )
    texts = [(one.key, one.value) for one in model.metadata_props]
    metadata = {key: value for key, value in texts if isinstance(key, str) and isinstance(value, str)}
    if not KEYS & metadata.keys():
        raise CheckpointError(
            f"{clean(path)} holds no card, so it was not written by ivreid; {EXPORTED.advice}"
        )
    length = metadata.get(GRAPH_BYTES, "")
    if metadata.keys() != KEYS or len(texts) != len(KEYS) or not (length.isascii() and length.isdigit()):
        raise CheckpointError(f"{said}: its metadata is not as it was written; use another copy")
    graph = data[: int(length[:12])]
    if hashlib.sha256(graph).hexdigest() != metadata[GRAPH_DIGEST] or data[len(graph) :] != _entries(
        metadata
    ):
        raise CheckpointError(
            f"{clean(path)} is damaged: its graph is not the one that was written (its digest differs); use "
            "another copy"
        )
    seals = {TEXT: metadata[TEXT], TEXT_DIGEST: metadata[TEXT_DIGEST], TENSOR_DIGEST: metadata[GRAPH_DIGEST]}
    card = proved_info(clean(path), Head(seals, {}), EXPORTED)
    _check_block(card.get("export"), clean(path))
    return Exported(model, graph, card)


def _check_block(block: Any, source: str) -> None:
    """What an exported model's card says of the export itself."""
    known = block if isinstance(block, Mapping) else {}
    for key, allowed in (
        ("precision", known.get("precision") in PRECISIONS),
        ("fingerprint", re.fullmatch(r"[0-9a-f]{16}", str(known.get("fingerprint")))),
        ("weights", re.fullmatch(r"[0-9a-f]{16}", str(known.get("weights")))),
    ):
        if not allowed:
            raise CheckpointError(
                f"the card of {source} has {clean(repr(known.get(key)), 60)} for 'export.{key}'; {EXPORTED.advice}"
            )


def _is_exported_file(path: Path) -> bool:
    try:
        read_exported(path)
    except CheckpointError:
        return False
    return True


EXPORTED_FILE = OutputKind("exported models", SUFFIX, _is_exported_file)


def _tail(path: Path | str, graph: bytes, card: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps({**card, "kind": EXPORTED.name, "format": FORMAT}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the card of {path} is not JSON: {error}") from error
    return _entries(
        {
            TEXT: text,
            TEXT_DIGEST: hashlib.sha256(text.encode()).hexdigest(),
            GRAPH_BYTES: str(len(graph)),
            GRAPH_DIGEST: hashlib.sha256(graph).hexdigest(),
        }
    )


def _entries(metadata: Mapping[str, str]) -> bytes:
    """The metadata alone, as bytes that may follow a graph."""
    import onnx

    tail = onnx.ModelProto()
    for key in (TEXT, TEXT_DIGEST, GRAPH_BYTES, GRAPH_DIGEST):
        tail.metadata_props.add(key=key, value=metadata[key])
    return bytes(tail.SerializeToString())
