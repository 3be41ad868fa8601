"""An exported model behind the same `embed`: onnxruntime computes, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from ivreid.data import Preprocessing
from ivreid.data.pixels import Pixels
from ivreid.errors import CheckpointError, UsageError
from ivreid.inference.embedder import Embedder
from ivreid.inference.test_time import SPECTRA, Flip
from ivreid.models.exported import read_exported
from ivreid.models.graph_check import EMBEDDING, IMAGES, INFRARED, LENGTH, check_graph
from ivreid.models.weights import check_card
from ivreid.reading import clean
from ivreid.types import BoolArray, FloatArray


class ExportedEmbedder(Embedder):
    """An exported model ready to embed images.

    Args:
        path: The file, see `ivreid.export`.
        device: auto or cpu.
        batch_size: Images read at a time; changes speed and memory only.
        workers: Decoding threads; None chooses by the cores.
        flip, spectra: As of an `Embedder`.

    Attributes:
        session: The runtime's session, for callers who want it: images (B, H, W, 3) uint8 and infrared (B,) bool give
            embedding (B, D) float32 of length 1, and length (B, 1), what it was before.

    Raises:
        CheckpointError: A file that is damaged, foreign or refused.
        UsageError: Another device than the CPU, or the extra `export` is not installed.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        device: str | torch.device = "auto",
        batch_size: int = 64,
        workers: int | None = None,
        flip: Flip | bool = False,
        spectra: bool = False,
    ) -> None:
        if str(device) not in ("auto", "cpu"):
            raise UsageError(
                f"{clean(path)} is an exported model, which computes on the CPU; use the weights it was exported from on "
                f"{device}"
            )
        found = read_exported(path)
        check_card(found.card, clean(path))
        block = found.card["export"]
        self._configure(
            preprocessing_of(found.card, clean(path)),
            device="cpu",
            precision=block["precision"],
            batch_size=batch_size,
            workers=workers,
            flip=flip,
            spectra=spectra,
            card=found.card,
            fingerprint=block["fingerprint"],
        )
        length = check_graph(found.model, self.preprocessing.size, clean(path))
        self.embedding_dim = length * (SPECTRA if spectra else 1)
        self.session = open_session(found.graph, clean(path))

    def _plain(self, images: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        embeddings, lengths = run_session(self.session, pixels, infrared.numpy())
        return torch.from_numpy(embeddings * lengths)


def preprocessing_of(card: Any, source: str) -> Preprocessing:
    """How images become the input, by a weights card.

    Raises:
        CheckpointError: It does not say it in a way that can be used.
    """
    try:
        return Preprocessing.model_validate(card.get("preprocessing") or {})
    except ValidationError as error:
        raise CheckpointError(f"the card of {source} has no usable `preprocessing`: {error}") from error


def open_session(graph: bytes, source: str, *, threads: int | None = None) -> Any:
    """A session of onnxruntime for a graph that `check_graph` let pass.

    Args:
        graph: The graph's bytes.
        source: The file, for messages.
        threads: Of the runtime; None takes as many as torch, which OMP_NUM_THREADS sets.

    Raises:
        CheckpointError: onnxruntime refuses it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # the decoding threads need the cores
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has many kinds
        raise CheckpointError(f"onnxruntime cannot use {source}: {clean(error, 200)}") from error


def run_session(session: Any, pixels: Pixels, infrared: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Embeddings of length 1, (B, D), and their lengths before, (B, 1)."""
    given = {IMAGES: np.ascontiguousarray(pixels), INFRARED: np.ascontiguousarray(infrared, dtype=np.bool_)}
    embeddings, lengths = session.run([EMBEDDING, LENGTH], given)
    return embeddings, lengths
