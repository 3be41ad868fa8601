"""The values that travel between rooms. They are immutable and check themselves when made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError

NO_CAMERA = 0
"""The camid of an image whose camera is unknown; no camera rule applies to it."""
UNKNOWN_PID = -1
"""The pid of an image whose person is unknown, as any pid below 0 is: a distractor. It never queries and is never
a true match, and each such image stands for a person of its own."""

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Progress = Callable[[int, int], None]
"""Called with (done, in all) while something long goes on."""
Notice = Callable[[str], None]
"""Called with a line for people."""


class ProgressBars(Protocol):
    """Gives, for each label, the progress callable of a part of some work, or None."""

    def __call__(self, *labels: str) -> AbstractContextManager[Sequence[Progress | None]]:
        """Enter it to begin the work, leave it at its end."""
        ...


def no_progress_bars(*labels: str) -> AbstractContextManager[Sequence[Progress | None]]:
    """Nothing is shown."""
    return nullcontext([None] * len(labels))


class Modality(StrEnum):
    """What the camera saw: colour by day, or infrared (near-infrared and thermal alike)."""

    VISIBLE = "visible"
    INFRARED = "infrared"

    @classmethod
    def called(cls, word: str) -> Modality | None:
        """The modality that a word stands for, in capitals or not: RGB, thermal, NIR...; None for any other word."""
        return _MODALITY_WORDS.get(word.strip().lower())


_MODALITY_WORDS = {
    **dict.fromkeys(("visible", "vis", "rgb", "colour", "color"), Modality.VISIBLE),
    **dict.fromkeys(("infrared", "ir", "nir", "near-infrared", "tir", "thermal"), Modality.INFRARED),
}


def infrared_of(modality: Any) -> BoolArray:
    """(N,) True for infrared, from N words ("visible", "infrared", and the usual others) or N booleans.

    Raises:
        DataError: An unknown word, or numbers: 0 and 1, or 1 and 2, do not say which is which.
    """
    values = np.asarray(modality)
    if values.dtype == np.bool_:
        return values
    if values.dtype.kind not in "US":
        shown = (
            repr(values.flat[0].item()) if values.size and values.dtype.kind in "iufc" else str(values.dtype)
        )
        raise DataError(
            f"`modality` holds {shown}; it must be visible or infrared, or booleans that are True for infrared"
        )
    words, index = np.unique(values.astype(str), return_inverse=True)
    known = [Modality.called(str(word)) for word in words]
    for word, meaning in zip(words, known, strict=True):
        if meaning is None:
            raise DataError(f"`modality` holds {str(word)!r}; it must be {' or '.join(Modality)}")
    infrared = np.array([meaning is Modality.INFRARED for meaning in known], dtype=np.bool_)
    return infrared[index].reshape(values.shape)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of one person.

    Attributes:
        path: Path relative to the dataset's root, with forward slashes.
        pid: The dataset's identity number; below 0 the person is unknown.
        camid: 1-based camera number, or `NO_CAMERA`.
        modality: Visible or infrared.
        frame: 1-based position in the sorted files of that identity, camera and modality.
    """

    path: str
    pid: int
    camid: int
    modality: Modality
    frame: int


