"""The shape of the embedding space: its principal plane, and distances of same and different people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics.distances import pairwise, unit
from ivreid.metrics.verification import roc
from ivreid.types import BoolArray, Embeddings, ImageTable, IntArray

MOST_IMAGES = 1600
"""Images that pair statistics look at: 1.3 million pairs settle a histogram; a test set can have 10^8."""


def spread_sample(images: ImageTable, most: int = MOST_IMAGES) -> IntArray:
    """Rows of at most `most` images, taken evenly over identities and modalities, ascending.

    Round r takes the r-th image of every (identity, modality): everybody comes once before anybody twice.
    """
    seen: dict[tuple[int, bool], int] = {}
    rounds = np.zeros(len(images), dtype=np.int64)
    for row in np.lexsort((images.frames, images.camids)):
        key = (int(images.pids[row]), bool(images.infrared[row]))
        rounds[row] = seen[key] = seen.get(key, -1) + 1
    order = np.lexsort((images.camids, images.frames, images.pids, rounds))
    return np.sort(order[:most])


@dataclass(frozen=True)
class Plane:
    """Places on the two leading principal components, and the share of variance each explains."""

    places: NDArray[np.float64]
    shares: tuple[float, float]


def principal_plane(vectors: NDArray[np.float32]) -> Plane:
    """Principal component analysis of L2-normalised vectors.

    Args:
        vectors: (N, D).

    Returns:
        (N, 2) places; each component's largest coordinate is positive, so that a rerun draws the same map.
    """
    x = unit(vectors)
    x -= x.mean(axis=0)
    # x = U S V': the places U S need only the (N, N) products, far cheaper than a decomposition of x
    products = x @ x.T
    values, axes = np.linalg.eigh(np.pad(products, (0, 1)))  # padded, so that a single image has a plane too
    strength = np.maximum(values[[-1, -2]], 0.0)
    places = axes[: len(vectors), [-1, -2]] * np.sqrt(strength)
    peaks = places[np.abs(places).argmax(axis=0), [0, 1]]
    places = places * np.where(peaks < 0, -1.0, 1.0)
    first, second = (float(value) for value in strength / (np.trace(products) or 1.0))
    return Plane(places, (first, second))


@dataclass(frozen=True)
class PairDistances:
    """Cosine distances of image pairs, one population."""

    same: NDArray[np.float64]
    different: NDArray[np.float64]

    @property
    def auc(self) -> float:
        """The chance that a same-person pair is nearer than a different-person pair; neither may be empty."""
        return roc(self.same, self.different).area


def pair_distances(embeddings: Embeddings) -> tuple[PairDistances, PairDistances]:
    """Distances across the modalities, and within one (visible-visible and infrared-infrared together).

    Two unknown people (pids below 0) make no pair.
    """
    chosen = embeddings.take(spread_sample(embeddings.images))
    images = chosen.images
    distances = pairwise(chosen.vectors, chosen.vectors, allow_zero=True)
    once: BoolArray = np.triu(images.known[:, None] | images.known, k=1)
    same = images.pids[:, None] == images.pids[None, :]
    crossing = images.infrared[:, None] != images.infrared[None, :]

    def population(kind: BoolArray) -> PairDistances:
        return PairDistances(distances[once & kind & same], distances[once & kind & ~same])

    return population(crossing), population(~crossing)
