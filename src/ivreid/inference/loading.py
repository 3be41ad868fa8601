"""From a run folder or a weights file to an `Embedder`."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ivreid import methods
from ivreid.catalogue import changes
from ivreid.errors import CheckpointError, UsageError
from ivreid.inference.addresses import fetch, is_address
from ivreid.inference.embedder import Embedder, Precision
from ivreid.inference.exported_embedder import ExportedEmbedder, preprocessing_of
from ivreid.inference.test_time import Flip
from ivreid.models import read_weights, weights_fingerprint
from ivreid.models.exported import is_exported

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"


def weights_file(path: Path | str) -> Path:
    """The weights that a path names: itself, or `weights.safetensors` in a run folder; an address is fetched.

    Raises:
        CheckpointError: There are none.
        UsageError: An address that leads nowhere.
    """
    if is_address(path):
        return fetch(str(path))[0]
    path = Path(path)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise CheckpointError(
                f"{path} holds no {WEIGHTS}; it is no run folder, its training has not come so far, or it is a trial "
                "that lost in a search (`ivreid tune --keep-all` keeps the weights of all)"
            )
        return path / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file or run folder")
    return path


def load(
    path: Path | str,
    *,
    device: str | torch.device = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    flip: Flip | bool = False,
    spectra: bool = False,
    precision: Precision = "fp32",
) -> Embedder:
    """Load trained weights to embed images with.

    Args:
        path: A run folder, a weights file, an exported model (.onnx), or an address `hf://ORG/NAME[@REVISION]`.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: Images per batch.
        workers: Decoding threads; None chooses by the cores.
        flip: Mirror images: "none", "average" (True means it, too) or "unit", see `Embedder`; only when asked, whatever
            the weights' card advises.
        spectra: Four embeddings of each image, see `Embedder`.
        precision: What the network computes in; bf16 and fp16 need a CUDA device. An exported model computes in
            what it was exported as.

    Raises:
        CheckpointError: No weights there, or damaged or foreign ones.
        UsageError: An unknown device, a precision it has not, or an address that leads nowhere.
    """
    file, address = fetch(str(path)) if is_address(path) else (weights_file(path), None)
    if is_exported(file):
        if precision != "fp32":
            raise UsageError(
                f"{file} is an exported model, which computes in what it was exported as; leave the precision {precision} out"
            )
        return ExportedEmbedder(
            file, device=device, batch_size=batch_size, workers=workers, flip=flip, spectra=spectra
        )
    tensors, card = read_weights(file)
    method = methods.rebuild(tensors, card, str(file))
    for line in changes(card.get("plugins")):
        log.warning("%s", line)
    return Embedder(
        method,
        preprocessing_of(card, str(file)),
        device=device,
        batch_size=batch_size,
        workers=workers,
        flip=flip,
        spectra=spectra,
        precision=precision,
        card=card,
        address=address,
        fingerprint=weights_fingerprint(tensors, card),
    )
