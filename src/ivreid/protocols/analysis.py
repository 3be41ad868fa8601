"""What a result carries besides its figures: outcomes per person, intervals, breakdown, verification.

`analyse` adds four blocks of plain JSON to a result; it costs about as much as the evaluation itself.

    per_identity  {"pids": [..], "valid": [..], "sums": {figure: [..]}}, averaged over trials: all that is
                  needed to resample people again, as `ivreid compare` does
    intervals     {figure: {"estimate": .., "low": .., "high": .., "confidence": 0.95}}
    breakdown     see `ivreid.protocols.breakdown`
    verification  of trial 1: {"genuine_pairs": .., "impostor_pairs": .., "area": .., "equal_error_rate": ..,
                  "tpr_at_fpr": {"0.001": .., "0.01": .., "0.1": ..}, "roc": {"fpr": [..], "tpr": [..]}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.metrics import rank_queries
from ivreid.metrics.bootstrap import bootstrap
from ivreid.metrics.pairwise import pairwise
from ivreid.metrics.verification import Pairs, roc
from ivreid.protocols.base import Protocol, Trial
from ivreid.protocols.breakdown import (
    Breakdown,
    Tally,
    hardest,
    modality_of,
    sums_over_trials,
    within_modality,
)
from ivreid.protocols.compare import PER_IDENTITY, per_identity_json
from ivreid.protocols.evaluate import summarise
from ivreid.protocols.products import Scorer, product_with
from ivreid.protocols.result import Result
from ivreid.protocols.scoring import Distance, Precision, Progress, TrialOutcomes, run_trials
from ivreid.types import BoolArray, Embeddings, ImageTable

FPRS = (0.001, 0.01, 0.1)
MAX_PAIRS = 2_000_000
"""Pairs of the verification block; beyond, queries are spread evenly over the trial's."""


def evaluate_in_full(
    embeddings: Embeddings,
    protocol: Protocol,
    *,
    metric: str = "cosine",
    precision: Precision = "double",
    distance: Distance | None = None,
    scorer: Scorer = product_with,
    rerank: str | None = None,
    tta: str | None = None,
    fingerprints: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """`evaluate`, with its arguments, followed by `analyse`; the trials are ranked once.

    Raises:
        ProtocolError: Images that do not fit the protocol, or no query with a true match.
        UsageError: An unknown metric or precision.
    """
    found = run_trials(
        embeddings,
        protocol,
        metric=metric,
        precision=precision,
        distance=distance,
        scorer=scorer,
        progress=progress,
    )
    result = summarise(
        found,
        protocol,
        embeddings.images,
        metric=metric,
        precision=precision,
        rerank=rerank,
        tta=tta,
        fingerprints=fingerprints,
        notes=notes,
    )
    return analyse(embeddings, protocol, result, found=found, metric=metric, distance=distance, seed=seed)


def analyse(
    embeddings: Embeddings,
    protocol: Protocol,
    result: Result,
    *,
    found: Sequence[TrialOutcomes] | None = None,
    metric: str = "cosine",
    distance: Distance | None = None,
    seed: int = 0,
) -> Result:
    """The result with its `extra` filled: per_identity, intervals, breakdown, verification.

    Args:
        embeddings: What was evaluated.
        protocol: The protocol it was evaluated by.
        result: The evaluation.
        found: The trials behind the result, from `run_trials`; run again where not given.
        metric: The metric of the evaluation.
        distance: What replaced the metric in the evaluation, if anything did (a re-ranking).
        seed: Of the resamples, and of the draws within a modality.

    Raises:
        UsageError: An unknown metric.
        ProtocolError: Images that do not fit the protocol.
    """
    rng, images = np.random.default_rng(seed), embeddings.images
    if found is None:
        found = run_trials(embeddings, protocol, metric=metric, distance=distance)
    # single precision is enough to break figures down; the figures themselves come from `found`
    measure = distance or (lambda query, gallery: pairwise(query, gallery, metric, np.float32))
    breakdown, ran = Breakdown(protocol.name), [(images.take(one.trial.query), one.outcomes) for one in found]
    verification: dict[str, Any] | None = None
    for (query, outcomes), (trial, distances) in zip(
        ran, _distances(embeddings, found, measure, shared=distance is None), strict=True
    ):
        gallery = images.take(trial.gallery)
        excluded = protocol.excluded(query, gallery)
        breakdown.add(distances, query, gallery, excluded, outcomes)
        if trial is found[0].trial:
            verification = verification_block(distances, query, gallery, excluded)
    table = sums_over_trials(ran, protocol.cmc)
    blocks: dict[str, Any] = {PER_IDENTITY: per_identity_json(table)}
    if len(table) > 1:
        blocks["intervals"] = {name: found.to_json() for name, found in bootstrap(table, rng=rng).items()}
    rows = breakdown.to_json()
    rows["modalities"] += _within(embeddings, measure, rng)
    blocks["breakdown"] = {**rows, "hardest": hardest(table)}
    if verification is not None:
        blocks["verification"] = verification
    return replace(result, extra={**result.extra, **blocks})


def _distances(
    embeddings: Embeddings, found: Sequence[TrialOutcomes], measure: Distance, *, shared: bool
) -> Iterator[tuple[Trial, NDArray[Any]]]:
    """Each trial with its distances; plain ones with the same queries share one product."""
    vectors, trials = embeddings.vectors, [one.trial for one in found]
    first = trials[0].query
    if not shared or not all(np.array_equal(trial.query, first) for trial in trials):
        for trial in trials:
            yield trial, measure(vectors[trial.query], vectors[trial.gallery])
        return
    union = np.unique(np.concatenate([trial.gallery for trial in trials]))
    whole = measure(vectors[first], vectors[union])
    for trial in trials:
        yield trial, whole[:, np.searchsorted(union, trial.gallery)]


def _within(embeddings: Embeddings, measure: Distance, rng: np.random.Generator) -> list[dict[str, Any]]:
    tally = Tally()
    for infrared in (False, True):
        drawn = within_modality(embeddings.images, infrared, rng=rng)
        if drawn is None:
            continue
        rows, columns, excluded = drawn
        query, gallery = embeddings.images.take(rows), embeddings.images.take(columns)
        distances = measure(embeddings.vectors[rows], embeddings.vectors[columns])
        side = modality_of(query)
        tally.add((side, side), rank_queries(distances, query.pids, gallery.pids, excluded))
    return tally.rows("query", "gallery", trials=1)


def verification_block(
    distances: NDArray[np.floating[Any]], query: ImageTable, gallery: ImageTable, excluded: BoolArray | None
) -> dict[str, Any] | None:
    """The verification block of one trial, or None where it lacks pairs of one person or of two."""
    step = max(1, -(-distances.size // MAX_PAIRS))
    rows = np.arange(0, len(distances), step)
    pairs = Pairs.of_matrix(
        distances[rows], query.pids[rows], gallery.pids, None if excluded is None else excluded[rows]
    )
    genuine, impostor = pairs.genuine, pairs.impostor
    if not len(genuine) or not len(impostor):
        return None
    curve = roc(genuine, impostor)
    thin = curve.thinned()
    return {
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostor),
        "area": curve.area,
        "equal_error_rate": curve.equal_error_rate,
        "tpr_at_fpr": {f"{fpr:g}": curve.tpr_at(fpr) for fpr in FPRS},
        "roc": {"fpr": thin.fpr.tolist(), "tpr": thin.tpr.tolist()},
    }
