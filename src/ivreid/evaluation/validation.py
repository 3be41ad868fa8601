"""Scores the model during training, to see it learn and to choose the weights that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ivreid.config.schema import Config
from ivreid.config.scoring import ValidationSection
from ivreid.data import default_cache_folder
from ivreid.datasets import Dataset
from ivreid.distributed.collectives import broadcast
from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank
from ivreid.errors import ProtocolError, counted
from ivreid.evaluation.sharded import embed_sharded
from ivreid.inference import Embedder, embed_samples
from ivreid.methods import Method
from ivreid.metrics import figures, rank_queries
from ivreid.metrics.distances import pairwise
from ivreid.protocols import Protocol, evaluate, get_protocol, make_protocol
from ivreid.protocols.notes import why_no_match
from ivreid.retrieval import parse_reranker
from ivreid.types import BoolArray, Embeddings, ImageTable, Progress, Sample

ANY_SELECTION = ValidationSection()
ENOUGH_PEOPLE = 20
"""People on whom a validation begins to say something."""


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
        flip="none" if on_test else config.embedding.flip,  # published selections did without
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

    embeddings = embed_sharded(process, samples, embed)
    if embeddings is None:
        return broadcast(process, {})
    if on_test:
        return broadcast(process, score_published(embeddings, dataset, config.validation))
    return broadcast(process, score_validation(embeddings, dataset))


def check_validation(config: Config, dataset: Dataset) -> None:
    """Refuse images that no validation could score, so that it is known before the first step.

    Raises:
        ProtocolError: They do not fit the protocol, lack a modality, or no query has a true match.
        UsageError: The dataset names a protocol that there is not.
    """
    select = config.validation.select
    protocol = make_protocol(dataset.name, trial=dataset.trial)
    if select == "published-test":
        selection_protocol(dataset, config.validation).trials(dataset.table("test"))
    if select != "validation":
        return
    images = dataset.table("val")
    query, gallery = (images.take(rows) for rows in _both_sides(images))
    matches = (query.pids[:, None] == gallery.pids) & query.known[:, None]
    excluded = protocol.excluded(query, gallery)
    if not (matches if excluded is None else matches & ~excluded).any():
        raise _no_match(query, gallery)


def validation_notes(config: Config, dataset: Dataset) -> list[str]:
    """What a reader of the validation's figures should know: that few people say little, or another draw is scored."""
    select = config.validation.select
    if select == "last":
        return []
    images = dataset.table("val" if select == "validation" else "test")
    notes = selection_notes(config, dataset)
    infrared, visible = (set(images.pids[rows & images.known].tolist()) for rows in _both_sides(images))
    people = len(infrared & visible)
    if people >= ENOUGH_PEOPLE:
        return notes
    on, wider = f"validation on {counted(people, 'person', 'people')}", " (validation.fraction)"
    if select == "published-test":
        on, wider = f"selection on the TEST identities, {counted(people, 'person', 'people')},", ""
    little = "says little: its figures move a lot by chance, and so does the choice of the epoch"
    if len(set(images.pids.tolist())) == 1:
        little = (
            "says nothing: every figure is 100% by construction, and the first epoch that is scored is kept"
        )
    return [
        f"{on} {little}; {ENOUGH_PEOPLE} or more are better{wider}, or keep the last epoch (validation.select=last)",
        *notes,
    ]


def validation_samples(config: Config, dataset: Dataset) -> tuple[Sample, ...]:
    """The images that weights are selected on: none where the last are kept."""
    select = config.validation.select
    return () if select == "last" else dataset.split("val" if select == "validation" else "test")


def selection_protocol(dataset: Dataset, validation: ValidationSection) -> Protocol:
    """The dataset's protocol under the options by which published runs choose their weights.

    Without the authors' permutations their draw cannot be had, and AGW's is taken: `selection_notes` says so.
    """
    named = validation.setting.model_dump(exclude_none=True, exclude={"rerank"})
    options = {**get_protocol(dataset.name).selection, **named}
    if _lacks_permutations(dataset, validation):
        options["draw"] = "agw"
    return make_protocol(dataset.name, **options, permutations=dataset.permutations, trial=dataset.trial)


def selection_notes(config: Config, dataset: Dataset) -> list[str]:
    """In what the choice of weights on the test identities is not what the configuration asks for."""
    if config.validation.select != "published-test" or not _lacks_permutations(dataset, config.validation):
        return []
    return [
        f"the epoch is chosen on galleries drawn as agw: {dataset.root} has no exp/rand_perm_cam.mat, of which the official "
        "draw is made"
    ]


def _lacks_permutations(dataset: Dataset, validation: ValidationSection) -> bool:
    return validation.setting.draw == "official" and dataset.permutations is None


def score_published(
    embeddings: Embeddings, dataset: Dataset, validation: ValidationSection = ANY_SELECTION
) -> dict[str, float]:
    """The published protocol's mean figures, re-ranked where the published selection was."""
    words = validation.setting.rerank
    protocol, distance = selection_protocol(dataset, validation), parse_reranker(words) if words else None
    found = evaluate(embeddings, protocol, distance=distance)
    mean = replace(found, trials=found.trials[: validation.trials]).mean
    return {name: mean[name] for name in ("rank1", "mAP", "mINP")}


def score_validation(embeddings: Embeddings, dataset: Dataset) -> dict[str, float]:
    """Infrared queries against all visible images, under the dataset's camera rule.

    Raises:
        ProtocolError: The validation identities lack a modality, so nothing can be scored.
    """
    query, gallery = (embeddings.take(rows) for rows in _both_sides(embeddings.images))
    protocol = make_protocol(dataset.name, trial=dataset.trial)
    distances = pairwise(query.vectors, gallery.vectors, dtype=np.float32, allow_zero=True)
    excluded = protocol.excluded(query.images, gallery.images)
    outcomes = rank_queries(distances, query.images.pids, gallery.images.pids, excluded)
    if not outcomes.valid.any():
        raise _no_match(query.images, gallery.images)
    found = figures(outcomes, "identity")
    return {"rank1": float(found.cmc[0]), "mAP": found.mean_ap, "mINP": found.mean_inp}


def _no_match(query: ImageTable, gallery: ImageTable) -> ProtocolError:
    why = why_no_match(np.zeros(len(query), dtype=np.bool_), query, gallery)
    return ProtocolError(
        f"none of {len(query)} validation queries has a true match left in its gallery; {why}"
    )


def _both_sides(images: ImageTable) -> tuple[BoolArray, BoolArray]:
    """Which images query, and which are queried."""
    infrared = images.infrared
    if infrared.all() or not infrared.any():
        raise ProtocolError(
            "the validation identities have images of one modality only; nothing can be scored"
        )
    return infrared, ~infrared
