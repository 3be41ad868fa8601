"""Evaluates trained weights by their dataset's protocol, never on people they were trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ivreid.analysis.beyond import evaluate_beyond, variants
from ivreid.analysis.per_query import QueryTable
from ivreid.catalogue import changes
from ivreid.config.parse import load_config
from ivreid.datasets import Dataset, load_dataset, recognise
from ivreid.distributed.group import process_group
from ivreid.distributed.processes import local_device, process_from_environment
from ivreid.errors import UsageError
from ivreid.evaluation.leaks import leak_notes, unseen_people
from ivreid.evaluation.position import unfinished_notes
from ivreid.evaluation.run_folder import RunFolder
from ivreid.evaluation.saved_results import (
    check_can_save,
    drop_older_models,
    evaluation_folder,
    save_results,
)
from ivreid.evaluation.settings import ChosenSetting, choose_settings
from ivreid.evaluation.sharded import embed_sharded
from ivreid.inference import Embedder, Flip, embed_samples, flip_of, load, tta_name, weights_file
from ivreid.inference.test_time import first_of_spectra
from ivreid.models.exported import is_exported
from ivreid.paths import not_there
from ivreid.protocols import Result
from ivreid.retrieval import parse_reranker
from ivreid.types import Embeddings, Notice, Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelOnDataset:
    """What is evaluated.

    Attributes:
        embedder: The network.
        dataset: The images, with the split to test on.
        fingerprint: Of the weights.
        notes: What a reader of the results must know.
    """

    embedder: Embedder
    dataset: Dataset
    fingerprint: str
    notes: tuple[str, ...]

    @property
    def fingerprints(self) -> dict[str, str]:
        """What a result records: the images, the weights, and where weights were fetched from."""
        found = {"dataset": self.dataset.fingerprint, "model": self.fingerprint}
        return found if self.embedder.address is None else {**found, "weights": self.embedder.address}


def evaluate_run(
    path: Path | str,
    *,
    data_root: Path | str | None = None,
    dataset: str | None = None,
    trial: int | None = None,
    settings: Sequence[Mapping[str, Any]] | None = None,
    permutations: Path | str | None = None,
    metric: str = "cosine",
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    flip: Flip | bool | None = None,
    rerank: str | None = None,
    allow_leak: bool = False,
    every: bool = False,
    open_set: bool = False,
    mixed: bool = False,
    gallery_sizes: bool = False,
    queries: QueryTable | None = None,
    notice: Notice = log.warning,
    progress: Progress | None = None,
) -> list[Result]:
    """Embed the test images and evaluate them under one or several protocol settings.

    Results carry intervals, breakdowns and verification figures (docs/statistics.md). Given a run folder, it
    writes the embeddings to `features.npz` there and the results into `results.json`; those on other images than
    the run's own go to `evaluations/NAME/` in it. Processes that torchrun started embed a share each; rank 0 does
    the rest.

    Args:
        path: A run folder, a weights file, an exported model, or an address `hf://ORG/NAME[@REVISION]`.
        data_root: The dataset's folder; a run folder knows where it was.
        dataset: The dataset's registry name; weights know what they were trained on.
        trial: RegDB's split; the weights' own where not given.
        settings: Per result the options of `make_protocol` (mode, shots, draw, direction, cmc), and `rerank`; None:
            the protocol's defaults. Of several, those that these images cannot serve are told and left out.
        permutations: SYSU-MM01's `rand_perm_cam.mat`, where it does not lie in the dataset.
        metric: "cosine" or "euclidean".
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: Images per batch: speed and memory only.
        workers: Decoding threads; None chooses.
        flip: What mirror images do: "none", "average" (True means it, too) or "unit", see `Embedder`; the results are
            marked. None: what the run folder's configuration says, and "none" for other weights.
        rerank: Re-rank as `ivreid.retrieval.parse_reranker` reads it, e.g. "aim:k1=4,k2=1", under every setting that
            names no other; the results are marked.
        allow_leak: Evaluate although test identities were trained on; the results are marked.
        every: Under every mode, number of shots and direction that the settings leave open.
        open_set: Instead of each setting, or beside `mixed`: with half of the people absent from the gallery.
        mixed: Instead of each setting, or beside `open_set`: with both modalities in the gallery.
        gallery_sizes: Say also how the ranks would be in smaller galleries.
        queries: Takes in what became of every query; `write` it afterwards.
        notice: Called with a line about settings left out, and about where results go or leave.
        progress: Called with (images embedded, images in all).

    Returns:
        One result per setting, in their order; on other processes than rank 0 none.

    Raises:
        ProtocolError: The model was trained on identities it would be tested on.
        UsageError: Unknown options, or no way to know the dataset.
        DataError, ImageError, CheckpointError: Files that cannot be used, or a run folder that cannot be written:
            found before the work.
        ResultsNotSaved: It could not be written at the end; the error holds the results.
    """
    if device == "auto" and is_exported(path):
        device = "cpu"  # where onnxruntime computes
    process = process_from_environment()
    folder = RunFolder(Path(path)) if Path(path).is_dir() else None
    if folder is not None and process.is_main:
        check_can_save(folder)
    asked = [dict(setting) for setting in settings or ({},)]
    words = [setting.pop("rerank", None) or rerank for setting in asked]
    rerankers = [parse_reranker(text, metric) if text else None for text in words]
    spectra = any(one.spectra for one in rerankers if one)
    flip = flip_of(configured_flip(path) if flip is None else flip)
    with process_group(device, process):
        subject = open_model_on_dataset(
            path,
            data_root=data_root,
            dataset=dataset,
            trial=trial,
            device=str(local_device(device, process)),
            batch_size=batch_size,
            workers=workers,
            flip=flip,
            spectra=spectra,
            allow_leak=allow_leak,
        )
        images = subject.dataset
        notice = notice if process.is_main else (lambda _: None)
        chosen = choose_settings(  # before the work: a wrong option is told at once
            asked, rerankers, images, every=every, permutations=permutations, notice=notice
        )
        chosen = [
            replace(one, protocol=variant)
            for one in chosen
            for variant in variants(one.protocol, open_set=open_set, mixed=mixed)
        ]
        target = folder
        if folder is not None and process.is_main:
            target = evaluation_folder(folder, subject.embedder.card, images, Path(data_root or images.root))
            if target != folder:
                notice(f"these are not the run's own images: features and results go to {target.path}")
                check_can_save(target)
        embeddings = embed_sharded(
            process,
            images.split("test"),
            lambda share: embed_samples(subject.embedder, images.root, share, progress=progress),
        )
        if embeddings is None:
            return []
        plain = first_of_spectra(embeddings) if spectra else embeddings
        results = [
            _evaluate(subject, embeddings, plain, one, metric, flip, gallery_sizes=gallery_sizes)
            for one in chosen
        ]
        if queries is not None:
            for one, result in zip(chosen, results, strict=True):
                source = embeddings if one.spectra else plain
                queries.add(source, one.protocol, result.title, metric=metric, distance=one.reranker)
        if folder is not None and target is not None:
            drop_older_models(folder, subject.fingerprint, notice)
            mirrored = flip not in ("none", flip_of(configured_flip(path)))
            save_results(
                target,
                plain,
                results,
                mirrored=mirrored,
                synthetic=images.synthetic,
                weights=subject.fingerprint,
            )
        return results


def _evaluate(
    subject: ModelOnDataset,
    embeddings: Embeddings,
    plain: Embeddings,
    setting: ChosenSetting,
    metric: str,
    flip: Flip,
    *,
    gallery_sizes: bool,
) -> Result:
    reranker = setting.reranker
    result = evaluate_beyond(
        embeddings if setting.spectra else plain,
        setting.protocol,
        metric=metric,
        distance=reranker,
        gallery_sizes=gallery_sizes,
        rerank=reranker.label if reranker else None,
        tta=tta_name(flip, spectra=setting.spectra),
        fingerprints=subject.fingerprints,
        notes=(*subject.notes, *([reranker.note] if reranker else [])),
    )
    return result.marked_synthetic() if subject.dataset.synthetic else result


def open_model_on_dataset(
    path: Path | str,
    *,
    data_root: Path | str | None = None,
    dataset: str | None = None,
    trial: int | None = None,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    flip: Flip | bool = False,
    spectra: bool = False,
    allow_leak: bool = False,
) -> ModelOnDataset:
    """Load weights and the images they are to be tested on; arguments and errors as for `evaluate_run` and `load`."""
    file = weights_file(path)
    embedder = load(file, device=device, batch_size=batch_size, workers=workers, flip=flip, spectra=spectra)
    trained_on = embedder.card.get("dataset") or {}
    name = dataset or (_recognised(data_root) if data_root else None) or trained_on.get("name")
    if name is None:
        raise UsageError(
            f"{file} does not say which dataset it was trained on; say which to test on with --data ROOT, and "
            "with --dataset where its layout is none of the known ones"
        )
    root = data_root or configured_root(path, name)
    if root is None:
        raise UsageError(f"say where {name} lies with --data ROOT")
    if trial is None and name == trained_on.get("name"):
        trial = trained_on.get("trial")
    data = unseen_people(embedder.card, load_dataset(name, root, trial=trial))
    notes = [
        *leak_notes(embedder.card, data, allow_leak=allow_leak),
        *unfinished_notes(Path(path)),
        *_selection_notes(embedder.card),
        *changes(embedder.card.get("plugins")),
    ]
    return ModelOnDataset(embedder, data, embedder.fingerprint or "", tuple(notes))


def _recognised(root: Path | str) -> str | None:
    """The dataset that a folder's layout tells, or that a table is."""
    return "csv" if Path(root).suffix.lower() == ".csv" and Path(root).is_file() else recognise(root)


