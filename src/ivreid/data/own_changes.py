"""Changes to training images that other people write: registered functions, named in the configuration."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ivreid.catalogue import AUGMENTATIONS, NAME
from ivreid.data.counter_rng import Keys
from ivreid.data.pixels import Pixels
from ivreid.errors import DataError, UsageError

Change = Callable[[Pixels, bool, np.random.Generator], Pixels]
"""Takes pixels (H, W, 3) uint8, whether they are infrared, and a generator; returns pixels of the same shape."""


def register_augmentation(function: Change) -> Change:
    """A decorator that makes a change to training images known by its name: `add_fog` becomes `add-fog`.

    `augment.own: [add-fog]` applies it, after the built-in changes of colour and before erasing. It may draw from
    the generator alone: that depends on (seed, epoch, sample, occurrence, view) and the name, so that a run resumes
    exactly. See docs/own-loop.md.

    Raises:
        UsageError: The name is taken, or the function does not take three arguments.
    """
    if not hasattr(function, "name"):
        function.name = getattr(function, "__name__", "").replace("_", "-")  # type: ignore[attr-defined]
    AUGMENTATIONS.register(function)
    return function


def check_function(function: Any) -> None:
    """What every registered change must be.

    Raises:
        UsageError: It is no function of three arguments, or its name is no name.
    """
    name = getattr(function, "name", None)
    if not callable(function) or not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(
            f"{function!r} is no augmentation: it must be a function whose name is letters and underscores"
        )
    taken = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if len(taken) != 3:
        raise UsageError(
            f"the augmentation {name!r} takes {len(taken)} arguments; it must take three: pixels, infrared, generator"
        )


def apply_own(names: Sequence[str], pixels: Pixels, infrared: bool, key: Keys) -> None:
    """Change an image in place by the registered functions of these names, in their order.

    Args:
        names: Registered names.
        pixels: (H, W, 3).
        infrared: Whether it is an infrared image.
        key: (1,) the image's key.

    Raises:
        DataError: A function returned something else than an image of the same shape.
    """
    for name in names:
        generator = np.random.default_rng([int(key[0]), zlib.crc32(name.encode())])
        changed = np.asarray(AUGMENTATIONS.find(name)(pixels.copy(), infrared, generator))
        if changed.shape != pixels.shape or changed.dtype != np.uint8:
            raise DataError(
                f"the augmentation {name!r} returned {changed.dtype} of shape {changed.shape}; it must return uint8 of "
                f"shape {pixels.shape}"
            )
        pixels[...] = changed
