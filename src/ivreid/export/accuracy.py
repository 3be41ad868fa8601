"""Whether int8 still finds people: Rank-1 and mAP on a real split, before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivreid.data import open_images
from ivreid.data.pixels import Pixels
from ivreid.datasets import Dataset, load_dataset, recognise
from ivreid.errors import DataError, UsageError
from ivreid.evaluation.evaluate_model import configured_root
from ivreid.evaluation.leaks import leak_notes
from ivreid.evaluation.validation import score_published, score_validation
from ivreid.inference import Embedder, embed_samples, find_samples
from ivreid.protocols.collapse import collapse_notes
from ivreid.types import BoolArray, Embeddings, Modality, Progress, Sample

FIGURES = ("rank1", "mAP")
CALIBRATION_IMAGES = 128
"""Of each modality; more moves the ranges little."""


@dataclass(frozen=True)
class GateSplit:
    """The images on which precisions are compared.

    Attributes:
        name: What they are, for people.
        dataset: Where they lie.
        samples: The images themselves.
        score: From their embeddings to Rank-1 and mAP, fractions.
    """

    name: str
    dataset: Dataset
    samples: tuple[Sample, ...]
    score: Callable[[Embeddings, Dataset], dict[str, float]]

    def figures(self, embedder: Embedder, progress: Progress | None = None) -> tuple[dict[str, float], str]:
        """Rank-1 and mAP of an embedder, in percent, and why they say nothing: empty unless its embeddings collapsed."""
        embeddings = embed_samples(embedder, self.dataset.root, self.samples, progress=progress)
        found = self.score(embeddings, self.dataset)
        return {name: 100 * found[name] for name in FIGURES}, " ".join(collapse_notes(embeddings))


def gate_split(model: Path | str, card: Mapping[str, Any], data_root: Path | str | None) -> GateSplit:
    """The validation identities of the weights where they name them, else the test identities of their dataset.

    Args:
        model: What is exported; a run folder knows where its dataset lies.
        card: Of its weights.
        data_root: Where it lies, if elsewhere; it may be another dataset.

    Raises:
        UsageError: Nothing says where there are images of known people.
        ProtocolError: Test identities that were trained on.
        DataError: A dataset that cannot be used.
    """
    known = card.get("dataset") or {}
    name = (recognise(data_root) if data_root is not None else None) or known.get("name")
    root = data_root or (configured_root(model, name) if name else None)
    if name is None or root is None:
        raise UsageError(
            "int8 is compared with fp32 on images of known people before it is written; say where a dataset of them lies "
            "with --data ROOT"
        )
    same = name == known.get("name")
    dataset = load_dataset(name, root, trial=known.get("trial") if same else None)
    pids = set((card.get("selection") or {}).get("pids") or ()) if same else set()
    samples = tuple(s for part in ("train", "val") for s in dataset.splits.get(part, ()) if s.pid in pids)
    if samples:
        return GateSplit(f"validation identities of {name}", dataset, samples, score_validation)
    leak_notes(card, dataset)
    return GateSplit(f"test identities of {name}", dataset, dataset.split("test"), score_published)


def calibration_images(
    path: Path | str, embedder: Embedder, *, without: frozenset[int] = frozenset(), seed: int = 0
) -> tuple[Pixels, BoolArray]:
    """Images of both modalities as the network is given them, drawn at random.

    Args:
        path: A dataset's folder, whose training images are taken; or a folder with `visible` and `infrared` in it.
        embedder: Whose preprocessing holds.
        without: Identities that are compared on, and left out here.
        seed: Decides which images.

    Returns:
        (N, H, W, 3) uint8, and (N,) whether each is infrared.

    Raises:
        UsageError: No such folder.
        DataError: A modality is missing.
        ImageError: An image that cannot be read.
    """
    path = Path(path)
    rng = np.random.default_rng(seed)
    name = recognise(path)
    dataset = load_dataset(name, path) if name is not None else None
    if dataset is not None and "train" in dataset.splits:
        known = [sample for sample in dataset.split("train") if sample.pid not in without]
        found = {modality: [s for s in known if s.modality is modality] for modality in Modality}
    elif all((path / modality.value).is_dir() for modality in Modality):
        found = {modality: _below(path, modality) for modality in Modality}
    else:
        raise UsageError(
            f"{path} is neither a dataset's folder with training images nor one with visible and infrared in it; int8 needs "
            "images of both to measure its ranges"
        )
    missing = [modality.value for modality, samples in found.items() if not samples]
    if missing:
        raise DataError(f"{path} holds no {missing[0]} images to measure ranges on")
    drawn = [
        samples[row]
        for samples in found.values()
        for row in np.sort(rng.permutation(len(samples))[:CALIBRATION_IMAGES])
    ]
    how = embedder.preprocessing
    source, _ = open_images(
        path, [s.path for s in drawn], how.size, value_range=how.value_range, resize=how.resize
    )
    pixels = np.stack([source.read(row) for row in range(len(source))])
    return pixels, np.array([s.modality is Modality.INFRARED for s in drawn])


def _below(path: Path, modality: Modality) -> list[Sample]:
    _, samples = find_samples(path / modality.value, modality, identity="none", notice=lambda line: None)
    return [Sample(f"{modality.value}/{s.path}", s.pid, s.camid, modality, s.frame) for s in samples]
