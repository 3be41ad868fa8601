"""Scores the files of others: features, distances, or query and gallery apart."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ivreid.analysis.beyond import evaluate_beyond, variants
from ivreid.analysis.per_query import QueryTable
from ivreid.datasets.features import (
    read_arrays,
    read_features,
    read_images,
    read_marks,
    read_matrix,
    read_pids,
)
from ivreid.errors import DataError, ProtocolError, UsageError
from ivreid.io import file_hash
from ivreid.metrics.distances import MatrixProduct, product_on_cpu
from ivreid.protocols import Precision, Protocol, Result, every_setting
from ivreid.protocols.fixed_trial import Scored
from ivreid.protocols.in_memory import fields_of, prepare
from ivreid.retrieval import parse_reranker
from ivreid.types import ImageTable, Notice, Progress

SYSU_TEST_IDENTITIES = 96
File = Path | str | None


def score_features(
    features: File = None,
    *,
    protocol: str,
    query: File = None,
    gallery: File = None,
    distances: File = None,
    test_ids: File = None,
    metric: str = "cosine",
    precision: Precision = "double",
    rerank: str | None = None,
    product: MatrixProduct = product_on_cpu,
    open_set: bool = False,
    queries: QueryTable | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Score a features file by a protocol, with intervals, breakdowns and verification figures.

    Args:
        features: As `read_features` takes it; with `distances` it need not hold embeddings.
        protocol: Its name.
        query: Instead of `features`: the file of the queries; nothing is drawn then, and frames are not needed.
        gallery: The file of the gallery, with `query`.
        distances: A .npy file of ready distances, shaped as `score` takes them.
        test_ids: A file that lists the identities to score, the others left out.
        metric: "cosine", or "euclidean" on the features as given.
        precision: "double", or "single" for float32 distances.
        rerank: A re-ranking as `parse_reranker` reads it, e.g. "aim:k1=4,k2=1"; it marks the result.
        product: Computes matrix products, on a GPU for instance.
        open_set: With half of the people absent from the gallery, see `OpenSet`; the result says who is mistaken.
        queries: Takes in what became of every query; `write` it afterwards.
        progress: Called with (done, in all).
        **options: Of `make_protocol`: mode, shots, draw, direction, cmc, permutations, trial.

    Raises:
        DataError: A file that cannot be used, or files that do not fit together.
        UsageError: Arguments that do not go together, or an option the protocol does not have.
        ProtocolError: Images that do not fit the protocol, or no query with a true match.
    """
    files = {"features": features, "query": query, "gallery": gallery, "distances": distances}
    given = {name: Path(file) for name, file in files.items() if file is not None}
    if test_ids is not None and features is None:
        raise UsageError("identities are chosen from one features file, not from query and gallery apart")
    reranker = parse_reranker(rerank, metric) if rerank else None
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        source, rule = _read(given, protocol, options)
    (chosen,) = variants(rule, open_set=open_set)
    if test_ids is not None:
        source = _only(source, Path(test_ids))
    notes = [str(doubt.message) for doubt in doubts if issubclass(doubt.category, UserWarning)]
    result = evaluate_beyond(
        source,
        chosen,
        metric=metric,
        precision=precision,
        distance=reranker,
        rerank=reranker.label if reranker else None,
        product=product,
        fingerprints={name: file_hash(file) for name, file in given.items() if file.is_file()},
        notes=[*notes, *_people_notes(rule, source), *([reranker.note] if reranker else [])],
        progress=progress,
    )
    if queries is not None:
        queries.add(source, chosen, result.title, metric=metric, distance=reranker)
    vectors = [file for name, file in given.items() if name != "distances"]
    return result.marked_synthetic() if any(read_marks(file).synthetic for file in vectors) else result


def score_settings(
    features: File = None,
    *,
    protocol: str,
    settings: Sequence[Mapping[str, Any]] = ({},),
    every: bool = False,
    permutations: File = None,
    notice: Notice = lambda _: None,
    **given: Any,
) -> list[Result]:
    """`score_features` under several settings of a protocol, in their order.

    Args:
        features: As for `score_features`.
        protocol: Its name.
        settings: Options of `make_protocol` that differ; None is the protocol's default.
        every: Under every mode, number of shots and direction that the settings leave open.
        permutations: As for `make_protocol`.
        notice: Called with a line for each setting that these images cannot serve, where there are several.
        **given: Everything else that `score_features` takes.

    Raises:
        IvreidError: As `score_features`; of several settings only where the images serve none.
    """
    asked = [
        one
        for setting in settings
        for one in (
            every_setting(protocol, permutations=permutations, **setting) if every else [dict(setting)]
        )
    ]
    found, refused = [], None
    for one in asked:
        try:
            found.append(
                score_features(features, protocol=protocol, permutations=permutations, **given, **one)
            )
        except ProtocolError as error:
            refused = error
            if len(asked) > 1:
                words = ", ".join(f"{key} {value}" for key, value in one.items() if value is not None)
                notice(f"left out, these images cannot serve it: {words}: {error}")
    if not found and refused is not None:
        raise refused
    return found


def _read(files: Mapping[str, Path], protocol: str, options: Mapping[str, Any]) -> tuple[Scored, Protocol]:
    matrix = read_matrix(files["distances"]) if "distances" in files else None
    whole: Mapping[str, Any] = {}
    paths: tuple[str, ...] = ()
    if "features" in files:
        read = read_features if matrix is None else read_images
        found = read(files["features"], protocol=protocol)
        whole, paths = fields_of(found), (found if isinstance(found, ImageTable) else found.images).paths
    elif "query" not in files or "gallery" not in files:
        raise UsageError("give a features file, or the files of query and gallery")
    query, gallery = (read_arrays(files[side]) if side in files else None for side in ("query", "gallery"))
    if query is not None and gallery is not None:
        paths = _both_paths(query, gallery)
    source, chosen = prepare(whole, query, gallery, matrix, protocol, options)
    if not paths:
        return source, chosen
    return replace(source, images=replace(source.images, paths=paths)), chosen


def _both_paths(query: Mapping[str, Any], gallery: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of two files one after the other, where both hold one an image; nothing depends on them."""
    sides = [side.get("paths") for side in (query, gallery)]
    known = [
        np.asarray(side) if side is not None and np.shape(side) == np.shape(own["pids"]) else None
        for side, own in zip(sides, (query, gallery), strict=True)
    ]
    return (
        tuple(str(path) for side in known if side is not None for path in side)
        if all(side is not None for side in known)
        else ()
    )


def _only(source: Scored, path: Path) -> Scored:
    """The images of the identities that a file lists."""
    wanted = read_pids(path)
    kept = np.isin(source.images.pids, wanted)
    if not kept.any():
        raise DataError(f"{path}: none of its {len(wanted)} identities has features")
    return source.take(kept)


def _people_notes(protocol: Protocol, source: Scored) -> list[str]:
    people = len(np.unique(source.images.pids[source.images.known]))
    if protocol.name != "sysu-mm01" or people == SYSU_TEST_IDENTITIES:
        return []
    return [
        f"{people} identities; SYSU-MM01's test set has {SYSU_TEST_IDENTITIES} (--test-ids FILE keeps those)"
    ]
