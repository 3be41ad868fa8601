"""Score vectors or distances that are in memory: one call inside a loop of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ivreid.datasets.features import telling_cameras
from ivreid.errors import DataError, UsageError
from ivreid.protocols.base import DIRECTIONS, Protocol
from ivreid.protocols.described_images import DescribedImages
from ivreid.protocols.evaluator import evaluate
from ivreid.protocols.fixed_trial import DistanceMatrix, FixedTrial, Scored
from ivreid.protocols.registry import make_protocol
from ivreid.protocols.result import Result
from ivreid.protocols.trials import Precision
from ivreid.types import BoolArray, Embeddings, ImageTable, Progress

_FIELDS = ("vectors", "pids", "camids", "modality", "frames")
_DRAWING = ("mode", "shots", "draw", "direction", "permutations")


def score(
    vectors: Any = None,
    pids: Any = None,
    camids: Any = None,
    *,
    modality: Any = None,
    frames: Any = None,
    query: Any = None,
    gallery: Any = None,
    distances: Any = None,
    protocol: str | Protocol = "cross-modality",
    metric: str = "cosine",
    precision: Precision = "double",
    notes: Iterable[str] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Score embeddings, or a matrix of distances, by a protocol; from numpy arrays, lists or tensors.

    Tensors may lie on any device, carry gradients, and be in half precision. Frames are numbered by the order
    given: the first image of a person, camera and modality is frame 1. Give images in the order of their sorted
    files, or give `frames`, and the draws are those of published code.

        score(vectors, pids, camids, protocol="sysu-mm01", mode="indoor")
        score(vectors, pids, modality=["visible", "infrared", ...])
        score(pids=pids, camids=camids, protocol="sysu-mm01", distances=matrix)
        score(query=(vectors, pids, camids), gallery=(vectors, pids, camids))
        score(query=(pids, camids), gallery=(pids, camids), distances=matrix)

    Args:
        vectors: (N, D) embeddings of all images; with `distances` they are not needed.
        pids: (N,) identity numbers, below 0 for unknown people.
        camids: (N,) camera numbers from 1 on, 0 where a camera is unknown; None where all are.
        modality: N words ("visible" or "infrared") or N booleans, True for infrared; or one for all. Not needed
            where the protocol's cameras say it (sysu-mm01, regdb). The result's title tells who queries whom.
        frames: (N,) 1-based positions in the sorted files of that person, camera and modality.
        query: Instead of the above, queries and gallery apart: then nothing is drawn, every query is compared with
            the whole gallery, and only the protocol's camera and CMC rules hold. Each is an `Embeddings`, a tuple
            (vectors, pids, camids, modality), or a mapping with those names and `frames`; what comes after `pids`
            may be left out, and with `distances` the vectors are.
        gallery: See `query`.
        distances: Ready distances, smaller is nearer: (N, N); or (queries, others), all images of one modality by
            all of the other, in the order given; or (Q, G) of `query` and `gallery`.
        protocol: By name, or one that is made.
        metric: "cosine", or "euclidean" on the vectors as given.
        precision: "double", or "single" for float32 distances at half the time.
        notes: Further notes for the result's reader.
        progress: Called with (queries done, queries in all).
        **options: Of `make_protocol`: mode, shots, draw, direction, cmc, permutations, trial.

    Returns:
        Figures of each trial, their mean and spread, and what must be known to read them.

    Raises:
        DataError: Values that do not fit: unequal lengths, NaN, numbers as modality.
        UsageError: Arguments that do not go together, or an option the protocol does not have.
        ProtocolError: Images that do not fit the protocol, or no query with a true match.
    """
    whole = {"vectors": vectors, "pids": pids, "camids": camids, "modality": modality, "frames": frames}
    source, chosen = prepare(whole, query, gallery, distances, protocol, options)
    return evaluate(source, chosen, metric=metric, precision=precision, notes=notes, progress=progress)


def prepare(
    whole: Mapping[str, Any],
    query: Any,
    gallery: Any,
    distances: Any,
    protocol: str | Protocol,
    options: Mapping[str, Any],
) -> tuple[Scored, Protocol]:
    """What is scored and by which protocol, from the arguments of `score`; `whole` maps names to values."""
    given = {name: value for name, value in whole.items() if value is not None}
    if query is None and gallery is None:
        return _prepare_whole(given, distances, _protocol(protocol, options))
    if query is None or gallery is None:
        raise UsageError("query and gallery go together, and one of them is missing")
    if given:
        raise UsageError(f"with query and gallery apart, {', '.join(given)} belong into each of them")
    drawing = [name for name in _DRAWING if options.get(name) is not None]
    if drawing:
        raise UsageError(f"{', '.join(drawing)} would choose the gallery, and here it is given")
    return _prepare_sides(query, gallery, distances, _protocol(protocol, options))


