"""What every store asks of crops that are added, before it writes any."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ivreid.errors import DataError
from ivreid.gallery.record import Crop
from ivreid.gallery.store import Added
from ivreid.gallery.vectors import HalfArray, stored

NewRow = tuple[Crop, HalfArray, bytes | None]
"""A crop with its stored vector (D,) and encoded picture."""


def one_each(
    crops: Sequence[Crop], vectors: Any, pictures: Sequence[bytes | None] | None, dimension: int
) -> tuple[HalfArray, Sequence[bytes | None]]:
    """Stored vectors (N, D) and pictures of N crops.

    Raises:
        DataError: Unequal numbers, or vectors of another dimension.
    """
    half = stored(vectors, dimension)
    pictures = [None] * len(crops) if pictures is None else pictures
    if not len(crops) == len(half) == len(pictures):
        raise DataError(
            f"{len(crops)} crops, {len(half)} vectors and {len(pictures)} pictures; give one each"
        )
    return half, pictures


def fates(crops: Sequence[Crop], there: Collection[str], erased: Collection[str]) -> Added:
    """What becomes of crops where these ids are there and these pixels were erased; a second time it is known."""
    seen = set(there)
    out: dict[str, list[str]] = {"added": [], "known": [], "erased": []}
    for crop in crops:
        fate = "erased" if crop.pixels in erased else "known" if crop.id in seen else "added"
        out[fate].append(crop.id)
        if fate == "added":
            seen.add(crop.id)
    return Added(**{fate: tuple(ids) for fate, ids in out.items()})


def new_rows(
    crops: Sequence[Crop], half: HalfArray, pictures: Sequence[bytes | None], fate: Added
) -> list[NewRow]:
    """Those that are added, each once."""
    wanted = set(fate.added)
    rows = []
    for row in zip(crops, half, pictures, strict=True):
        if row[0].id in wanted:
            wanted.discard(row[0].id)
            rows.append(row)
    return rows
