"""Embedding by several processes: each a share of the images, rank 0 all of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ivreid.distributed.collectives import gather, reduce_max
from ivreid.distributed.processes import ProcessRank
from ivreid.errors import DataError
from ivreid.types import Embeddings, ImageTable, Sample


class Interrupted(Exception):
    """Raised by a progress callback to end an embedding that would go on for minutes."""


def embed_sharded(
    process: ProcessRank, samples: Sequence[Sample], embed: Callable[[Sequence[Sample]], Embeddings]
) -> Embeddings | None:
    """Embed every sample once, each process a share, and join the rows by image.

    Args:
        process: This process.
        samples: What to embed, the same on every process; any number.
        embed: Embeds some of them.

    Returns:
        On rank 0 the rows of `samples` in their order; None on the others.

    Raises:
        Interrupted: `embed` raised it, in whichever process.
        DataError: A process embedded other images than its share.
    """
    share = samples[process.rank :: process.world_size]
    rows: dict[str, Any] = {}
    interrupted = False
    try:
        if share:
            mine = embed(share)
            rows = dict(zip(mine.images.paths, mine.vectors, strict=True))
    except Interrupted:
        interrupted = True
    if reduce_max(process, interrupted):
        raise Interrupted
    if process.is_single:
        return mine
    found: dict[str, Any] = {}
    for part in gather(process, rows):
        found |= part
    if not process.is_main:
        return None
    missing = [sample.path for sample in samples if sample.path not in found]
    if missing or len(found) > len(samples):
        raise DataError(
            f"the processes embedded {len(found)} of {len(samples)} images, first missing: {missing[:1]}; do "
            "all machines hold the same dataset?"
        )
    return Embeddings(np.stack([found[sample.path] for sample in samples]), ImageTable.from_samples(samples))
