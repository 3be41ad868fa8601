"""Fits a same-person threshold on people that weights have not seen, and stores it in their card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ivreid.analysis.calibration import Calibration, fit_threshold
from ivreid.analysis.named_calibrations import (
    DEFAULT,
    PAIRS,
    SEARCH,
    Computed,
    check_calibration_name,
    check_precision,
    default_name,
    with_calibration,
)
from ivreid.analysis.search_calibration import SearchCalibration, fit_search
from ivreid.datasets import load_dataset
from ivreid.datasets.features import read_features, read_marks
from ivreid.errors import DataError, ProtocolError, UsageError
from ivreid.evaluation.evaluate_model import configured_root
from ivreid.evaluation.leaks import DIVIDED
from ivreid.evaluation.tested_features import refuse_test_features
from ivreid.inference import Flip, embed_samples, load, weights_file
from ivreid.inference.embedder import Precision
from ivreid.io import check_output, file_hash
from ivreid.models.exported import is_exported
from ivreid.models.weights import model_fingerprint, read_card, store_card
from ivreid.protocols import SYNTHETIC_MARK, make_protocol
from ivreid.types import Embeddings, Progress


@dataclass(frozen=True)
class StoredCalibration:
    """A calibration, whom it was fitted on, and where it stands.

    Attributes:
        calibration: The threshold with its interval, and the pairs it comes from; or one for searches.
        origin: `source` ("features" or "validation identities"), the features' hash or the dataset, and
            `trained_on`, how many of the people were trained on; `synthetic` where they are drawn; where it is stored, `computed`, what the
            embeddings were computed with, too.
        weights: The weights file whose card holds it; None where it is stored nowhere.
        name: Its name there.
    """

    calibration: Calibration | SearchCalibration
    origin: Mapping[str, Any]
    weights: Path | None
    name: str = DEFAULT

    def to_json(self) -> dict[str, Any]:
        """The block `calibrations.NAME` of a weights card."""
        return {**self.calibration.to_json(), **self.origin}


@dataclass(frozen=True)
class _People:
    """Embeddings to fit on, the protocol whose camera rule holds, their origin, and the weights to store in."""

    embeddings: Embeddings
    protocol: str | None
    origin: dict[str, Any]
    weights: Path | None


def calibrate(
    source: Path | str,
    *,
    fpr: float = 0.01,
    fpir: float | None = None,
    searched: int | None = None,
    name: str | None = None,
    weights: Path | str | None = None,
    data_root: Path | str | None = None,
    protocol: str | None = None,
    metric: str = "cosine",
    confidence: float = 0.95,
    seed: int = 0,
    allow_leak: bool = False,
    allow_test: bool = False,
    precision: Precision = "fp32",
    flip: Flip | bool = False,
    device: str = "auto",
    batch_size: int = 64,
    progress: Progress | None = None,
) -> StoredCalibration:
    """Fit a distance threshold for "same person" and store it in the weights' card.

    It is the largest distance at which no more than the share `fpr` of the pairs of two people (one visible,
    one infrared image) would pass.

    Args:
        source: A run folder or weights file, whose validation images are embedded; or a features file (.npz).
        fpr: Share of the pairs of two people that may pass as one person, in (0, 1).
        fpir: Instead of `fpr`: the share of searches for somebody absent that may find "likely same", with
            `searched`; see `fit_search`. 0.01 where only that is given.
        searched: Rows of such a search.
        name: What the card calls it; one of that name is replaced, others stay. None: "default", or "search".
        weights: With a features file: the run folder or weights file to store the threshold in.
        data_root: The dataset's folder, where it has moved since training.
        protocol: With a features file: whose cameras imply the modality, and whose camera rule holds.
        metric: "cosine" or "euclidean".
        confidence: Coverage of the intervals.
        seed: Of the resampling over people.
        allow_leak: Go on although identities were trained on; `origin` counts them.
        allow_test: Go on although the features are those that the weights were tested on; `origin` says so.
        precision: What the embeddings are computed in, or were: the threshold holds for that alone.
        flip: What mirror images do, or did, see `Embedder`.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: Images per batch.
        progress: Called with (images embedded, images in all).

    Raises:
        UsageError: Options that do not fit, or no validation identities to fit on.
        ProtocolError: Identities were trained on, the features are those of the test, or the dataset is another.
        DataError, CheckpointError: Files that cannot be used, or too few pairs to see such a rate.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"--confidence {confidence}: a coverage lies between 0 and 1, such as 0.95")
    source = Path(source)
    for_searches = fpir is not None or searched is not None
    name = check_calibration_name(default_name(SEARCH if for_searches else PAIRS) if name is None else name)
    if for_searches and (searched is None or metric != "cosine"):
        raise UsageError("--fpir needs --searched N, the rows a search goes through, and cosine distances")
    check_precision(precision)
    if source.suffix == ".npz":
        people = _from_features(source, weights, protocol, allow_test)
    elif weights is not None or protocol is not None:
        raise UsageError("--weights and --protocol go with a FEATURES.npz; a run knows its own")
    else:
        check_output(weights_file(source))
        people = _from_run(source, data_root, (precision, flip), device, batch_size, progress)
    trained_on = _trained_on(people, allow_leak)
    found: Calibration | SearchCalibration
    if searched is not None:
        rate = 0.01 if fpir is None else fpir
        found = fit_search(people.embeddings, searched=searched, fpir=rate, confidence=confidence, seed=seed)
        found = replace(found, synthetic=SYNTHETIC_MARK in people.origin)
    else:
        rule = make_protocol(people.protocol) if people.protocol is not None else None
        found = fit_threshold(
            people.embeddings, fpr=fpr, metric=metric, protocol=rule, seed=seed, confidence=confidence
        )
    stored = StoredCalibration(found, {**people.origin, "trained_on": trained_on}, people.weights, name)
    if people.weights is not None:
        try:
            stored = _stored(stored, people.weights, precision, flip)
        except DataError as error:
            raise DataError(f"{error}. Not stored is what was found: {_in_short(found)}") from error
    return stored


