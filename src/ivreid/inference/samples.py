"""Embeddings of a dataset's samples, or of a folder's images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ivreid.data import open_images
from ivreid.errors import DataError, UsageError
from ivreid.inference.embedder import Embedder
from ivreid.io import IMAGE_SUFFIXES
from ivreid.types import NO_CAMERA, UNKNOWN_PID, Embeddings, ImageTable, Modality, Progress, Sample


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
        deep=embedder.preprocessing.deep,
        cache=cache,
        dataset=dataset,
        workers=embedder.workers,
    )
    return Embeddings(embedder.embed_source(source, table.infrared, progress=progress), table)


def find_samples(path: Path | str, modality: Modality | str) -> tuple[Path, tuple[Sample, ...]]:
    """The images in a folder (and folders in it), or one image file, as samples of one modality.

    The nearest folder above an image that is named by a whole number is its pid, the nearest named `camN` its
    camera; an image without has the pid `UNKNOWN_PID` and no camera.

    Returns:
        The root, and the samples sorted by path.

    Raises:
        DataError: No such path, or no image in it.
        UsageError: Images of the other modality in it, by the names of its folders.
    """
    path, modality = Path(path), Modality(modality)
    if path.is_file():
        return path.parent, (Sample(path.name, UNKNOWN_PID, NO_CAMERA, modality, 1),)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder or image")
    files = sorted(
        (Path(folder) / name).relative_to(path).as_posix()
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )
    if not files:
        raise DataError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    other = Modality.VISIBLE if modality is Modality.INFRARED else Modality.INFRARED
    wrong = next((file for file in files if other.value in Path(file).parts[:-1]), None)
    if wrong is not None:
        raise UsageError(
            f"{path / wrong} lies in a folder {other.value!r}, but the modality is {modality.value!r}; embed "
            "the folders of the two modalities one by one"
        )
    seen: Counter[tuple[int, int]] = Counter()
    samples = []
    for file in files:
        who = _pid_and_camera(file)
        seen[who] += 1
        samples.append(Sample(file, *who, modality, seen[who]))
    return path, tuple(samples)


def _pid_and_camera(file: str) -> tuple[int, int]:
    pid, camid = UNKNOWN_PID, NO_CAMERA
    for part in Path(file).parts[:-1]:
        if re.fullmatch(r"[0-9]{1,9}", part):
            pid = int(part)
        elif camera := re.fullmatch(r"cam([0-9]{1,4})", part):
            camid = int(camera[1])
    return pid, camid


def embed_folder(
    embedder: Embedder, path: Path | str, modality: Modality | str, *, progress: Progress | None = None
) -> Embeddings:
    """Embed the images that `find_samples` finds."""
    root, samples = find_samples(path, modality)
    return embed_samples(embedder, root, samples, progress=progress)
