"""Whether features are those a model was tested on: a threshold fitted on them would make that test its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ivreid.datasets.features import read_features, read_marks
from ivreid.errors import ProtocolError
from ivreid.types import Embeddings, FloatArray


def refuse_test_features(
    embeddings: Embeddings, path: Path, folders: Iterable[Path], *, allow_test: bool = False
) -> int:
    """Refuse features of test images: by the mark that an evaluation leaves in its file, or by the images themselves.

    Args:
        embeddings: What was read from `path`.
        path: For messages.
        folders: Run folders they may come from; folders of another kind say nothing.
        allow_test: Count instead of refusing.

    Returns:
        How many of the images a run was tested on.

    Raises:
        ProtocolError: There are some, and `allow_test` is not set.
        DataError: A run folder whose features cannot be read.
    """
    most = len(embeddings) if read_marks(path).split == "test" else 0
    if most and not allow_test:
        raise ProtocolError(
            f"{path} holds the test images of a dataset: a threshold fitted on them flatters every figure of that test; "
            "give features of other people, calibrate the run itself (ivreid calibrate RUN_DIR), or say --allow-test, "
            "which marks it"
        )
    for folder in dict.fromkeys(folders):
        tests = [folder / "features.npz", *sorted((folder / "evaluations").glob("*/features.npz"))]
        for file in tests if (folder / "weights.safetensors").is_file() else ():
            count = _shared(embeddings, read_features(file)) if file.is_file() else 0
            most = max(most, count)
            if count and not allow_test:
                raise ProtocolError(
                    f"{count} of the {len(embeddings)} images in {path} are those that {file} was tested on: a "
                    "threshold fitted on them flatters every figure of that test; give features of other people, "
                    "calibrate the run itself (ivreid calibrate RUN_DIR), or say --allow-test, which marks it"
                )
    return most


def _shared(left: Embeddings, right: Embeddings) -> int:
    """How many images of `left` stand in `right` with the same ids and the same vector, rounded to float16 or not."""
    if left.vectors.shape[1] != right.vectors.shape[1]:
        return 0
    rows = {key: row for row, key in enumerate(_keys(right))}
    return sum(
        key in rows and _same(vector, right.vectors[rows[key]])
        for key, vector in zip(_keys(left), left.vectors, strict=True)
    )


def _same(one: FloatArray, other: FloatArray) -> bool:
    """Whether two vectors are equal, or one is the other as a file in half precision holds it."""
    with np.errstate(over="ignore"):
        halves = [vector.astype(np.float16).astype(np.float32) for vector in (one, other)]
    pairs = ((one, other), (one, halves[1]), (halves[0], other))
    return any(np.array_equal(left, right) for left, right in pairs)


def _keys(embeddings: Embeddings) -> list[tuple[int, ...]]:
    images = embeddings.images
    columns = (images.pids, images.camids, images.frames, images.infrared)
    return list(zip(*(column.tolist() for column in columns), strict=True))