def _protocol(protocol: str | Protocol, options: Mapping[str, Any]) -> Protocol:
    if isinstance(protocol, str):
        return make_protocol(protocol, **options)
    extra = [name for name, value in options.items() if value is not None]
    if extra:
        raise UsageError(f"{protocol.title} has its options decided; drop {', '.join(extra)}")
    return protocol


def _prepare_whole(given: Mapping[str, Any], distances: Any, protocol: Protocol) -> tuple[Scored, Protocol]:
    images = DescribedImages.of(given, protocol, needs_vectors=distances is None)
    if images.infrared is None:
        if given.get("camids") is None and protocol.name in telling_cameras():
            raise UsageError(
                f"camids missing: the camera of each image, by which {protocol.name} also tells its modality"
            )
        raise UsageError(
            'say of each image whether it is infrared: modality=["visible", "infrared", ...], or booleans that are '
            f"True for infrared; only the cameras of {' and '.join(telling_cameras())} imply it"
        )
    table = images.table()
    if distances is None:
        return Embeddings(images.vectors, table), protocol
    matrix = DistanceMatrix.of(distances, table, _query_infrared(table, protocol))
    return matrix, protocol


def _query_infrared(images: ImageTable, protocol: Protocol) -> bool | None:
    """Which modality queries; None where both do."""
    kinds = np.unique(images.infrared[protocol.trials(images)[0].query])
    return bool(kinds[0]) if len(kinds) == 1 else None


def _prepare_sides(query: Any, gallery: Any, distances: Any, rule: Protocol) -> tuple[Scored, Protocol]:
    sides = [
        DescribedImages.of(
            _named(side, name, distances is not None), rule, needs_vectors=distances is None, name=name
        )
        for name, side in (("query", query), ("gallery", gallery))
    ]
    counts = [len(side.pids) for side in sides]
    if 0 in counts:
        raise DataError(f"the {'query' if not counts[0] else 'gallery'} is empty: there is nothing to rank")
    direction = _direction(sides[0].infrared, sides[1].infrared)
    joined = DescribedImages.join(sides)
    table = joined.table()
    rows = np.arange(counts[0]), np.arange(counts[0], sum(counts))
    protocol = FixedTrial(cmc=rule.cmc, rule=rule, query=rows[0], gallery=rows[1], direction=direction)
    if distances is None:
        return Embeddings(joined.vectors, table), protocol
    return DistanceMatrix.of_sides(distances, table, *rows), protocol


def fields_of(images: Embeddings | ImageTable) -> dict[str, Any]:
    """The arguments of `score` that these images stand for."""
    if isinstance(images, Embeddings):
        return {"vectors": images.vectors, **fields_of(images.images)}
    columns = {"pids": images.pids, "camids": images.camids, "frames": images.frames}
    return {**columns, "modality": images.infrared}


def _named(side: Any, name: str, with_distances: bool) -> Mapping[str, Any]:
    """The fields of one side."""
    if isinstance(side, Embeddings | ImageTable):
        return fields_of(side)
    names = _FIELDS[1:-1] if with_distances else _FIELDS[:-1]
    if isinstance(side, tuple) and 1 <= len(side) <= len(names):
        return dict(zip(names, side, strict=False))
    if isinstance(side, Mapping) and side.keys() <= {*_FIELDS, "embeddings", "paths"}:
        renamed = {("vectors" if key == "embeddings" else key): value for key, value in side.items()}
        return {key: value for key, value in renamed.items() if value is not None and key != "paths"}
    raise UsageError(
        f"`{name}` is an Embeddings, a tuple ({', '.join(names)}), or a mapping with {', '.join(_FIELDS)}; got "
        f"{type(side).__name__}" + (f" of {len(side)}" if isinstance(side, tuple) else "")
    )


def _direction(query: BoolArray | None, gallery: BoolArray | None) -> str | None:
    """Who queries whom, where each side has one modality and they differ."""
    if query is None or gallery is None or query.all() != query.any() or gallery.all() != gallery.any():
        return None
    if query[0] == gallery[0]:
        return f"{'infrared' if query[0] else 'visible'} only"
    return DIRECTIONS[0] if query[0] else DIRECTIONS[1]
