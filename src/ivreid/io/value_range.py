"""How values of more than eight bits become grey: thermal cameras write 16-bit integers or floats.

There is no rule that fits every camera, so none is followed until it is chosen (`data.value_range`):
grey = round(255 (value - low) / (high - low)), values outside [low, high] taken as the nearer end.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import ImageError, UsageError

ValueRange = Literal["refuse", "image"] | tuple[float, float]
"""`refuse`; `image`: low and high are each picture's own; or (low, high), the same for all pictures."""
REFUSE: ValueRange = "refuse"

_BLOCK = 1 << 20
"""Values converted at a time: the double-precision copy stays small."""


def parse_value_range(text: str) -> ValueRange:
    """The rule that a word on the command line means: `image`, or two numbers with a comma between them.

    Raises:
        UsageError: It is neither.
    """
    if text == "image":
        return "image"
    try:
        low, high = map(float, text.strip("[] ").split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -math.inf < low < high < math.inf:
        raise UsageError(
            f"{text!r} is no rule for grey of more than eight bits; say image, or LOW,HIGH such as 2600,2740"
        )
    return low, high


def to_grey(values: NDArray[Any], value_range: ValueRange = REFUSE) -> NDArray[np.uint8]:
    """Grey levels of one picture of more than eight bits.

    Args:
        values: (H, W) integers or floats.
        value_range: The rule.

    Returns:
        (H, W) uint8.

    Raises:
        ImageError: No rule, values that are NaN or infinite, or all of them outside a fixed range.
    """
    low, high = span(values)
    if value_range == "refuse":
        raise ImageError(
            f"it holds values from {low:,g} to {high:,g} ({values.dtype}), and no rule says how they become "
            "256 greys: set data.value_range for training; a trained model brings its own (docs/datasets.md)"
        )
    if value_range != "image":
        bottom, top = value_range
        if high <= bottom or low >= top:
            raise ImageError(
                f"every value (from {low:,g} to {high:,g}) lies outside data.value_range = [{bottom:g}, {top:g}]: "
                f"the picture would be all {'black' if high <= bottom else 'white'}"
            )
        low, high = bottom, top
    grey = np.zeros(values.size, dtype=np.uint8)
    flat = values.reshape(-1)
    for start in range(0, flat.size if high > low else 0, _BLOCK):  # one value throughout is black
        block = flat[start : start + _BLOCK].astype(np.float64)
        scaled = np.clip((block - low) * (255 / (high - low)), 0, 255)
        grey[start : start + _BLOCK] = np.rint(scaled)
    return grey.reshape(values.shape)


def span(values: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest value.

    Raises:
        ImageError: NaN or infinite values.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError("it holds NaN or infinite values")
    return low, high
