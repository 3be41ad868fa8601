"""What a result carries besides its figures: outcomes per person, intervals, breakdown, verification.

`analyse` adds four blocks of plain JSON to a result; it costs about as much as the evaluation itself.

    per_identity  {"pids": [..], "valid": [..], "sums": {figure: [..]}}, averaged over trials: all that is
                  needed to resample people again, as `ivreid compare` does
    intervals     {figure: {"estimate": .., "low": .., "high": .., "confidence": 0.95}}
    breakdown     see `ivreid.analysis.breakdown`
    verification  of trial 1: {"genuine_pairs": .., "impostor_pairs": .., "area": .., "equal_error_rate": ..,
                  "tpr_at_fpr": {"0.001": .., "0.01": .., "0.1": ..}, "roc": {"fpr": [..], "tpr": [..]}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.analysis.breakdown import (
    Breakdown,
    Tally,
    hardest,
    modality_of,
    sums_over_trials,
    within_modality,
)
from ivreid.analysis.compare import PER_IDENTITY, per_identity_json
from ivreid.metrics import rank_queries
from ivreid.metrics.bootstrap import bootstrap
from ivreid.metrics.distances import Distances, MatrixProduct, pairwise, product_on_cpu
from ivreid.metrics.verification import Pairs, roc
from ivreid.protocols.base import Protocol
from ivreid.protocols.collapse import collapse_notes
from ivreid.protocols.evaluator import metric_of, summarise
from ivreid.protocols.fixed_trial import DistanceMatrix, Scored
from ivreid.protocols.result import Result
from ivreid.protocols.trials import Distance, Precision, TrialOutcomes, distance_blocks, run_trials
from ivreid.types import Embeddings, Progress

FPRS = (0.001, 0.01, 0.1)
MAX_PAIRS = 2_000_000
"""Pairs of the verification block; beyond, queries are spread evenly over the trial's."""
BLOCK = 1 << 25
"""Distances held at a time."""