def _from_features(path: Path, weights: Path | str | None, protocol: str | None, allow_test: bool) -> _People:
    target = weights_file(weights) if weights is not None else None
    if target is not None:
        check_output(target, inputs=[path])
    origin: dict[str, Any] = {"source": "features", "features": file_hash(path)} if path.is_file() else {}
    origin |= {SYNTHETIC_MARK: True} if read_marks(path).synthetic else {}
    embeddings = read_features(path, protocol=protocol)
    folders = [path.parent, *([target.parent] if target is not None else [])]
    tested = refuse_test_features(embeddings, path, folders, allow_test=allow_test)
    return _People(embeddings, protocol, {**origin, **({"tested_on": tested} if tested else {})}, target)


def _from_run(
    path: Path,
    data_root: Path | str | None,
    way: tuple[Precision, Flip | bool],
    device: str,
    batch_size: int,
    progress: Progress | None,
) -> _People:
    """The validation images that a run's weights were selected on, embedded by them."""
    target = weights_file(path)
    embedder = load(target, device=device, batch_size=batch_size, precision=way[0], flip=way[1])
    pids = set((embedder.card.get("selection") or {}).get("pids") or ())
    known = embedder.card.get("dataset") or {}
    if not pids or "name" not in known:
        raise UsageError(
            f"{target} names no validation identities, so nobody is known that it was not trained on; embed "
            f"images of other people and give those: ivreid calibrate FEATURES.npz --weights {path}"
        )
    root = data_root or configured_root(target.parent, known["name"])
    if root is None:
        raise UsageError(
            f"{target.parent / 'config.yaml'} does not say where {known['name']} lies; give it with --data ROOT"
        )
    dataset = load_dataset(known["name"], root, trial=known.get("trial"))
    if known.get("fingerprint") not in (None, dataset.fingerprint):
        raise ProtocolError(
            f"{dataset.root} has the fingerprint {dataset.fingerprint}, and {target} was trained on "
            f"{known['fingerprint']}: not the same images, so the validation identities may be other people"
        )
    divided = ("test",) if known.get(DIVIDED) else ()  # then the dataset itself names no other split
    samples = [
        s for name in ("train", "val", *divided) for s in dataset.splits.get(name, ()) if s.pid in pids
    ]
    embeddings = embed_samples(embedder, dataset.root, samples, progress=progress)
    origin: dict[str, Any] = {"source": "validation identities", "dataset": dict(known)}
    origin |= {SYNTHETIC_MARK: True} if dataset.synthetic else {}
    return _People(embeddings, dataset.name, origin, target)


def _trained_on(people: _People, allowed: bool) -> int:
    """How many of the people the weights were trained on; more than none is refused unless allowed."""
    if people.weights is None:
        return 0
    pids = {int(pid) for pid in people.embeddings.images.pids}
    seen = sorted(pids & set(read_card(people.weights).get("train_pids") or ()))
    if seen and not allowed:
        raise ProtocolError(
            f"{len(seen)} of {len(pids)} identities were trained on (first: {seen[0]}): they lie further "
            "apart than people the model has not seen, and a threshold fitted on them would let too many "
            "pass; give others, or --allow-leak if these numbers are another dataset's"
        )
    return len(seen)


def _in_short(found: Calibration | SearchCalibration) -> str:
    if isinstance(found, Calibration):
        return f"{found.metric} distance {found.threshold.estimate:.6f} at a rate of {found.fpr:.4%}"
    listed = (f"{' by '.join(key)} {table.same:.6f}" for key, table in found.tables.items())
    return f"likely the same up to cosine distance {', '.join(listed)}"


def _stored(found: StoredCalibration, target: Path, precision: str, flip: Flip | bool) -> StoredCalibration:
    """The calibration written into the card of `target`, bound to what those weights compute."""
    card = read_card(target)
    if is_exported(target):
        precision = card["export"]["precision"]  # it computes in nothing else
    computed = Computed(model_fingerprint(target), precision, flip)
    bound = replace(found, origin={**found.origin, "computed": computed.to_json()})
    store_card(target, with_calibration(card, found.name, bound.to_json()))
    return bound
