"""Embeddings of a dataset's samples, or of a folder's images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ivreid.data import open_images
from ivreid.datasets import number_frames
from ivreid.datasets.extra_checks import some
from ivreid.datasets.features import FEATURES, features_size, write_features
from ivreid.datasets.found_pictures import find_pictures
from ivreid.errors import DataError, ImageError
from ivreid.inference.embedder import Embedder
from ivreid.inference.loading import load
from ivreid.inference.path_labels import (
    check_identity,
    pid_and_camera,
    refuse_other_modality,
    shared_numbers,
)
from ivreid.inference.test_time import Flip
from ivreid.io import check_output, json_with, write_json
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
    skipped: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> Embeddings:
    """Embed a split.

    Args:
        embedder: The network, with its device, batch size and workers.
        root: The dataset's folder.
        samples: What to embed; the rows of the result.
        cache: Folder of the decoded-image cache; None decodes the files, which is as good for a single pass.
        dataset: The dataset's fingerprint, for the cache.
        skipped: Receives unreadable images with the reason; they are left out, and frames count the others. None:
            they are an error, for an evaluation never skips any.
        progress: Called with (done, total).

    Returns:
        L2-normalised embeddings with their images' ids.

    Raises:
        ImageError: Unreadable images, all of them named; or, with `skipped`, no other.
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
    if skipped is None:
        return Embeddings(embedder.embed_source(source, table.infrared, progress=progress), table)
    bad: dict[int, str] = {}
    vectors = embedder.embed_source(source, table.infrared, skipped=bad, progress=progress)
    skipped |= {table.paths[row]: why for row, why in bad.items()}
    if not len(vectors):
        raise ImageError(
            f"none of the {len(bad):,} images in {root} can be read, first: {next(iter(bad.values()))}"
        )
    left = [(s.path, s.pid, s.camid, s.modality) for row, s in enumerate(samples) if row not in bad]
    order = {path: row for row, (path, *_) in enumerate(left)}
    kept = number_frames(left)
    return Embeddings(vectors[[order[one.path] for one in kept]], ImageTable.from_samples(kept))


def find_samples(
    path: Path | str,
    modality: Modality | str,
    *,
    identity: str | None = None,
    skipped: dict[str, str] | None = None,
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
        skipped: Receives folders and names that cannot be read, with the reason; None: they are an error.
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
    found = find_pictures(path, go_on=skipped is not None)
    if skipped is not None:
        skipped |= found.unreadable
    refuse_other_modality(path, found.files, found.layouts, modality)
    who = {file: pid_and_camera(file, identity) for file in found.files}
    for line in (*found.notes(), *shared_numbers({file: pid for file, (pid, _) in who.items()})):
        notice(line)
    return path, tuple(number_frames([(file, *who[file], modality) for file in found.files]))


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
    skip_bad: bool = False,
    out: Path | str | None = None,
    half: bool = False,
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
        skip_bad: Go on where an image or folder cannot be read; a notice counts them, and with `out` each is named
            with its reason in a file beside it, `skipped_file(out)`.
        out: A features file to write them to; whether it can be written is found before the work.
        half: Let `out` hold them as float16, half the size; what is returned is float32 as ever.
        notice: Called with a line about what was left out, and about pids that several folders share.
        progress: Called with (done, total).

    Returns:
        L2-normalised embeddings with their images' ids; `ivreid.write_features` writes them, too.

    Raises:
        DataError: No such path, no image in it, folders in it that cannot be read, or `out` cannot be written.
        ImageError: Unreadable images, all of them named; with `skip_bad` where no other is left.
        UsageError: As `find_samples`; or `out` would overwrite something else.
        CheckpointError: Weights that cannot be used.
    """
    # first: a wrong path is told at once
    inputs = [path, *([] if isinstance(model, Embedder) else [model])]
    if out is not None:
        check_output(out, FEATURES, inputs=inputs)
    if out is not None and skip_bad:
        check_output(skipped_file(out), SKIPPED, inputs=inputs)
    skipped: dict[str, str] | None = {} if skip_bad else None
    root, samples = find_samples(path, modality, identity=identity, skipped=skipped, notice=notice)
    if not isinstance(model, Embedder):
        model = load(model, device=device, batch_size=batch_size, workers=workers, flip=flip)
    if out is not None:
        longest = max(len(sample.path) for sample in samples)
        size = features_size(len(samples), model.embedding_dim, longest, half=half)
        check_output(out, FEATURES, inputs=inputs, size=size)
    embeddings = embed_samples(model, root, samples, skipped=skipped, progress=progress)
    if out is not None:
        write_features(out, embeddings, weights=model.fingerprint, half=half)
    if skipped:
        notice(f"{len(skipped):,} could not be read and were skipped: {some(sorted(skipped))}")
    if skipped is not None and out is not None:
        write_json(skipped_file(out), [{"path": one, "reason": why} for one, why in sorted(skipped.items())])
    return embeddings


SKIPPED = json_with("lists of skipped images", "path", "reason")


def skipped_file(features: Path | str) -> Path:
    """Where the images are named that a features file lacks because they cannot be read."""
    return Path(features).with_suffix(".skipped.json")
