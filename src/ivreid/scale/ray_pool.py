"""The shards of an embedding on a Ray cluster: Ray only says who does which."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ivreid.errors import DataError, UsageError
from ivreid.inference.addresses import is_address
from ivreid.reading import clean
from ivreid.scale.plan import Plan
from ivreid.scale.shard import Shard, embed_shard
from ivreid.types import Progress


class ShardWorker:
    """An actor: it loads the model once and embeds the shards it is given.

    Args:
        plan: What is embedded.
        model: The weights, on a disk that every machine sees.
        options: As for `load`.
    """

    def __init__(self, plan: Plan, model: str, options: Mapping[str, Any]) -> None:
        from ivreid.inference import load

        self.plan, self.embedder = plan, load(model, **options)
        if self.embedder.fingerprint != plan.identity["model"]:
            raise UsageError(
                f"{model} holds other weights on this machine than where the embedding was started"
            )

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Embed the shards of a batch; what is whole already is only looked at."""
        shards = [embed_shard(self.plan, int(number), self.embedder) for number in batch["shard"]]
        return {"shard": [one.number for one in shards], "skipped": [one.skipped for one in shards]}


def embed_on_ray(
    address: str,
    plan: Plan,
    wanted: Sequence[int],
    model: Path | str,
    options: Mapping[str, Any],
    *,
    progress: Progress | None = None,
) -> tuple[Shard, ...]:
    """Embed shards on a cluster, an actor for every core or accelerator that is free, at most one a shard.

    Args:
        address: "auto", HOST:PORT or ray://HOST:PORT.
        plan: What is embedded; its folder and images must lie where every machine sees them.
        wanted: Numbers of shards; those that are finished stay here.
        model: The weights, by a path that every machine sees.
        options: As for `load`.
        progress: Called with (shards done, shards in all).

    Raises:
        UsageError: The extra `ray` is not installed, or there is no cluster.
        DataError: A shard failed; the message says why, and the others that are whole stay.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(
            f"--ray needs Ray ({error.name} is not installed): pip install 'ivreid[ray]'"
        ) from error
    left = [number for number in wanted if plan.finished(number) is None]
    mine = not ray.is_initialized()
    try:
        if mine:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray has many kinds
        raise UsageError(f"there is no Ray cluster at {clean(address, 80)}: {clean(error, 200)}") from error
    try:
        moved: dict[int, bool] = {}
        if left:
            moved = _run(
                ray,
                plan,
                left,
                str(model if is_address(model) else Path(model).absolute()),
                options,
                progress,
            )
    finally:
        if mine:
            ray.shutdown()
    return tuple(_result(plan, number, skipped=moved.get(number, True)) for number in wanted)


def _run(
    ray: Any,
    plan: Plan,
    left: Sequence[int],
    model: str,
    options: Mapping[str, Any],
    progress: Progress | None,
) -> dict[int, bool]:
    gpus = 1 if ray.cluster_resources().get("GPU") and options.get("device") not in ("cpu", "mps") else 0
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=len(left))
    shards = ray.data.from_items([{"shard": number} for number in left], override_num_blocks=len(left))
    work = shards.map_batches(
        ShardWorker,
        fn_constructor_args=(plan, model, dict(options)),
        batch_size=1,
        compute=pool,
        num_cpus=0 if gpus else 1,
        num_gpus=gpus,
    )
    moved: dict[int, bool] = {}
    try:
        for row in work.iter_rows():
            moved[int(row["shard"])] = bool(row["skipped"])
            if progress is not None:
                progress(len(moved), len(left))
    except Exception as error:  # Ray wraps what failed in a worker
        cause = str(error.__cause__ or error).strip().splitlines()
        raise DataError(
            f"a shard failed on the Ray cluster: {clean(cause[-1] if cause else type(error).__name__, 300)}; run the same "
            "command again to do what is left"
        ) from error
    return moved


def _result(plan: Plan, number: int, *, skipped: bool) -> Shard:
    record = plan.finished(number)
    if record is None:
        raise DataError(
            f"shard {number} is not in {plan.folder} after the cluster embedded it; do all machines see that folder?"
        )
    return Shard(number, record["rows"], tuple((str(a), str(b)) for a, b in record["errors"]), skipped)