def evaluate_in_full(
    embeddings: Scored,
    protocol: Protocol,
    *,
    metric: str = "cosine",
    precision: Precision = "double",
    distance: Distance | None = None,
    product: MatrixProduct = product_on_cpu,
    rerank: str | None = None,
    tta: str | None = None,
    fingerprints: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """`evaluate`, with its arguments, followed by `analyse`; the trials are ranked once.

    `progress` counts the ranking as one half of the work and the analysis as the other.

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
        product=product,
        progress=_half(progress, 0),
    )
    result = summarise(
        found,
        protocol,
        embeddings.images,
        metric=metric_of(embeddings, metric),
        precision=precision,
        rerank=rerank,
        tta=tta,
        fingerprints=fingerprints,
        notes=(*collapse_notes(embeddings, metric), *notes),
    )
    return analyse(
        embeddings,
        protocol,
        result,
        found=found,
        metric=metric,
        distance=distance,
        seed=seed,
        progress=_half(progress, 1),
    )


def _half(progress: Progress | None, half: int) -> Progress | None:
    return progress and (lambda done, total: progress(half * total + done, 2 * total))


def analyse(
    embeddings: Scored,
    protocol: Protocol,
    result: Result,
    *,
    found: Sequence[TrialOutcomes] | None = None,
    metric: str = "cosine",
    distance: Distance | None = None,
    seed: int = 0,
    progress: Progress | None = None,
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
        progress: Called with (queries done, queries in all).

    Raises:
        UsageError: An unknown metric.
        ProtocolError: Images that do not fit the protocol.
    """
    rng, images = np.random.default_rng(seed), embeddings.images
    if found is None:
        found = run_trials(embeddings, protocol, metric=metric, distance=distance)
    breakdown, sampled = Breakdown(protocol.name, len(found)), list[Pairs]()
    step = max(1, -(-len(found[0].trial.query) * len(found[0].trial.gallery) // MAX_PAIRS))
    done, total = 0, sum(len(one.trial.query) for one in found)
    if isinstance(embeddings, DistanceMatrix) or distance is not None:
        blocks = _whole(embeddings, found, distance)
    else:
        blocks = _in_blocks(embeddings, found, metric)
    for one, rows, distances in blocks:
        query, gallery = images.take(one.trial.query[rows]), images.take(one.trial.gallery)
        excluded = protocol.excluded(query, gallery)
        breakdown.add(distances, query, gallery, excluded, one.outcomes.take(rows))
        if one is found[0]:
            some = np.arange(-rows.start % step, len(query), step)
            allowed = None if excluded is None else excluded[some]
            sampled.append(Pairs.of_matrix(distances[some], query.pids[some], gallery.pids, allowed))
        done += len(query)
        if progress is not None:
            progress(done, total)
    ran = [(images.take(one.trial.query), one.outcomes) for one in found]
    table = sums_over_trials(ran, protocol.cmc)
    extra: dict[str, Any] = {PER_IDENTITY: per_identity_json(table)}
    if len(table) > 1:
        extra["intervals"] = {
            name: interval.to_json() for name, interval in bootstrap(table, rng=rng).items()
        }
    tables = breakdown.to_json()
    tables["modalities"] += _within(embeddings, distance or _plain(metric), rng)
    extra["breakdown"] = {**tables, "hardest": hardest(table)}
    verification = verification_block(Pairs.concatenate(sampled))
    if verification is not None:
        extra["verification"] = verification
    return replace(result, extra={**result.extra, **extra})


def _whole(
    embeddings: Scored, found: Sequence[TrialOutcomes], distance: Distance | None
) -> Iterator[tuple[TrialOutcomes, slice, NDArray[Any]]]:
    """Each trial with its distances, as they were given or re-ranked."""
    for one in found:
        for rows, distances in distance_blocks(embeddings, one.trial, distance):
            yield one, rows, distances


def _in_blocks(
    embeddings: Embeddings, found: Sequence[TrialOutcomes], metric: str
) -> Iterator[tuple[TrialOutcomes, slice, NDArray[Any]]]:
    """Each trial with its distances, some queries at a time; trials with the same queries share a product."""
    first = found[0].trial.query
    shared = all(np.array_equal(one.trial.query, first) for one in found)
    for group in [found] if shared else [[one] for one in found]:
        query = group[0].trial.query
        union = np.unique(np.concatenate([one.trial.gallery for one in group]))
        # single precision is enough to break figures down; the figures themselves come from `found`
        measure = Distances(embeddings.vectors[union], metric, np.float32)
        places = [np.searchsorted(union, one.trial.gallery) for one in group]
        height = max(1, BLOCK // len(union))
        for start in range(0, len(query), height):
            rows = slice(start, min(start + height, len(query)))
            distances = measure(embeddings.vectors[query[rows]])
            for one, columns in zip(group, places, strict=True):
                yield one, rows, distances[:, columns]


def _plain(metric: str) -> Distance:
    return lambda query, gallery: pairwise(query, gallery, metric, np.float32)


def _within(embeddings: Scored, measure: Distance, rng: np.random.Generator) -> list[dict[str, Any]]:
    tally = Tally()
    for infrared in (False, True):
        drawn = within_modality(embeddings.images, infrared, rng=rng)
        if drawn is None:
            continue
        rows, columns, excluded = drawn
        query, gallery = embeddings.images.take(rows), embeddings.images.take(columns)
        if not isinstance(embeddings, DistanceMatrix):
            distances = measure(embeddings.vectors[rows], embeddings.vectors[columns])
        elif embeddings.holds(rows, columns):
            distances = embeddings.between(rows, columns)
        else:
            continue
        side = modality_of(query)
        tally.add((side, side), rank_queries(distances, query.pids, gallery.pids, excluded))
    return tally.rows("query", "gallery", trials=1)


def verification_block(pairs: Pairs) -> dict[str, Any] | None:
    """The verification block of some pairs, or None where they lack pairs of one person or of two."""
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
