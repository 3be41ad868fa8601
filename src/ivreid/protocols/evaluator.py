"""From embeddings and a protocol to a result people can trust."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ivreid.errors import ProtocolError
from ivreid.metrics import Figures, figures
from ivreid.metrics.distances import MatrixProduct, product_on_cpu
from ivreid.protocols.base import Protocol, canonical_order
from ivreid.protocols.collapse import collapse_notes
from ivreid.protocols.fixed_trial import GIVEN, DistanceMatrix, Scored
from ivreid.protocols.notes import trial_notes, why_no_match
from ivreid.protocols.result import Result, TrialResult
from ivreid.protocols.tie_notes import TIES, tie_note, ties_block
from ivreid.protocols.trials import Distance, Precision, TrialOutcomes, run_trials
from ivreid.types import ImageTable, Progress


def evaluate(
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
    progress: Progress | None = None,
) -> Result:
    """Evaluate embeddings by a protocol: all trials, both their mean and their spread.

    Args:
        embeddings: All test images (any order), or their distances.
        protocol: From `make_protocol`.
        metric: "cosine", or "euclidean" on the vectors as given.
        precision: "double", or "single" for float32 distances at half the time; see `run_trials`.
        distance: Replaces the metric, e.g. by a re-ranking; name it in `rerank`.
        product: Computes matrix products, on a GPU for instance.
        rerank: Name of the re-ranking behind `distance`, kept in the result.
        tta: Name of the test-time augmentation behind the embeddings, kept in the result.
        fingerprints: Of "dataset" and "model"; "split" is computed from the images' ids.
        notes: Further notes for the result's reader.
        progress: Called with (queries done, queries in all).

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
        progress=progress,
    )
    return summarise(
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


def metric_of(embeddings: Scored, metric: str) -> str:
    """What a result calls the metric: ready distances have one that is not known."""
    return GIVEN if isinstance(embeddings, DistanceMatrix) else metric


def summarise(
    found: Sequence[TrialOutcomes],
    protocol: Protocol,
    images: ImageTable,
    *,
    metric: str = "cosine",
    precision: Precision = "double",
    rerank: str | None = None,
    tta: str | None = None,
    fingerprints: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
) -> Result:
    """The result of trials already run; `evaluate` is `run_trials` followed by this.

    Raises:
        ProtocolError: No query has a true match in some trial.
    """
    for number, one in enumerate(found):
        if not one.outcomes.valid.any():
            raise ProtocolError(
                f"{protocol.title}, trial {number}: none of {len(one.outcomes)} queries has a true match "
                f"left among {len(one.trial.gallery)} gallery images after exclusion; "
                f"{why_no_match(one.outcomes.valid, images.take(one.trial.query), images.take(one.trial.gallery))}"
            )
    averaged = [figures(one.outcomes, protocol.cmc) for one in found]
    trials = tuple(_trial_result(one) for one in averaged)
    ties = ties_block(found, protocol.cmc)
    options = {**protocol.options, "metric": metric}
    if precision != "double" and metric != GIVEN:
        options["precision"] = precision
    title = f"{protocol.title}, {'distances as given' if metric == GIVEN else f'{metric} distance'}"
    title += f", RE-RANKED by {rerank}" if rerank else ""
    title += f", TEST-TIME AUGMENTED by {tta}" if tta else ""
    return Result(
        protocol=protocol.name,
        title=title,
        version=protocol.version,
        options=options,
        queries=len(found[0].trial.query),
        valid_queries=averaged[0].valid_queries,
        gallery=len(found[0].trial.gallery),
        trials=trials,
        fingerprints={"split": split_fingerprint(images), **(fingerprints or {})},
        rerank=rerank,
        tta=tta,
        notes=(
            *protocol.notes(images),
            *trial_notes(found[0].trial, found[0].outcomes.valid, images),
            *tie_note(trials, ties, sum(one.valid_queries for one in averaged)),
            *notes,
        ),
        extra={} if ties is None else {TIES: ties},
    )


def _trial_result(one: Figures) -> TrialResult:
    rank1, rank5, rank10, rank20 = (float(one.cmc[k - 1]) for k in (1, 5, 10, 20))
    return TrialResult(rank1, rank5, rank10, rank20, one.mean_ap, one.mean_inp, tuple(one.cmc.tolist()))


def split_fingerprint(images: ImageTable) -> str:
    """A 16-digit hash of which images are there (pid, camid, frame, modality), whatever their order."""
    order = canonical_order(images)
    digest = hashlib.sha256()
    for column in (images.pids, images.camids, images.frames, images.infrared):
        digest.update(np.ascontiguousarray(column[order]).astype("<i8").tobytes())
    return digest.hexdigest()[:16]