def as_array(values: Any, name: str, kind: str = "real numbers") -> NDArray[Any]:
    """The array of anything that holds numbers: arrays, lists, tensors on any device, with or without gradients.

    Raises:
        DataError: It is none; the message says what `name` should hold.
    """
    try:
        if isinstance(values, list | tuple):
            values = [_detached(value) for value in values]
        array = np.asarray(_detached(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"`{name}` must hold {kind}: {error}") from error
    if array.dtype.kind not in "biuf":
        what = type(array.flat[0]).__name__ if array.dtype == np.object_ and array.size else array.dtype
        raise DataError(f"`{name}` must hold {kind}, it holds {what}")
    return array


def _detached(values: Any) -> Any:
    """A tensor off its device and out of its graph, in a number format that numpy has; others as they are."""
    if not callable(getattr(values, "detach", None)):  # torch is not imported for this
        return values
    values = values.detach().cpu()
    return np.asarray(values.float() if str(values.dtype) == "torch.bfloat16" else values)


def _frozen(values: Any, dtype: Any, name: str, ndim: int = 1) -> NDArray[Any]:
    kinds = {np.float32: "real numbers", np.int64: "whole numbers", np.bool_: "true or false"}
    raw = as_array(values, name, kinds[dtype])
    if raw.ndim != ndim:
        raise DataError(f"`{name}` must have {ndim} dimension(s), it has shape {raw.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is found by its value
        if dtype is np.int64 and raw.size and not np.issubdtype(raw.dtype, np.integer):
            as_int = raw.astype(np.int64) if np.issubdtype(raw.dtype, np.floating) else None
            if as_int is None or not np.array_equal(as_int, raw):
                raise DataError(
                    f"`{name}` must hold whole numbers, it holds {raw.dtype} such as {raw.flat[0]!r}"
                )
        if dtype is np.bool_ and not np.isin(raw, (0, 1)).all():  # 1 and 2 would both be true
            raise DataError(f"`{name}` must hold true or false, it holds {raw.dtype} such as {raw.max()!r}")
        out = np.array(raw, dtype=dtype, order="C")
    out.setflags(write=False)
    return out


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Who, which camera, which frame, which modality: one row an image, joined by ids and never by position.

    Attributes:
        pids: (N,) int64 identity numbers, below 0 where the person is unknown.
        camids: (N,) int64 camera numbers, `NO_CAMERA` where unknown.
        frames: (N,) int64, 1-based position in the sorted files of that identity, camera and modality.
        infrared: (N,) bool, True for infrared rows.
        paths: N relative paths, or empty where the images have no files.

    Raises:
        DataError: Unequal lengths, or two rows with the same identity, camera, modality and frame.
    """

    pids: IntArray
    camids: IntArray
    frames: IntArray
    infrared: BoolArray
    paths: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name, dtype in (
            ("pids", np.int64),
            ("camids", np.int64),
            ("frames", np.int64),
            ("infrared", np.bool_),
        ):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype, name))
        object.__setattr__(self, "paths", tuple(self.paths))
        sizes = {name: len(getattr(self, name)) for name in ("pids", "camids", "frames", "infrared")}
        if self.paths:
            sizes["paths"] = len(self.paths)
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} has {n}" for name, n in sizes.items())
            raise DataError(f"every column needs one value per image, but {listed}")
        self._refuse_duplicates()

    def _refuse_duplicates(self) -> None:
        keys = np.stack([self.pids, self.camids, self.frames, self.infrared.astype(np.int64)])
        _, first, counts = np.unique(keys, axis=1, return_index=True, return_counts=True)
        if (counts > 1).any():
            row = int(first[np.flatnonzero(counts > 1)[0]])
            raise DataError(
                f"{int((counts > 1).sum())} image(s) appear more than once, first: pid {self.pids[row]}, camera "
                f"{self.camids[row]}, frame {self.frames[row]}; each (pid, camid, modality, frame) may stand once"
            )

    def __len__(self) -> int:
        return len(self.pids)

    @property
    def known(self) -> BoolArray:
        """(N,) True where the person is known."""
        return self.pids >= 0

    def take(self, rows: Any) -> ImageTable:
        """The table of the given rows (an index or boolean array), in that order."""
        index = np.arange(len(self))[rows]
        paths = tuple(self.paths[i] for i in index) if self.paths else ()
        return ImageTable(
            self.pids[index], self.camids[index], self.frames[index], self.infrared[index], paths
        )

    @classmethod
    def from_samples(cls, samples: Iterable[Sample]) -> ImageTable:
        """The table of these samples, in their order."""
        rows: Sequence[Sample] = list(samples)
        return cls(
            pids=np.array([s.pid for s in rows], dtype=np.int64),
            camids=np.array([s.camid for s in rows], dtype=np.int64),
            frames=np.array([s.frame for s in rows], dtype=np.int64),
            infrared=np.array([s.modality is Modality.INFRARED for s in rows], dtype=np.bool_),
            paths=tuple(s.path for s in rows),
        )


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors and the images they stand for.

    Attributes:
        vectors: (N, D) float32, as the model gave them unless the maker normalised them.
        images: The table of the N images.

    Raises:
        DataError: Unequal lengths, or NaN or infinite values (with the first offending row).
    """

    vectors: FloatArray
    images: ImageTable

    def __post_init__(self) -> None:
        vectors = _frozen(self.vectors, np.float32, "embeddings", ndim=2)
        object.__setattr__(self, "vectors", vectors)
        if len(vectors) != len(self.images):
            hint = (
                "; are they (dimensions, images)? transpose them"
                if vectors.shape[1] == len(self.images)
                else ""
            )
            raise DataError(
                f"{len(vectors)} embeddings for {len(self.images)} images; they must be equal in number{hint}"
            )
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            ids = self.images
            raise DataError(
                f"{int((~finite).sum())} embedding(s) hold NaN or infinite values, first row {row} "
                f"(pid {ids.pids[row]}, camera {ids.camids[row]}, frame {ids.frames[row]})"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Any) -> Embeddings:
        """The embeddings of the given rows (an index or boolean array), in that order."""
        return Embeddings(self.vectors[rows], self.images.take(rows))
