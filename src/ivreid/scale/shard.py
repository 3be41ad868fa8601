"""One shard: its images embedded, and its files written so that it is whole or not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ivreid.data import open_images
from ivreid.datasets.features import write_features
from ivreid.inference import Embedder
from ivreid.io import file_hash, write_json
from ivreid.scale.plan import Plan
from ivreid.types import Embeddings, ImageTable, Progress


@dataclass(frozen=True)
class Shard:
    """What came of a shard.

    Attributes:
        number: From 1.
        rows: Images embedded.
        errors: Path and reason of every other one.
        skipped: Whether it was finished before.
    """

    number: int
    rows: int
    errors: tuple[tuple[str, str], ...]
    skipped: bool


def embed_shard(plan: Plan, number: int, embedder: Embedder, progress: Progress | None = None) -> Shard:
    """Embed a shard unless it is finished, and write it.

    Raises:
        DataError: It cannot be written, or the network gives NaN.
    """
    if (record := plan.finished(number)) is not None:
        return _shard(number, record, skipped=True)
    table = ImageTable.from_samples(plan.share(number))
    how = embedder.preprocessing
    source, _ = open_images(
        plan.root,
        table.paths,
        how.size,
        value_range=how.value_range,
        resize=how.resize,
        workers=embedder.workers,
    )
    bad: dict[int, str] = {}
    vectors = embedder.embed_source(source, table.infrared, skipped=bad, progress=progress)
    if len(vectors):
        good = np.array([row not in bad for row in range(len(table))], dtype=np.bool_)
        write_features(
            plan.features(number),
            Embeddings(vectors, table.take(good)),
            weights=embedder.fingerprint,
            half=plan.half,
        )
    record = {
        "plan": plan.fingerprint,
        "rows": len(vectors),
        "errors": [[table.paths[row], why] for row, why in sorted(bad.items())],
        "features": file_hash(plan.features(number)) if len(vectors) else None,
    }
    write_json(plan.record(number), record)
    return _shard(number, record, skipped=False)


def _shard(number: int, record: dict[str, Any], *, skipped: bool) -> Shard:
    return Shard(number, record["rows"], tuple((str(a), str(b)) for a, b in record["errors"]), skipped)
