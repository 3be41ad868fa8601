"""Features files: embeddings with their images' ids, as `.npz` or as the official script's MATLAB files."""

from __future__ import annotations

import difflib
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.catalogue import DATASETS
from ivreid.datasets.arrays import array_names, read_npz
from ivreid.datasets.matlab import read_cells, read_mat
from ivreid.errors import DataError
from ivreid.io import OutputKind, atomic_write
from ivreid.reading import clean, read_text
from ivreid.types import Embeddings, ImageTable, Modality, infrared_of

_REQUIRED = ("embeddings", "pids", "camids", "frames")
_OF_IMAGES = (*_REQUIRED[1:], "modality", "paths")
_MATLAB_CAMERAS = range(1, 7)
MAX_IDS = 1 << 20


def _is_features_file(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "embeddings.npy" in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


FEATURES = OutputKind("features", ".npz", _is_features_file)


def features_size(images: int, dimensions: int, longest_path: int = 0, *, half: bool = False) -> int:
    """About how many bytes a features file of so many images takes, `half` as in `write_features`."""
    return images * ((2 if half else 4) * dimensions + 3 * 8 + 4 * len("infrared") + 4 * longest_path) + 4096


def write_features(
    path: Path | str,
    embeddings: Embeddings,
    *,
    split: str = "",
    synthetic: bool = False,
    weights: str | None = None,
    half: bool = False,
) -> None:
    """Write a features file that `read_features` and plain `numpy.load` read.

    Args:
        path: Ends in .npz by convention.
        embeddings: Vectors and their images.
        split: Which split of a dataset the images are, where that is known: "test".
        synthetic: Whether the people are drawn, which figures of them then say.
        weights: Fingerprint of the weights that embedded them, where that is known.
        half: Store the vectors as float16, each value rounded to eleven bits: half the size.

    Raises:
        DataError: The file cannot be written, or float16 cannot hold the vectors; the previous file, if any, stays.
    """
    images = embeddings.images
    arrays: dict[str, Any] = {
        "embeddings": _halved(path, embeddings) if half else embeddings.vectors,
        "pids": images.pids,
        "camids": images.camids,
        "frames": images.frames,
        "modality": np.where(images.infrared, Modality.INFRARED.value, Modality.VISIBLE.value),
    }
    if images.paths:
        arrays["paths"] = np.array(images.paths)
    if split:
        arrays["split"] = np.array([split])
    if synthetic:
        arrays["synthetic"] = np.array([True])
    if weights:
        arrays["weights"] = np.array([weights])
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def _halved(path: Path | str, embeddings: Embeddings) -> NDArray[np.float16]:
    """The vectors in half precision.

    Raises:
        DataError: Values beyond its range, or a vector that would become zero.
    """
    vectors = embeddings.vectors
    with np.errstate(over="ignore", under="ignore"):  # what does not fit is found by its value
        half = vectors.astype(np.float16)
    lost = ~np.isfinite(half).all(axis=1) | (vectors.any(axis=1) & ~half.any(axis=1))
    if lost.any():
        row = int(np.flatnonzero(lost)[0])
        raise DataError(
            f"{path}: {int(lost.sum()):,} embedding(s) do not fit half precision (6e-8 to 65,504), first row {row}, whose "
            f"largest value is {np.abs(vectors[row]).max():g}; leave --half out (half=True in Python)"
        )
    return half


def read_features(path: Path | str, *, protocol: str | None = None) -> Embeddings:
    """Read a features file.

    Args:
        path: An `.npz` file with `embeddings` (N, D) of any real type, float16 too, `pids`, `camids`, `frames`
            (1-based position in the sorted files of that identity, camera and modality) and, where the camera
            does not imply it, `modality` ("visible"/"infrared"); or `NAME` of MATLAB files `NAME_cam1.mat` ..
            `NAME_cam6.mat` in the form of SYSU-MM01's official script: a cell vector `feature` whose cell i
            holds the (n, D) features of identity i.
        protocol: Name of the protocol, whose cameras imply the modality.

    Raises:
        DataError: Anything missing, damaged, unequal in length, not finite, or doubled.
    """
    path = Path(path)
    if path.is_file():
        return _read_npz(path, protocol)
    if any(_matlab_file(path, camid).is_file() for camid in _MATLAB_CAMERAS):
        return read_matlab_features(path)
    raise DataError(
        f"{path}: no such features file, nor MATLAB files {path.name}_cam1.mat .. {path.name}_cam6.mat"
    )


@dataclass(frozen=True)
class FeatureMarks:
    """What a features file says of its images as a whole.

    Attributes:
        split: "test" where they are the test images of a dataset, else "".
        synthetic: Whether the people are drawn.
        weights: Fingerprint of the weights that embedded them; empty where it is not known.
    """

    split: str = ""
    synthetic: bool = False
    weights: str = ""


def read_marks(path: Path | str) -> FeatureMarks:
    """The marks of a features file; none where other programs wrote it.

    Raises:
        DataError: A damaged or foreign `.npz` file.
    """
    path = Path(path)
    if not path.is_file():
        return FeatureMarks()
    names = ("split", "synthetic", "weights")
    found = read_npz(path, names)
    split, synthetic, weights = ([*found[name].flat] if name in found else [] for name in names)
    return FeatureMarks(
        str(split[0]) if split else "",
        bool(synthetic and synthetic[0]),
        clean(weights[0], 40) if weights else "",
    )


def read_images(path: Path | str, *, protocol: str | None = None) -> ImageTable:
    """The images of a features file, which need not hold their embeddings; arguments as for `read_features`.

    Raises:
        DataError: As for `read_features`.
    """
    path = Path(path)
    if not path.is_file():
        return read_features(path, protocol=protocol).images
    return _table(path, read_arrays(path, _OF_IMAGES), protocol, _REQUIRED[1:])


def read_matrix(path: Path | str) -> NDArray[Any]:
    """A matrix that `numpy.save` wrote; its values stay on the disk until they are used.

    Raises:
        DataError: Missing, damaged or foreign file, or no matrix of real numbers.
    """
    path = Path(path)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # hostile bytes provoke many kinds
        raise DataError(f"{path} is not a readable .npy file; save the matrix with numpy.save") from error
    if not isinstance(found, np.ndarray):
        raise DataError(f"{path} is an archive; save the matrix alone, with numpy.save")
    if found.ndim != 2 or found.dtype.kind not in "iuf":
        raise DataError(f"{path} holds {found.dtype} of shape {found.shape}, and no matrix of real numbers")
    return found


def _read_npz(path: Path, protocol: str | None) -> Embeddings:
    arrays = read_arrays(path)
    images = _table(path, arrays, protocol, _REQUIRED)
    vectors = arrays["embeddings"]
    if not np.issubdtype(vectors.dtype, np.number) or np.issubdtype(vectors.dtype, np.complexfloating):
        raise DataError(f"{path}: `embeddings` must be real numbers, they are {vectors.dtype}")
    try:
        return Embeddings(vectors, images)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _table(
    path: Path, arrays: dict[str, NDArray[Any]], protocol: str | None, required: Sequence[str]
) -> ImageTable:
    missing = [name for name in required if name not in arrays]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; a features file holds {', '.join(required)}{_present(path, missing)}"
        )
    try:
        return ImageTable(
            pids=arrays["pids"],
            camids=arrays["camids"],
            frames=arrays["frames"],
            infrared=_infrared(path, arrays, protocol),
            paths=_paths(arrays["paths"]) if "paths" in arrays else (),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


_ALSO_CALLED = {
    "embeddings": ("features", "feats", "feat", "feature", "vectors", "x", "emb"),
    "pids": ("labels", "label", "ids", "identities", "targets", "y"),
    "camids": ("cams", "cam", "cameras", "camera_ids"),
    "frames": ("indices", "index", "positions"),
}
"""What other programs call the columns."""


def _present(path: Path, missing: Sequence[str]) -> str:
    """The end of a message about missing columns: those there are, and which of them may be meant."""
    there = array_names(path)
    if not there:
        return "; this one is empty"
    spare = {name.lower(): name for name in there if name not in ("embeddings", *_OF_IMAGES)}
    meant = []
    for wanted in missing:
        called = [name for name in _ALSO_CALLED.get(wanted, ()) if name in spare]
        near = called or difflib.get_close_matches(wanted, spare, n=1)
        meant += [f"save `{clean(spare[near[0]], 40)}` as `{wanted}` if it is that"] if near else []
    return "".join(f"; {part}" for part in (f"this one holds {clean(', '.join(there), 200)}", *meant))


def read_arrays(path: Path, names: Sequence[str] = ("embeddings", *_OF_IMAGES)) -> dict[str, NDArray[Any]]:
    """The arrays of a features file by name, as far as they are there and unchecked.

    Raises:
        DataError: Missing, damaged or foreign file.
    """
    numbers = dict.fromkeys(("pids", "camids", "frames"), "whole numbers (dtype int64)")
    text = dict.fromkeys(("paths", "modality"), "text (dtype str)")
    remedies = {"embeddings": "one float32 matrix", **numbers, **text}
    return read_npz(path, names, remedies)


def _paths(values: NDArray[Any]) -> tuple[str, ...]:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind != "U" or values.ndim != 1:
        raise DataError(f"`paths` must be a list of text, it is {values.dtype} of shape {values.shape}")
    return tuple(str(path) for path in values)


def _infrared(path: Path, arrays: dict[str, NDArray[Any]], protocol: str | None) -> NDArray[np.bool_]:
    if "modality" in arrays:
        return infrared_of(arrays["modality"])
    cameras = camera_modalities(protocol)
    if not cameras:
        raise DataError(
            f"`modality` is missing, and only the cameras of {', '.join(telling_cameras())} imply it"
        )
    return infrared_by_camera(cameras, arrays["camids"])


def camera_modalities(dataset: str | None) -> Mapping[int, Modality]:
    """The modality of each of a dataset's cameras; empty where cameras imply none."""
    if dataset is None or dataset not in DATASETS:
        return {}
    cameras: Mapping[int, Modality] = DATASETS[dataset].cameras
    return cameras


def telling_cameras() -> list[str]:
    """The datasets whose cameras imply the modality."""
    return [name for name in DATASETS if camera_modalities(name)]


def infrared_by_camera(cameras: Mapping[int, Modality], camids: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) whether each image's camera is an infrared one."""
    return np.isin(camids, [camid for camid, modality in cameras.items() if modality is Modality.INFRARED])


def read_pids(path: Path | str) -> tuple[int, ...]:
    """Identity numbers from `test_id.mat` (variable `id`), or from a text of numbers separated by commas.

    Raises:
        DataError: Missing or damaged file, or something that is not a number.
    """
    path = Path(path)
    if path.suffix == ".mat":
        values = read_mat(path, "id")
        if values.dtype == object or (values != np.round(values)).any():
            raise DataError(f"{path}: `id` must hold whole numbers")
        return tuple(int(pid) for pid in values.ravel())
    words = read_text(path, MAX_IDS).replace(",", " ").split()
    wrong = next((word for word in words if not (word.isascii() and word.isdigit() and len(word) < 10)), None)
    if wrong is not None:
        raise DataError(f"{path} must hold identity numbers separated by commas, not {clean(wrong, 40)!r}")
    return tuple(map(int, words))


def _turned(cell: NDArray[Any], before: list[NDArray[Any]]) -> bool:
    """Whether a cell has other columns than those before, but as many rows: dimensions may stand there."""
    return cell.ndim == 2 and all(len(other) == len(cell) for other in before) and len(cell) > 1


def _matlab_file(prefix: Path, camid: int) -> Path:
    return prefix.with_name(f"{prefix.name}_cam{camid}.mat")


def read_matlab_features(prefix: Path | str, pids: Iterable[int] | None = None) -> Embeddings:
    """SYSU-MM01 features in the form of the dataset authors' evaluation script.

    Args:
        prefix: `NAME` of the files `NAME_cam1.mat` .. `NAME_cam6.mat`.
        pids: Keep these identities only (the official script reads those of `test_id.mat`); None keeps all.

    Warns:
        UserWarning: All cells have one shape, with more rows than columns, as where each was saved as (dimensions,
            images).

    Raises:
        DataError: A missing or damaged file, or cells of unequal width.
    """
    prefix = Path(prefix)
    keep = None if pids is None else frozenset(int(pid) for pid in pids)
    vectors: list[NDArray[Any]] = []
    ids: list[tuple[int, int, int]] = []
    for camid in _MATLAB_CAMERAS:
        path = _matlab_file(prefix, camid)
        for pid, cell in enumerate(read_cells(path, "feature"), start=1):
            if cell.size == 0 or (keep is not None and pid not in keep):
                continue
            width = vectors[0].shape[1] if vectors else cell.shape[-1]
            if cell.dtype == object or cell.shape[1] != width:
                turned = "; with (dimensions, images), transpose them" if _turned(cell, vectors) else ""
                raise DataError(
                    f"{path}: cell {pid} of `feature` is {cell.dtype} of shape {cell.shape}; "
                    f"expected (images, {width}), one image a row{turned}"
                )
            vectors.append(cell)
            ids.extend((pid, camid, frame) for frame in range(1, len(cell) + 1))
    if not vectors:
        raise DataError(
            f"{prefix}_cam*.mat hold no features" + (" of the identities asked for" if keep else "")
        )
    if len({cell.shape for cell in vectors}) == 1 < len(vectors) and len(vectors[0]) > vectors[0].shape[1]:
        warnings.warn(
            f"{prefix}_cam*.mat: every cell of `feature` is {len(vectors[0])} x {vectors[0].shape[1]}, more images a "
            "person than dimensions; if these are (dimensions, images), the figures are wrong: transpose them",
            stacklevel=2,
        )
    table = np.array(ids, dtype=np.int64)
    infrared = infrared_by_camera(camera_modalities("sysu-mm01"), table[:, 1])
    try:
        return Embeddings(
            np.concatenate(vectors), ImageTable(table[:, 0], table[:, 1], table[:, 2], infrared)
        )
    except DataError as error:
        raise DataError(f"{prefix}_cam*.mat: {error}") from error
