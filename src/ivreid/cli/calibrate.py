"""`ivreid calibrate`: fit a same-person threshold on validation identities and store it with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivreid.errors import CheckpointError, ProtocolError, UsageError

if TYPE_CHECKING:
    from ivreid.analysis.calibration import Calibration
    from ivreid.types import Embeddings


def run(
    source: Annotated[
        Path,
        typer.Argument(
            help="Run folder or weights file, whose validation images are embedded; or a features file of "
            "people the model was not trained on",
            metavar="RUN_DIR|WEIGHTS|FEATURES.npz",
        ),
    ],
    *,
    fpr: Annotated[
        float,
        typer.Option(help="Share of pairs of two people that may pass as one person: 0.01 is one in 100"),
    ] = 0.01,
    weights: Annotated[
        Path | None,
        typer.Option(help="With FEATURES.npz: the run folder or weights file to store the threshold in"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="The dataset's folder, where it has moved since training", metavar="ROOT"
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="With FEATURES.npz: whose cameras imply the modality, and whose rule holds"),
    ] = None,
    metric: Annotated[str, typer.Option(help="cosine or euclidean")] = "cosine",
    confidence: Annotated[float, typer.Option(help="Coverage of the intervals")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resampling over people")] = 0,
    allow_leak: Annotated[
        bool,
        typer.Option(
            "--allow-leak",
            help="Go on although identity numbers were trained on, and mark the threshold (right where the "
            "numbers are another dataset's)",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images per batch: speed and memory only", min=1)] = 64,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the calibration as JSON", metavar="OUT")
    ] = None,
) -> None:
    """Fit a distance threshold for "same person" at a chosen false-positive rate, with its interval.

    It is the largest distance at which no more than the chosen share of pairs of two people (one visible, one
    infrared image) would be accepted, fitted on people the model has not seen, and is written into the
    weights' card under `calibration`. Cameras, sites and crowds differ: check it where it will be used, and
    never let it alone decide about a person.
    """
    from rich.console import Console

    from ivreid.analysis import calibration
    from ivreid.io import write_json
    from ivreid.protocols import make_protocol

    if not 0 < confidence < 1:
        raise UsageError(f"--confidence {confidence}: a coverage lies between 0 and 1, such as 0.95")
    if source.suffix == ".npz":
        embeddings, target, name, origin = _from_features(source, weights, protocol)
    else:
        if weights is not None or protocol is not None:
            raise UsageError("--weights and --protocol go with a FEATURES.npz; a run knows its own")
        embeddings, target, name, origin = _from_run(source, data, device, batch_size)
    origin["trained_on"] = _leak(embeddings, target, allow_leak)
    rule = make_protocol(name) if name is not None else None
    found = calibration.calibrate(
        embeddings, fpr=fpr, metric=metric, protocol=rule, seed=seed, confidence=confidence
    )
    block = {**found.to_json(), **origin}
    if target is not None:
        _store(target, block)
    if json is not None:
        write_json(json, block)
    console = Console(soft_wrap=True, highlight=False)
    console.print(_sentence(found), markup=False)
    if target is not None:
        console.print(f"stored in the card of {target}", markup=False)


Material = tuple["Embeddings", Path | None, str | None, dict[str, Any]]
"""Embeddings, the weights file to store in, the protocol whose camera rule holds, and the origin."""


def _from_features(path: Path, weights: Path | None, protocol: str | None) -> Material:
    from ivreid.datasets.features import read_features
    from ivreid.io import file_hash

    target = None
    if weights is not None:
        from ivreid.inference import weights_file

        target = weights_file(weights)
    origin = {"source": "features", "features": file_hash(path)} if path.is_file() else {}
    return read_features(path, protocol=protocol), target, protocol, origin


def _from_run(path: Path, data: Path | None, device: str, batch_size: int) -> Material:
    """The validation images that a run's weights were selected on, embedded by them."""
    from ivreid.cli.progress import progress_bar
    from ivreid.datasets import load_dataset
    from ivreid.inference import embed_samples, load, weights_file

    target = weights_file(path)
    embedder = load(target, device=device, batch_size=batch_size)
    card = embedder.card
    pids = set((card.get("selection") or {}).get("pids") or ())
    known = card.get("dataset") or {}
    if not pids or "name" not in known:
        raise UsageError(
            f"{target} names no validation identities, so nobody is known that it was not trained on; embed "
            f"images of other people and give those: ivreid calibrate FEATURES.npz --weights {path}"
        )
    dataset = load_dataset(known["name"], data or _root(path), trial=known.get("trial"))
    if known.get("fingerprint") not in (None, dataset.fingerprint):
        raise ProtocolError(
            f"{dataset.root} has the fingerprint {dataset.fingerprint}, and {target} was trained on "
            f"{known['fingerprint']}: not the same images, so the validation identities may be other people"
        )
    samples = [s for name in ("train", "val") for s in dataset.splits.get(name, ()) if s.pid in pids]
    with progress_bar("Embedding validation images") as tick:
        embeddings = embed_samples(embedder, dataset.root, samples, progress=tick)
    origin = {"source": "validation identities", "dataset": dict(known)}
    return embeddings, target, dataset.name, origin


def _root(path: Path) -> Path:
    from ivreid.yaml_text import read_yaml

    file = path / "config.yaml" if path.is_dir() else path.parent / "config.yaml"
    config = read_yaml(file) if file.is_file() else None
    section = config.get("data") if isinstance(config, dict) else None
    root = section.get("root") if isinstance(section, dict) else None
    if not isinstance(root, str):
        raise UsageError(f"{file} does not say where the dataset is; give it with --data ROOT")
    return Path(root)


def _leak(embeddings: Embeddings, target: Path | None, allowed: bool) -> int:
    """How many of the people were trained on; more than none is refused unless allowed."""
    if target is None:
        return 0
    from ivreid.models.weights import read_card

    people = {int(pid) for pid in embeddings.images.pids}
    seen = sorted(people & set(read_card(target).get("train_pids") or ()))
    if seen and not allowed:
        raise ProtocolError(
            f"{len(seen)} of {len(people)} identities were trained on (first: {seen[0]}): they lie further "
            "apart than people the model has not seen, and a threshold fitted on them would let too many "
            "pass; give others, or --allow-leak if these numbers are another dataset's"
        )
    return len(seen)


def _store(target: Path, block: dict[str, Any]) -> None:
    from ivreid.models.weights import read_weights, write_weights

    tensors, card = read_weights(target)
    if not tensors:
        raise CheckpointError(f"{target} holds no tensors")
    write_weights(target, tensors, {**card, "calibration": block})


def _sentence(found: Calibration) -> str:
    threshold, tpr = found.threshold, found.tpr
    return (
        f"same person where the {found.metric} distance is at most {threshold.estimate:.4f} "
        f"({threshold.confidence:.0%} interval {threshold.low:.4f} to {threshold.high:.4f})\n"
        f"at this false-positive rate, {found.fpr:.2%}, {tpr.estimate:.1%} of pairs of one person pass "
        f"({tpr.low:.1%} to {tpr.high:.1%}); equal error rate {found.equal_error_rate:.1%}\n"
        f"from {found.genuine_pairs:,} pairs of one person and {found.impostor_pairs:,} of two, "
        f"{found.identities:,} people"
    )
