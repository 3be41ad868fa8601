"""Images in, embeddings out: `load(weights).embed(images, "visible")`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from ivreid.data import (
    ImageSource,
    Preprocessing,
    normalise,
    prefetch,
    to_tensor,
    usable_workers,
)
from ivreid.data.pixels import Pixels
from ivreid.data.source import list_problems
from ivreid.distributed.device import choose_device, full_precision
from ivreid.errors import DataError, ImageError, UsageError
from ivreid.inference.image_inputs import Colour, GivenImages, ImageLike, one_by_one
from ivreid.inference.norm_folding import prepare_for_inference
from ivreid.inference.same_person import KnowsThresholds
from ivreid.inference.test_time import SPECTRA, Flip, embed_views, flip_of
from ivreid.machine import naming_memory
from ivreid.methods.base import Method
from ivreid.types import BoolArray, FloatArray, Modality, Progress

Precision = Literal["fp32", "bf16", "fp16"]

CPU_CHUNK = 8
"""Images a CPU computes at a time: more, and the layers' outputs no longer fit its cache."""


class Embedder(KnowsThresholds):
    """A trained network ready to embed images.

    The network is copied, so one in training may be given and stays as it is.

    Args:
        method: The network.
        preprocessing: How images become its input.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: Images per batch; changes speed and memory only.
        workers: Decoding threads; None chooses by the cores.
        flip: What each image's mirror image does (test-time augmentation): "none"; "average", the mean of both
            embeddings, which True means, too; "unit", the mean of both at length 1.
        spectra: Four embeddings of each image in one row, as the re-ranking `mser` needs: as it is, and where it
            is visible with its R, G or B for all channels.
        precision: What the network computes in; bf16 and fp16 need a CUDA device. Embeddings are float32 in
            any case.
        fold: Fold batch norms into convolutions where that changes no output.
        card: The weights' card, if any.
        fingerprint: Of the tensors and what of the card computes, for weights from a file.
        address: Where the weights were fetched from, with their commit; None for local ones.

    Attributes:
        thresholds, threshold: The distances up to which two images count as one person, by calibration.
        network: The network in evaluation mode, a plain `torch.nn.Module` whose `embed(images, infrared)` takes
            normalised images (B, 3, H, W) and (B,) bool on its device.

    Raises:
        UsageError: An unknown device, a precision it has not, an unknown flip, or a batch size below 1.
    """

    def __init__(
        self,
        method: Method,
        preprocessing: Preprocessing,
        *,
        device: str | torch.device = "auto",
        batch_size: int = 64,
        workers: int | None = None,
        flip: Flip | bool = False,
        spectra: bool = False,
        precision: Precision = "fp32",
        fold: bool = True,
        card: Mapping[str, Any] | None = None,
        fingerprint: str | None = None,
        address: str | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise UsageError(f"precision {precision!r} is none of {', '.join(get_args(Precision))}")
        self._configure(
            preprocessing,
            device=device,
            precision=precision,
            batch_size=batch_size,
            workers=workers,
            flip=flip,
            spectra=spectra,
            card=card,
            fingerprint=fingerprint,
            address=address,
        )
        if precision != "fp32" and self.device.type != "cuda":
            raise UsageError(
                f"precision {precision} needs a CUDA device, this is {self.device.type}; use fp32"
            )
        self.embedding_dim = method.embedding_dim * (SPECTRA if spectra else 1)
        self.network: Method = prepare_for_inference(method, preprocessing.size, fold=fold).to(self.device)

    def _configure(
        self,
        preprocessing: Preprocessing,
        *,
        device: str | torch.device,
        precision: str,
        batch_size: int,
        workers: int | None,
        flip: Flip | bool,
        spectra: bool,
        card: Mapping[str, Any] | None,
        fingerprint: str | None,
        address: str | None = None,
    ) -> None:
        """What every embedder has, whatever computes."""
        if batch_size < 1:
            raise UsageError(f"the batch size is {batch_size}; it must be 1 or more")
        self.device = choose_device(device)
        self.precision, self.address = precision, address
        self.preprocessing, self.batch_size = preprocessing, batch_size
        self.flip, self.spectra = flip_of(flip), spectra
        self.workers = usable_workers(workers)
        self.card: Mapping[str, Any] = dict(card or {})
        self.fingerprint = fingerprint

    def embed(
        self,
        images: ImageLike | Iterable[ImageLike],
        modality: Modality | str | Sequence[Modality | str],
        *,
        color: Colour = "rgb",
        progress: Progress | None = None,
    ) -> FloatArray:
        """Embed images.

        Args:
            images: Files, the bytes of files, Pillow images, arrays or tensors, one or many; a folder, whose images
                are taken sorted by path; or a batch: an array or tensor of four dimensions, channels first or last.
                See `GivenImages` for shapes and values. Grey ones become three equal channels.
            modality: "visible" or "infrared", for all images or one for each.
            color: The order of channels in arrays and tensors: "bgr" where OpenCV made them.
            progress: Called with (done, total).

        Returns:
            (N, D) float32, each row of length 1.

        Raises:
            ImageError: Images that cannot be used, all of them named; none is skipped.
            UsageError: An unknown modality or order of channels, not one modality per image, or no images at all.
            DataError: A folder without images, or one that cannot be read.
        """
        many = one_by_one(images)
        how = self.preprocessing
        source = GivenImages(many, how.size, how.value_range, how.resize, color)
        return self.embed_source(source, infrared_rows(modality, len(many)), progress=progress)

    def embed_source(
        self,
        source: ImageSource,
        infrared: BoolArray,
        *,
        skipped: dict[int, str] | None = None,
        progress: Progress | None = None,
    ) -> FloatArray:
        """Embed what a source reads, images already of the right size; otherwise as `embed`.

        Args:
            source: The images.
            infrared: (N,) bool.
            skipped: Receives the rows of images that cannot be read, with the reason; their vectors are left out of
                the result. None: such images are an error.
            progress: Called with (done, total).
        """
        out = np.empty((len(source), self.embedding_dim), dtype=np.float32)
        starts = range(0, len(source), self.batch_size)
        problems: dict[int, str] = {}

        def read(start: int) -> tuple[int, list[int], Pixels, dict[int, str]]:
            return start, *_read(source, range(start, min(start + self.batch_size, len(source))))

        for start, rows, pixels, bad in prefetch(read, starts, self.workers):
            problems |= bad
            stop = min(start + self.batch_size, len(source))
            if rows and (skipped is not None or not problems):  # else only look for further bad files
                with naming_memory(self._what_to_lower):
                    out[rows] = self._compute(pixels, infrared[rows])
            if progress is not None:
                progress(stop, len(source))
        if problems and skipped is None:
            raise ImageError(list_problems(list(problems.values())))
        if problems and skipped is not None:
            skipped |= problems
            out = np.delete(out, list(problems), axis=0)
        if not np.isfinite(out).all():
            raise DataError(
                "the network gives NaN or infinite embeddings; its weights are of a diverged training"
            )
        return out

    def _what_to_lower(self) -> str:
        height, width = self.preprocessing.size
        return (
            f"embedding {self.batch_size} images of {height}x{width} at a time on {self.device}; lower the batch size "
            "(--batch-size; for validations in training the batch's keys)"
        )

    @torch.inference_mode()
    def _compute(self, pixels: Pixels, infrared: BoolArray) -> FloatArray:
        images = to_tensor(pixels)
        if self.device.type == "cuda":
            images = images.pin_memory()
        images = images.to(self.device, non_blocking=True)
        flags = torch.from_numpy(np.array(infrared)).to(self.device)
        chunk = CPU_CHUNK if self.device.type == "cpu" else len(images)
        parts = zip(torch.split(images, chunk), torch.split(flags, chunk), strict=True)
        with full_precision(self.device), self._autocast():
            vectors = torch.cat(
                [embed_views(self._plain, *part, self.flip, spectra=self.spectra) for part in parts]
            )
        return np.asarray(functional.normalize(vectors.float()).cpu().numpy(), dtype=np.float32)

    def _plain(self, images: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
        """Embeddings of images as decoded, (B, 3, H, W) uint8, as the network gives them."""
        inputs = normalise(images, self.preprocessing.mean, self.preprocessing.std)
        return self.network.embed(inputs, infrared)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision not in ("bf16", "fp16"):
            return nullcontext()
        return torch.autocast("cuda", torch.bfloat16 if self.precision == "bf16" else torch.float16)


def infrared_rows(modality: Modality | str | Sequence[Modality | str], count: int) -> BoolArray:
    """Whether each of `count` images is infrared, from one modality for all or one for each.

    Raises:
        UsageError: An unknown modality, or not one per image.
    """
    names = [modality] * count if isinstance(modality, str) else list(modality)
    if len(names) != count:
        raise UsageError(f"{len(names)} modalities for {count} images; give one for all, or one for each")
    unknown = sorted({str(n) for n in names} - {m.value for m in Modality})
    if unknown:
        raise UsageError(f"unknown modality {unknown[0]!r}; it is visible or infrared")
    return np.array([n == Modality.INFRARED for n in names], dtype=np.bool_)


def _read(source: ImageSource, rows: range) -> tuple[list[int], Pixels, dict[int, str]]:
    """The rows that can be read, their pixels, and why the others cannot."""
    read, bad = {}, {}
    for row in rows:
        try:
            read[row] = source.read(row)
        except ImageError as error:
            bad[row] = str(error)
    return list(read), np.stack(list(read.values())) if read else np.empty(0, dtype=np.uint8), bad