def configured_settings(path: Path | str) -> list[dict[str, Any]]:
    """The protocol settings that a run folder's configuration lists.

    Raises:
        UsageError: No run folder with a configuration.
    """
    file = RunFolder(Path(path)).config
    if not file.is_file():
        raise UsageError(
            f"{path} is no run folder with a config.yaml; name the setting instead of --configured"
        )
    return load_config(file).protocol_settings()


def configured_flip(path: Path | str) -> Flip:
    """What a run folder's configuration says of mirror images; "none" for other weights."""
    file = RunFolder(Path(path)).config
    return load_config(file).embedding.flip if file.is_file() else "none"


def configured_root(path: Path | str, dataset: str) -> Path | None:
    """Where a run folder's configuration says that dataset lies; None where it does not.

    Raises:
        UsageError: It does not lie there.
    """
    file = RunFolder(Path(path)).config
    if not file.is_file():
        return None
    data = load_config(file).data
    if data.dataset != dataset or data.root is None:
        return None
    if not data.root.exists():
        raise UsageError(
            f"{file} says data.root = {data.root}, which does not exist{not_there(data.root)}; say where {dataset} "
            "lies with --data ROOT"
        )
    return data.root


def _selection_notes(card: Mapping[str, Any]) -> list[str]:
    if (card.get("selection") or {}).get("on") != "published-test":
        return []
    return ["the weights were selected on test identities (the published selection): the figures flatter"]
