"""Images as people describe them in memory: arrays, lists or tensors, and some columns only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.datasets.features import camera_modalities, infrared_by_camera
from ivreid.errors import DataError, UsageError
from ivreid.protocols.base import Protocol
from ivreid.types import NO_CAMERA, BoolArray, ImageTable, IntArray, as_array, infrared_of


@dataclass(frozen=True)
class DescribedImages:
    """N images as far as somebody described them; None stands for what was left out.

    Attributes:
        vectors: (N, D) embeddings.
        pids: (N,) identity numbers.
        camids: (N,) camera numbers, `NO_CAMERA` where none were given.
        infrared: (N,) which are infrared.
        frames: (N,) positions in the sorted files of that person, camera and modality.
    """

    vectors: Any
    pids: NDArray[Any]
    camids: NDArray[Any]
    infrared: BoolArray | None
    frames: NDArray[Any] | None

    @classmethod
    def of(
        cls, given: Mapping[str, Any], protocol: Protocol, *, needs_vectors: bool, name: str = ""
    ) -> DescribedImages:
        """The images that these fields describe.

        Args:
            given: Values by name: vectors, pids, camids, modality, frames.
            protocol: Whose cameras may imply the modality.
            needs_vectors: Whether vectors must be there; else they are left alone.
            name: Which side they are of, for messages.

        Raises:
            UsageError: Something that is needed is missing.
            DataError: Values that do not fit.
        """
        where = f"{name}: " if name else ""
        missing = [
            key for key in ("vectors", "pids") if key not in given and (key == "pids" or needs_vectors)
        ]
        if missing:
            raise UsageError(f"{where}{' and '.join(missing)} missing; see help(ivreid.score)")
        pids = as_array(given["pids"], "pids", "whole numbers")
        if pids.ndim != 1:
            raise DataError(f"{where}`pids` must have 1 dimension, it has shape {pids.shape}")
        infrared = _infrared(given["modality"], len(pids)) if "modality" in given else None
        if "camids" in given:
            camids = as_array(given["camids"], "camids", "whole numbers")
        elif protocol.name == "regdb" and infrared is not None:
            camids = 1 + infrared.astype(np.int64)  # one camera a modality
        else:
            camids = np.full(len(pids), NO_CAMERA)
        lengths = {"camids": len(camids), "modality": len(pids) if infrared is None else len(infrared)}
        for key, length in lengths.items():
            if length != len(pids):
                raise DataError(f"{where}`{key}` has {length} values for {len(pids)} images")
        infrared = _implied(protocol, camids, infrared) if "camids" in given else infrared
        frames = as_array(given["frames"], "frames", "whole numbers") if "frames" in given else None
        vectors = as_array(given["vectors"], "vectors") if needs_vectors else None
        if vectors is not None and vectors.ndim != 2:
            raise DataError(
                f"{where}`vectors` must have 2 dimensions (images, values), not shape {vectors.shape}"
            )
        return cls(vectors, pids, camids, infrared, frames)

    @classmethod
    def join(cls, sides: list[DescribedImages]) -> DescribedImages:
        """Both sides as one; frames stay where every side has them and no image stands twice."""
        if (sides[0].infrared is None) != (sides[1].infrared is None):
            raise UsageError("give the modality of both, query and gallery, or of neither")
        pids, camids = (np.concatenate([getattr(side, key) for side in sides]) for key in ("pids", "camids"))
        infrared = None if sides[0].infrared is None else np.concatenate([s.infrared for s in sides])
        frames = None
        if all(side.frames is not None for side in sides):
            frames = np.concatenate([side.frames for side in sides])
            keys = np.stack([pids, camids, frames, np.zeros_like(frames) if infrared is None else infrared])
            frames = frames if len(np.unique(keys, axis=1).T) == len(pids) else None
        widths = [side.vectors.shape[1] for side in sides if side.vectors is not None]
        if len(set(widths)) > 1:
            raise DataError(f"queries have {widths[0]} dimensions and the gallery {widths[1]}")
        vectors = np.concatenate([side.vectors for side in sides]) if widths else None
        return cls(vectors, pids, camids, infrared, frames)

    def table(self) -> ImageTable:
        """The image table; frames that were not given are numbered by the order given."""
        infrared = np.zeros(len(self.pids), dtype=np.bool_) if self.infrared is None else self.infrared
        frames = _numbered(self.pids, self.camids, infrared) if self.frames is None else self.frames
        return ImageTable(self.pids, self.camids, frames, infrared)


def _infrared(modality: Any, count: int) -> BoolArray:
    tensors = callable(getattr(modality, "detach", None)) or (
        isinstance(modality, list | tuple) and modality and callable(getattr(modality[0], "detach", None))
    )
    infrared = infrared_of(as_array(modality, "modality", "booleans") if tensors else modality)
    return np.broadcast_to(infrared, count) if infrared.ndim == 0 else infrared


def _implied(protocol: Protocol, camids: NDArray[Any], infrared: BoolArray | None) -> BoolArray | None:
    """The modality that cameras imply; where somebody says it too, both must agree."""
    cameras = camera_modalities(protocol.name)
    if not cameras:
        return infrared
    implied = infrared_by_camera(cameras, camids)
    known = np.isin(camids, list(cameras)).all()  # others are the protocol's to refuse
    if infrared is not None and known and (implied != infrared).any():
        row = int(np.flatnonzero(implied != infrared)[0])
        word, other = ("infrared", "visible") if infrared[row] else ("visible", "infrared")
        raise DataError(
            f"`modality` calls image {row} {word}, and its camera {camids[row]} is {other} in {protocol.name}; are "
            "the flags inverted? True means infrared"
        )
    return implied


def _numbered(pids: NDArray[Any], camids: NDArray[Any], infrared: BoolArray) -> IntArray:
    """(N,) 1, 2, ... for the images of each person, camera and modality, in the order given."""
    _, group = np.unique(np.stack([pids, camids, infrared]), axis=1, return_inverse=True)
    group = group.ravel()
    order = np.argsort(group, kind="stable")
    starts = np.r_[0, np.cumsum(np.bincount(group))[:-1]] if len(group) else group
    frames = np.empty(len(group), dtype=np.int64)
    frames[order] = np.arange(len(group)) - starts[group[order]] + 1
    return frames
