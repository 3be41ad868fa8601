"""A network made ready for inference: batch norms folded into the convolutions before them.

BatchNorm(Conv(x)) in evaluation is a convolution, of weight W g / sigma and bias b + (c - mu) g / sigma
(g, b: the norm's weight and bias; W, c: the convolution's). Folding saves a pass over memory per convolution.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ivreid.distributed.device import full_precision

Network = TypeVar("Network", bound=nn.Module)

TOLERANCE = 1e-5
"""Largest difference, relative to the largest output value, at which a folded network is taken."""


def fold_batch_norms(network: nn.Module) -> int:
    """Fold, in place, every BatchNorm2d that is registered right after a convolution; returns how many.

    Whether the network also runs them in that order is for the caller to check: see `prepare_for_inference`.
    """
    folded = 0
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if conv.out_channels != norm.num_features or norm.running_mean is None:
                continue
            setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
            # timm's norms may carry what follows them
            after = [
                getattr(norm, name)
                for name in ("drop", "act")
                if isinstance(getattr(norm, name, None), nn.Module)
            ]
            setattr(parent, norm_name, nn.Sequential(*after) if after else nn.Identity())
            folded += 1
    return folded


@torch.no_grad()
def prepare_for_inference(network: Network, size: tuple[int, int], *, fold: bool = True) -> Network:
    """A copy in evaluation mode, channels-last, with batch norms folded if that changes no output.

    Args:
        network: Has `embed(images, infrared)`; stays as it is.
        size: Height and width of its input, for the comparison.
        fold: Whether to fold at all.
    """
    plain = copy.deepcopy(network).eval().requires_grad_(False)
    plain = plain.to(memory_format=torch.channels_last)
    if not fold:
        return plain
    folded = copy.deepcopy(plain)
    if fold_batch_norms(folded) and _same(plain, folded, size):
        return folded
    return plain


def _same(plain: nn.Module, folded: nn.Module, size: tuple[int, int]) -> bool:
    device = next(plain.parameters()).device
    probe = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    infrared = torch.tensor([False, True], device=device)
    with full_precision(device):
        expected, found = _embed(plain, probe, infrared), _embed(folded, probe, infrared)
    return bool((expected - found).abs().max() <= TOLERANCE * expected.abs().max())


def _embed(network: nn.Module, images: Tensor, infrared: Tensor) -> Tensor:
    out: Tensor = network.embed(images, infrared)  # type: ignore[operator]
    return out
