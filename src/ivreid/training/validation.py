"""Scores the model during training, to see it learn and to choose the weights that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ivreid.data import default_cache_folder
from ivreid.datasets import Dataset
from ivreid.errors import DataError, ProtocolError
from ivreid.inference import Embedder, embed_samples
from ivreid.methods import Method
from ivreid.metrics import figures, rank_queries
from ivreid.protocols import evaluate, make_protocol
from ivreid.training.config import Config
from ivreid.training.distributed import Place, gather, largest, tell
from ivreid.training.setup import Parts, validation_samples
from ivreid.training.signals import Interrupted
from ivreid.types import Embeddings, ImageTable, Sample

Progress = Callable[[int, int], None]

PUBLISHED_SETTING: dict[str, dict[str, Any]] = {
    "sysu-mm01": {"mode": "all", "shots": 1, "draw": "iv-reid"},
    "regdb": {"direction": "infrared-to-visible"},
}
"""The protocol setting by which the published run chose its weights."""


def validate(
    config: Config, parts: Parts, network: Method, *, progress: Progress | None = None
) -> dict[str, float]:
    """Embed the images that weights are selected on and score them.

    With `select: validation` every infrared image of the validation identities queries all their visible
    ones, under the dataset's camera rule. With `published-test` it is the published protocol on the TEST
    identities. Several processes embed a share each; rank 0 scores them together.

    Returns:
        rank1, mAP and mINP, fractions in [0, 1]; the same on every process.

    Raises:
        Interrupted: `progress` raised it, in whichever process.
    """
    on_test = config.validation.select == "published-test"
    dataset = parts.dataset
    embedder = Embedder(
        network,
        config.data.preprocessing,
        device=parts.device,
        batch_size=config.batch.size,
        workers=config.data.workers,
    )
    samples = validation_samples(config, dataset)

    def embed(share: Sequence[Sample]) -> Embeddings:
        return embed_samples(
            embedder,
            dataset.root,
            share,
            cache=default_cache_folder() if config.data.cache else None,
            dataset=dataset.fingerprint,
            progress=progress,
        )

    embeddings = embed_in_shares(parts.place, samples, embed)
    if embeddings is None:
        return tell(parts.place, {})
    score = score_published if on_test else score_validation
    return tell(parts.place, score(embeddings, dataset))


def embed_in_shares(
    place: Place, samples: Sequence[Sample], embed: Callable[[Sequence[Sample]], Embeddings]
) -> Embeddings | None:
    """Embed every sample once, each process a share, and join the rows by image.

    Args:
        place: This process.
        samples: What to embed, the same on every process; any number.
        embed: Embeds some of them.

    Returns:
        On rank 0 the rows of `samples` in their order; None on the others.

    Raises:
        Interrupted: `embed` raised it, in whichever process.
        DataError: A process embedded other images than its share.
    """
    share = samples[place.rank :: place.world_size]
    rows: dict[str, Any] = {}
    interrupted = False
    try:
        if share:
            mine = embed(share)
            rows = dict(zip(mine.images.paths, mine.vectors, strict=True))
    except Interrupted:
        interrupted = True
    if largest(place, interrupted):
        raise Interrupted
    if place.alone:
        return mine
    found: dict[str, Any] = {}
    for part in gather(place, rows):
        found |= part
    if not place.leads:
        return None
    missing = [sample.path for sample in samples if sample.path not in found]
    if missing or len(found) > len(samples):
        raise DataError(
            f"the processes embedded {len(found)} of {len(samples)} images, first missing: {missing[:1]}; do "
            "all machines hold the same dataset?"
        )
    return Embeddings(np.stack([found[sample.path] for sample in samples]), ImageTable.from_samples(samples))


def score_published(embeddings: Embeddings, dataset: Dataset) -> dict[str, float]:
    """The published protocol's mean figures."""
    setting = PUBLISHED_SETTING.get(dataset.name, {})
    protocol = make_protocol(dataset.name, **setting, permutations=dataset.permutations, trial=dataset.trial)
    mean = evaluate(embeddings, protocol).mean
    return {name: mean[name] for name in ("rank1", "mAP", "mINP")}


def score_validation(embeddings: Embeddings, dataset: Dataset) -> dict[str, float]:
    """Infrared queries against all visible images, under the dataset's camera rule.

    Raises:
        ProtocolError: The validation identities lack a modality, so nothing can be scored.
    """
    infrared = embeddings.images.infrared
    query, gallery = embeddings.take(infrared), embeddings.take(~infrared)
    if not len(query) or not len(gallery):
        raise ProtocolError(
            "the validation identities have images of one modality only; nothing can be scored"
        )
    q, g = _unit(query.vectors), _unit(gallery.vectors)
    protocol = make_protocol(dataset.name, trial=dataset.trial)
    outcomes = rank_queries(
        1.0 - q @ g.T, query.images.pids, gallery.images.pids, protocol.excluded(query.images, gallery.images)
    )
    if not outcomes.valid.any():
        raise ProtocolError("no validation query has a true match that the camera rule leaves in its gallery")
    found = figures(outcomes, "identity")
    return {"rank1": float(found.cmc[0]), "mAP": found.mean_ap, "mINP": found.mean_inp}


def _unit(vectors: Any) -> Any:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
