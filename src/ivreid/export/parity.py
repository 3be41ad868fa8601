"""Whether an exported graph computes what the weights compute, in every batch and for both modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ivreid.data.pixels import Pixels
from ivreid.errors import CheckpointError
from ivreid.inference import Embedder
from ivreid.inference.exported_embedder import open_session, run_session
from ivreid.types import BoolArray, FloatArray

BATCHES = (1, 2, 7, 32)
LEAST_COSINE = 0.99999
LEAST_SPREAD = 5 * (1 - LEAST_COSINE)
"""Cosine distance that most images must keep from most others: of images nearer than the cosine lets pass, one could be
given another's embedding unseen."""
TIE = 1e-5
"""Distances nearer than this may change places: float32 sums of thousands of products, in another order."""


@dataclass(frozen=True)
class Parity:
    """What the comparison found.

    Attributes:
        least_cosine: Of any image's two embeddings.
        largest_swap: By how much two distances differ that stand in another order; 0 where none do.
    """

    least_cosine: float
    largest_swap: float


def check_parity(embedder: Embedder, graph: bytes, *, seed: int = 0) -> Parity:
    """Compare a graph with the network it comes from, on drawn images.

    Every batch of `BATCHES` is tried with visible images, infrared ones and both. With the 32 of each modality, every
    image of one ranks those of the other.

    Raises:
        CheckpointError: The graph cannot run a batch, the embeddings or rankings differ, or those of the weights are
            too much alike to tell; nothing may be written.
    """
    pixels = drawn_pixels(max(BATCHES), embedder.preprocessing.size, seed)
    session = open_session(graph, "the exported graph")
    sides = [np.full(len(pixels), infrared) for infrared in (False, True)]
    expected = [embedder._compute(pixels, side) for side in sides]
    for modality, vectors in zip(("visible", "infrared"), expected, strict=True):
        if not (found_apart := spread(vectors)) >= LEAST_SPREAD:
            raise CheckpointError(
                f"the weights give most drawn {modality} images one embedding (cosine distance {found_apart:.1e}, at least "
                f"{LEAST_SPREAD:.0e} is needed), so a wrong graph could not be told from a right one; no file was written. "
                "The network is untrained or has diverged: export weights that `ivreid evaluate` finds people with"
            )
    least = 1.0
    found: list[FloatArray] = []
    mixed = np.arange(len(pixels)) % 2 == 1
    for count in BATCHES:
        found = [_run(session, pixels[:count], side[:count]) for side in sides]
        both = _run(session, pixels[:count], mixed[:count])
        joined = np.where(mixed[:count, None], expected[1][:count], expected[0][:count])
        for ours, theirs in (*zip(expected, found, strict=True), (joined, both)):
            cosines = np.einsum("nd,nd->n", ours[:count].astype(np.float64), theirs.astype(np.float64))
            least = min(least, float(cosines.min())) if np.isfinite(cosines).all() else -1.0
        if least < LEAST_COSINE:
            raise CheckpointError(
                f"the exported graph differs from the weights: cosine {least:.6f} in a batch of {count}, at least "
                f"{LEAST_COSINE} is needed; no file was written"
            )
    swap = largest_swap(1 - expected[1] @ expected[0].T, 1 - found[1] @ found[0].T)
    if swap > TIE:
        raise CheckpointError(
            f"the exported graph ranks otherwise than the weights: images whose distances differ by {swap:.1e} change "
            f"places, at most {TIE:.0e} is a tie; no file was written"
        )
    return Parity(least, swap)


def spread(vectors: FloatArray) -> float:
    """The cosine distance that at least half of the images keep from at least half of all.

    Shape:
        (N, D), rows of length 1 -> a number, about 0 where most images have one embedding.
    """
    exact = vectors.astype(np.float64)
    return float(np.median(np.median(1 - exact @ exact.T, axis=1)))


def largest_swap(expected: FloatArray, found: FloatArray) -> float:
    """By how much two distances of a row differ, at most, that `found` puts in another order.

    Shape:
        (Q, G) and (Q, G) -> a number, 0 where every order is the same.
    """
    ordered = np.take_along_axis(expected, np.argsort(found, axis=1, kind="stable"), axis=1)
    return float((np.maximum.accumulate(ordered, axis=1) - ordered).max(initial=0))


def drawn_pixels(count: int, size: tuple[int, int], seed: int) -> Pixels:
    """Images with coarse shapes and some noise, (N, H, W, 3): of plain noise all would be alike."""
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = rng.integers(0, 256, (count, 6, 3, 3))
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 3 // width
    noise = rng.integers(-20, 21, (count, height, width, 3))
    pixels: Pixels = np.clip(coarse[:, rows][:, :, columns] + noise, 0, 255).astype(np.uint8)
    return pixels


def _run(session: Any, pixels: Pixels, infrared: BoolArray) -> FloatArray:
    try:
        embeddings, _ = run_session(session, pixels, infrared)
    except Exception as error:  # the runtime has many kinds
        first = str(error).strip().splitlines()[0][:200]
        raise CheckpointError(
            f"the exported graph cannot run a batch of {len(pixels)} ({first}); no file was written"
        ) from error
    return embeddings
