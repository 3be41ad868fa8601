"""Test-time augmentation: several views of one image behind its embedding. Never a default, and named in results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ivreid.errors import UsageError, did_you_mean
from ivreid.reading import clean
from ivreid.types import Embeddings

Flip = Literal["none", "average", "unit"]
"""The mirror image beside the image: not at all, the mean of both embeddings, or the mean of both at length 1."""

SPECTRA = 4
"""Embeddings of a visible image under `spectra`: as it is, and with its R, G or B for all channels."""


def flip_of(flip: str | bool) -> Flip:
    """The way that is meant: True is "average", as before there were two.

    Raises:
        UsageError: An unknown way.
    """
    if isinstance(flip, bool):
        return "average" if flip else "none"
    for known in get_args(Flip):
        if flip == known:
            found: Flip = known
            return found
    raise UsageError(f"there is no flip {clean(repr(flip), 60)}; {did_you_mean(str(flip), get_args(Flip))}")


def tta_name(flip: Flip | bool, *, spectra: bool = False) -> str | None:
    """What a result's `tta` field says: None where each image was embedded once."""
    mirrored = {"none": None, "average": "flip", "unit": "flip (unit)"}[flip_of(flip)]
    return ", ".join(name for name in (mirrored, "spectra" if spectra else None) if name) or None


def embed_views(
    embed: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    infrared: Tensor,
    flip: Flip,
    *,
    spectra: bool = False,
) -> Tensor:
    """The embeddings of images and what views of them are asked for.

    Args:
        embed: Images as decoded, and whether each is infrared, to embeddings of any length.
        images: As decoded.
        infrared: Whether each is an infrared image.
        flip: What the mirror image does.
        spectra: Four embeddings in a row, each at half of length 1: of the image as it is, and of a visible one with
            its R, G or B for all channels. An infrared image has the first four times.

    Shape:
        images (B, 3, H, W) uint8, infrared (B,) bool -> (B, D) or (B, 4 D).
    """
    plain = _mirrored(embed, images, infrared, flip)
    if not spectra:
        return plain
    parts = [functional.normalize(plain.float())]
    visible = (~infrared).nonzero().squeeze(1)
    for channel in range(SPECTRA - 1):
        part = parts[0].clone()
        if len(visible):
            copied = images[visible][:, channel : channel + 1].expand(-1, 3, -1, -1)
            part[visible] = functional.normalize(_mirrored(embed, copied, infrared[visible], flip).float())
        parts.append(part)
    return torch.cat(parts, dim=1) / 2


def first_of_spectra(embeddings: Embeddings) -> Embeddings:
    """Of embeddings made with `spectra`, those of the images as they are, at length 1."""
    first = embeddings.vectors[:, : embeddings.vectors.shape[1] // SPECTRA]
    return Embeddings(first * 2, embeddings.images)


def _mirrored(
    embed: Callable[[Tensor, Tensor], Tensor], images: Tensor, infrared: Tensor, flip: Flip
) -> Tensor:
    vectors = embed(images, infrared)
    if flip == "none":
        return vectors
    mirror = embed(images.flip(3), infrared)
    if flip == "unit":
        vectors, mirror = (functional.normalize(view.float()) for view in (vectors, mirror))
    return (vectors + mirror) / 2
