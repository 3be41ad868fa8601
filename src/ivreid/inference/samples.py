"""Embeddings of a dataset's samples, or of a folder's images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ivreid.data import open_images
from ivreid.datasets.features import FEATURES, features_size, write_features
from ivreid.datasets.found_pictures import find_pictures
from ivreid.errors import DataError
from ivreid.inference.embedder import Embedder
from ivreid.inference.loading import load
from ivreid.inference.path_labels import (
    check_identity,
    pid_and_camera,
    refuse_other_modality,
    shared_numbers,
)
from ivreid.inference.test_time import Flip
from ivreid.io import check_output
from ivreid.paths import not_there
from ivreid.types import NO_CAMERA, UNKNOWN_PID, Embeddings, ImageTable, Modality, Progress, Sample

log = logging.getLogger(__name__)


def embed_samples(
    embedder: Embedder,
    root: Path | str,
    samples: Sequence[Sample],
    *,
    cache: Path | None = None,
    dataset: str = "",
    progress: Progress | None = None,
) -> Embeddings:
    """Embed a split.

    Args:
        embedder: The network, with its device, batch size and workers.
        root: The dataset's folder.
        samples: What to embed; the rows of the result.
        cache: Folder of the decoded-image cache; None decodes the files, which is as good for a single pass.
        dataset: The dataset's fingerprint, for the cache.
        progress: Called with (done, total).

    Returns:
        L2-normalised embeddings with their images' ids.

    Raises:
        ImageError: Unreadable images, all of them named; an evaluation never skips any.
        DataError: No samples.
    """
    if not samples:
        raise DataError(f"there is no image to embed in {root}")
    table = ImageTable.from_samples(samples)
    source, _ = open_images(
        root,
        table.paths,
        embedder.preprocessing.size,
        value_range=embedder.preprocessing.value_range,
        resize=embedder.preprocessing.resize,
        cache=cache,
        dataset=dataset,
        workers=embedder.workers,
    )
    return Embeddings(embedder.embed_source(source, table.infrared, progress=progress), table)


def find_samples(
    path: Path | str,
    modality: Modality | str,
    *,
    identity: str | None = None,
    notice: Callable[[str], None] = log.warning,
) -> tuple[Path, tuple[Sample, ...]]:
    """The images in a folder (and folders in it, and behind links), or one image file, as samples of one modality.

    A folder above an image that is named by a whole number is its pid, one named `camN` its camera; an image
    without has the pid `UNKNOWN_PID` and no camera.

    Args:
        path: The folder or image.
        modality: "visible" or "infrared".
        identity: Where several numbered folders lie above an image, which names the person: outer, inner or
            none.
        notice: Called with a line about what was left out, and about pids that several folders share.

    Returns:
        The root, and the samples sorted by path.

    Raises:
        DataError: No such path, no image in it, or folders in it that cannot be read.
        UsageError: Images of the other modality in it, by its folders' names or the layout of a dataset; or
            several numbered folders above an image, without `identity`.
    """
    path, modality = Path(path), Modality(modality)
    check_identity(identity)
    if path.is_file():
        refuse_other_modality(path.parent, (path.name,), {}, modality)
        return path.parent, (Sample(path.name, UNKNOWN_PID, NO_CAMERA, modality, 1),)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder or image{not_there(path)}")
    found = find_pictures(path)
    refuse_other_modality(path, found.files, found.layouts, modality)
    who = {file: pid_and_camera(file, identity) for file in found.files}
    for line in (*found.notes(), *shared_numbers({file: pid for file, (pid, _) in who.items()})):
        notice(line)
    seen: Counter[tuple[int, int]] = Counter()
    samples = []
    for file in found.files:
        seen[who[file]] += 1
        samples.append(Sample(file, *who[file], modality, seen[who[file]]))
    return path, tuple(samples)


def embed_folder(
    model: Embedder | Path | str,
    path: Path | str,
    modality: Modality | str,
    *,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    flip: Flip | bool = False,
    identity: str | None = None,
    out: Path | str | None = None,
    notice: Callable[[str], None] = log.warning,
    progress: Progress | None = None,
) -> Embeddings:
    """Embed the images in a folder (and folders in it, and behind links), or one image file; all of one modality.

    A folder named by a number gives the pid of its images (`7/a.jpg`), a folder `camN` their camera; images in
    no numbered folder have the pid `UNKNOWN_PID`.

    Args:
        model: A run folder, a weights file, or what `ivreid.load` gave.
        path: The folder or image.
        modality: "visible" or "infrared".
        device: auto, cpu, cuda, cuda:N or mps; of a loaded model, its own.
        batch_size: Images per batch; of a loaded model, its own.
        workers: Decoding threads; of a loaded model, its own.
        flip: What mirror images do, see `load`; of a loaded model, as it was loaded.
        identity: Where several numbered folders lie above an image, which names the person: outer, inner or
            none.
        out: A features file to write them to; whether it can be written is found before the work.
        notice: Called with a line about what was left out, and about pids that several folders share.
        progress: Called with (done, total).

    Returns:
        L2-normalised embeddings with their images' ids; `ivreid.write_features` writes them, too.

    Raises:
        DataError: No such path, no image in it, folders in it that cannot be read, or `out` cannot be written.
        ImageError: Unreadable images, all of them named.
        UsageError: As `find_samples`; or `out` would overwrite something else.
        CheckpointError: Weights that cannot be used.
    """
    # first: a wrong path is told at once
    inputs = [path, *([] if isinstance(model, Embedder) else [model])]
    if out is not None:
        check_output(out, FEATURES, inputs=inputs)
    root, samples = find_samples(path, modality, identity=identity, notice=notice)
    if not isinstance(model, Embedder):
        model = load(model, device=device, batch_size=batch_size, workers=workers, flip=flip)
    if out is not None:
        longest = max(len(sample.path) for sample in samples)
        size = features_size(len(samples), model.embedding_dim, longest)
        check_output(out, FEATURES, inputs=inputs, size=size)
    embeddings = embed_samples(model, root, samples, progress=progress)
    if out is not None:
        write_features(out, embeddings)
    return embeddings
