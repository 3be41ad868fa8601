"""Embed a folder in shards: here, or by a cluster; a rerun does what is left, and the last one joins all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivreid.datasets import number_frames
from ivreid.datasets.features import FEATURES, read_features, write_features
from ivreid.errors import DataError
from ivreid.inference import find_samples, load, skipped_file
from ivreid.inference.samples import SKIPPED
from ivreid.inference.test_time import Flip
from ivreid.io import check_output, write_json
from ivreid.scale.plan import Plan, make_plan, parse_shards
from ivreid.scale.ray_pool import embed_on_ray
from ivreid.scale.shard import Shard, embed_shard
from ivreid.types import Embeddings, ImageTable, Modality, Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardedEmbedding:
    """What is done so far.

    Attributes:
        folder: Where the shards lie.
        shards: Those this call embedded or found finished.
        waiting: Numbers of those that are not finished yet.
        embeddings: All rows, where every shard is finished.
        errors: How many images could not be read, so far.
    """

    folder: Path
    shards: tuple[Shard, ...]
    waiting: tuple[int, ...]
    embeddings: Embeddings | None
    errors: int


def embed_in_shards(
    model: Path | str,
    path: Path | str,
    modality: Modality | str,
    out: Path | str,
    *,
    shards: str,
    ray: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    flip: Flip | bool = False,
    identity: str | None = None,
    half: bool = False,
    notice: Callable[[str], None] = log.warning,
    progress: Progress | None = None,
) -> ShardedEmbedding:
    """Embed the images in a folder, in shards that are written whole or not at all.

    They lie in the folder `OUT.shards`. Finished ones are skipped, so the same call again does what is left, and
    several machines with one disk take a shard each. Whoever finds all of them finished joins them into `out`. An image
    that cannot be read is a row with its reason in `OUT.skipped.json`, see `skipped_file`.

    Args:
        model: A run folder, a weights file or an exported model.
        path: The folder or image.
        modality: "visible" or "infrared".
        out: The features file that joins all shards.
        shards: "K/N", shard K of N, or "N": all of them, one after another.
        ray: Address of a Ray cluster ("auto", HOST:PORT, ray://HOST:PORT) whose machines see the same files; it takes
            every shard that is left.
        device: As for `load`.
        batch_size: As for `load`.
        workers: As for `load`.
        flip: As for `load`.
        identity: As for `find_samples`.
        half: Let `out` and the shards hold float16, half the size; the embeddings returned are those read back.
        notice: Called with a line about what was left out.
        progress: Called with (done, total): images of a shard, or shards on Ray.

    Raises:
        UsageError: Options that do not fit, or shards of another embedding lie there.
        DataError: Files that cannot be read or written, or no image that can be.
        CheckpointError: Weights that cannot be used.
    """
    which, count = parse_shards(shards)
    out = Path(out)
    check_output(out, FEATURES, inputs=[path, model])
    check_output(skipped_file(out), SKIPPED, inputs=[path, model])
    root, samples = find_samples(path, modality, identity=identity, notice=notice)
    options = {"device": device, "batch_size": batch_size, "workers": workers, "flip": flip}
    embedder = load(model, **options)  # type: ignore[arg-type]
    plan = make_plan(out.with_name(f"{out.name}.shards"), root, samples, count, embedder, half=half)
    wanted = [which] if which is not None else list(range(1, count + 1))
    if ray is None:
        done = tuple(embed_shard(plan, number, embedder, progress) for number in wanted)
    else:
        done = embed_on_ray(ray, plan, wanted, model, options, progress=progress)
    waiting = tuple(number for number in range(1, count + 1) if plan.finished(number) is None)
    errors = sum(len(one.errors) for one in done)
    return ShardedEmbedding(plan.folder, done, waiting, None if waiting else _join(plan, out), errors)


def _join(plan: Plan, out: Path) -> Embeddings:
    """All shards as one features file with its list of skipped images, as one process would write them."""
    parts: list[Embeddings] = []
    wrong: dict[str, str] = {}
    for number in range(1, plan.count + 1):
        record = plan.finished(number) or {"rows": 0, "errors": []}
        wrong |= {str(path): str(why) for path, why in record["errors"]}
        if record["rows"]:
            parts.append(read_features(plan.features(number)))
    if not parts:
        raise DataError(
            f"none of {len(plan.samples):,} images can be read, first: {next(iter(wrong.values()), '')}"
        )
    left = [sample for sample in plan.samples if sample.path not in wrong]
    rows = {path: row for row, path in enumerate(path for part in parts for path in part.images.paths)}
    if len(rows) != sum(map(len, parts)) or rows.keys() != {sample.path for sample in left}:
        raise DataError(
            f"the shards in {plan.folder} do not hold the images of this folder; remove them and embed anew"
        )
    kept = number_frames([(s.path, s.pid, s.camid, s.modality) for s in left]) if wrong else left
    vectors = np.concatenate([part.vectors for part in parts])[[rows[sample.path] for sample in kept]]
    embeddings = Embeddings(vectors, ImageTable.from_samples(kept))
    write_features(out, embeddings, weights=plan.identity["model"], half=plan.half)
    write_json(skipped_file(out), [{"path": path, "reason": why} for path, why in sorted(wrong.items())])
    return embeddings
