"""Random numbers by counter: the value at a place depends on its key alone, never on who asked before.

A key names what is drawn (seed, epoch, sample...). SplitMix64 (Steele et al., OOPSLA 2014) turns it into
bits, so workers, processes and resumption cannot change a draw, nor can another version of NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivreid.types import IntArray

Keys = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)


def _mix(state: Keys) -> Keys:
    state = (state ^ (state >> np.uint64(30))) * _MULTIPLY_1
    state = (state ^ (state >> np.uint64(27))) * _MULTIPLY_2
    return state ^ (state >> np.uint64(31))


def keys(*parts: ArrayLike) -> Keys:
    """One key per element of the broadcast integer parts; their order matters. Shape: at least (1,)."""
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(part)).astype(np.int64) for part in parts))
    state = np.zeros(arrays[0].shape, dtype=np.uint64)
    for array in arrays:
        state = _mix((state ^ array.astype(np.uint64)) + _STEP)
    return state


def bits(key: Keys, count: int) -> Keys:
    """`count` random 64-bit integers for each key: (N,) -> (N, count)."""
    counter = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    return _mix(key[:, None] + counter)


def uniforms(key: Keys, count: int) -> NDArray[np.float64]:
    """`count` uniform numbers in [0, 1) for each key: (N,) -> (N, count)."""
    return (bits(key, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(key: Keys, count: int) -> IntArray:
    """A random order of 0..count-1 for one key of shape (1,)."""
    return np.asarray(np.argsort(bits(key, count)[0], kind="stable"), dtype=np.int64)


def choices(key: Keys, options: int, count: int) -> IntArray:
    """`count` draws with replacement from 0..options-1 for one key of shape (1,)."""
    return np.asarray(uniforms(key, count)[0] * options, dtype=np.int64)
