"""Random numbers by name: a thing's generator depends on the seed and its ids, never on earlier draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

KINDS = {
    name: number
    for number, name in enumerate(("identity", "camera", "scene", "shot", "plan", "split", "trial"))
}

T = TypeVar("T")


def generator(seed: int, kind: str, *ids: int) -> np.random.Generator:
    """The generator of one thing, the same in every process and in whatever order things are drawn.

    Args:
        seed: The dataset's seed, zero or greater.
        kind: One of `KINDS`.
        ids: What tells this thing from others of its kind, e.g. (pid, camid, shot).
    """
    return np.random.default_rng(np.random.SeedSequence([seed, KINDS[kind], *ids]))


def pick(rng: np.random.Generator, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """One of the options, with the given weights (they need not sum to one)."""
    if weights is None:
        return options[int(rng.integers(len(options)))]
    edges = np.cumsum(weights)
    return options[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]
