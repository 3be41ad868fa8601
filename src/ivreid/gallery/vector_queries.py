"""Queries from embeddings that are there already: vectors in memory, crops of the gallery, rows of a features file."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ivreid.datasets.features import read_features, read_marks
from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.gallery.searching import Query
from ivreid.gallery.store import Binding, Store
from ivreid.gallery.topology import Sighting
from ivreid.gallery.where import Where
from ivreid.types import Modality


def vector_queries(
    vectors: Any,
    modality: Modality | str,
    binding: Binding,
    *,
    names: Sequence[str] | None = None,
    cameras: Sequence[str | None] | None = None,
) -> list[Query]:
    """A query for each vector.

    Args:
        vectors: (D,) or (N, D), embeddings by the gallery's own model; that cannot be seen from numbers.
        modality: Of the pictures they come from.
        binding: The gallery's.
        names: What the queries are called; numbers otherwise.
        cameras: Of each query the camera whose crops are left out, or None.

    Raises:
        DataError: No numbers, another dimension than the gallery's, or vectors without a direction.
        UsageError: Not one name or camera each, or no vector.
    """
    try:
        rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise DataError(f"the vectors to search for are no matrix of numbers: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != binding.dimension:
        raise DataError(
            f"the vectors to search for have the shape {np.shape(vectors)}; the gallery holds {binding.dimension} numbers "
            f"a crop, by {binding.name}"
        )
    if not len(rows):
        raise UsageError("there is no vector to search for")
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise DataError("a vector to search for is zero, infinite or not a number")
    called = names or [str(number) for number in range(len(rows))]
    whose = cameras or [None] * len(rows)
    if not len(rows) == len(called) == len(whose):
        raise UsageError(f"{len(rows)} vectors, {len(called)} names and {len(whose)} cameras; give one each")
    kind = Modality(modality)
    return [
        Query(name, rows[[row]], kind, camera)
        for row, (name, camera) in enumerate(zip(called, whose, strict=True))
    ]


def stored_queries(store: Store, ids: Collection[str], *, other_cameras: bool = False) -> list[Query]:
    """As `Gallery.known_queries`."""
    found = {}
    for crops, rows, _ in store.iterate(Where(ids=frozenset(ids))):
        for crop, row in zip(crops, rows, strict=True):
            found[crop.id] = Query(
                crop.id,
                row[None].astype("float32"),
                crop.modality,
                crop.camera if other_cameras else None,
                itself=crop.id,
                sighting=Sighting(crop.camera, crop.time),
            )
    for name in ids:
        if name not in found:
            raise UsageError(f"{store.address} has no crop {name}")
    return [found[name] for name in ids]


def feature_queries(
    path: Path | str,
    binding: Binding,
    *,
    rows: str | None = None,
    modality: Modality | None = None,
    camera: str | None = None,
) -> list[Query]:
    """Queries from a features file that `ivreid embed` wrote.

    Args:
        path: The file.
        binding: The gallery's.
        rows: Which, from 0: "0,3,7-9"; None takes all.
        modality: Only rows of this one; of each row it is known.
        camera: Whose crops are left out.

    Raises:
        CheckpointError: Embeddings by other weights than the gallery's, or nobody knows by which.
        UsageError: Rows that are not there.
        DataError: A file that cannot be used, or of another dimension.
    """
    embeddings, made = read_features(path), read_marks(path).weights
    if made != binding.fingerprint:
        by = f"were made by weights with fingerprint {made}" if made else "do not say which weights made them"
        raise CheckpointError(
            f"the embeddings in {path} {by}, and the gallery holds vectors of {binding.name} (fingerprint "
            f"{binding.fingerprint}): vectors of two models cannot be compared; embed the pictures with the gallery's model "
            "(ivreid embed), or give the pictures themselves"
        )
    images = embeddings.images
    chosen = _rows(rows, len(images), path)
    queries: list[Query] = []
    for row in chosen:
        kind = Modality.INFRARED if images.infrared[row] else Modality.VISIBLE
        if modality is None or kind is modality:
            name = f"{Path(path).name} row {row}" + (f", {images.paths[row]}" if images.paths else "")
            queries += vector_queries(embeddings.vectors[row], kind, binding, names=[name], cameras=[camera])
    if not queries:
        raise UsageError(f"none of the {len(chosen):,} rows of {path} is {modality}")
    return queries


def _rows(text: str | None, count: int, path: Path | str) -> list[int]:
    if text is None:
        return list(range(count))
    out: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
        if found is None:
            raise UsageError(f"--rows {text!r} is no list of rows; write 0,3,7-9")
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last or last >= count:
            raise UsageError(f"--rows {part.strip()}: {path} has the rows 0 to {count - 1:,}")
        out += range(first, last + 1)
    return list(dict.fromkeys(out))
