"""Scores the model during training, to see it learn and to choose the weights that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ivreid.config.schema import Config
from ivreid.data import default_cache_folder
from ivreid.datasets import Dataset
from ivreid.distributed.exchange import broadcast
from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank
from ivreid.errors import ProtocolError
from ivreid.evaluation.shares import embed_in_shares
from ivreid.inference import Embedder, embed_samples
from ivreid.methods import Method
from ivreid.metrics import figures, rank_queries
from ivreid.protocols import evaluate, make_protocol
from ivreid.types import Embeddings, Progress, Sample

PUBLISHED_SETTING: dict[str, dict[str, Any]] = {
    "sysu-mm01": {"mode": "all", "shots": 1, "draw": "iv-reid"},
    "regdb": {"direction": "infrared-to-visible"},
}
"""The protocol setting by which the published run chose its weights."""


def validate(
    config: Config,
    dataset: Dataset,
    network: Method,
    *,
    device: torch.device,
    process: ProcessRank = SINGLE_PROCESS,
    progress: Progress | None = None,
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
    embedder = Embedder(
        network,
        config.data.preprocessing,
        device=device,
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

    embeddings = embed_in_shares(process, samples, embed)
    if embeddings is None:
        return broadcast(process, {})
    score = score_published if on_test else score_validation
    return broadcast(process, score(embeddings, dataset))


def validation_samples(config: Config, dataset: Dataset) -> tuple[Sample, ...]:
    """The images that weights are selected on: none where the last are kept."""
    select = config.validation.select
    return () if select == "last" else dataset.split("val" if select == "validation" else "test")


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
