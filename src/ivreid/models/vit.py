"""Vision transformers with overlapping patches, for images that are no squares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from ivreid.errors import UsageError, did_you_mean
from ivreid.models.backbone import load_initial_weights

ORIGINAL = {"vit_base_patch16_224": "vit_base_patch16_224.orig_in21k_ft_in1k"}
"""The ImageNet weights that the field's published figures start from, where timm's default is another file."""

PLAIN = re.compile(r"vit_(tiny|small|base|large|huge|giant)_patch\d+(_plus)?_(\d+|dinov2)")
"""timm's names of the transformers that fit: one CLS token, no registers, no pooling of patches."""


def plain_vits() -> list[str]:
    """The vision transformers to choose from, the field's first."""
    return sorted(filter(PLAIN.fullmatch, timm.list_models("vit_*")), key=lambda name: name not in ORIGINAL)


class OverlappingViT(nn.Module):
    """A plain vision transformer; its embedding is the CLS token after the last norm.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021); overlapping patches as in He et
        al., "TransReID" (ICCV 2021), sec. 3.2.

    Attributes:
        size: Height and width of the images.
        grid: Rows and columns of patches.
        num_features: Length of the embedding.
    """

    def __init__(self, net: VisionTransformer, size: tuple[int, int], stride: int) -> None:
        super().__init__()
        cls, positions = net.cls_token, net.pos_embed
        if cls is None or positions is None:
            raise TypeError("a vision transformer without CLS token or positions")
        self.size, self.num_features = size, int(net.num_features)
        self.patch_embed = nn.Module()
        self.patch_embed.proj = net.patch_embed.proj
        patch = net.patch_embed.proj.kernel_size
        net.patch_embed.proj.stride = (stride, stride)
        self.grid = tuple((side - length) // stride + 1 for side, length in zip(size, patch, strict=True))
        table = resize_table(positions.detach(), tuple(net.patch_embed.grid_size), self.grid)
        self.cls_token, self.pos_embed = cls, nn.Parameter(table)
        self.pos_drop, self.blocks, self.norm = net.pos_drop, net.blocks, net.norm

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_features).

        Raises:
            UsageError: Images of another size than the position table's.
        """
        if tuple(images.shape[-2:]) != self.size:
            found, wanted = ("x".join(map(str, size)) for size in (images.shape[-2:], self.size))
            raise UsageError(
                f"this network takes images of {wanted}, not {found}: its position table has "
                f"{self.grid[0]}x{self.grid[1]} places; resize the images, or build it for that size"
            )
        patches = self.patch_embed.proj(images).flatten(2).transpose(1, 2)  # type: ignore[operator]
        x = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        x = self.blocks(self.pos_drop(x + self.pos_embed))
        embedding: Tensor = self.norm(x)[:, 0]
        return embedding


def resize_table(table: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> Tensor:
    """A position table for another grid, interpolated bilinearly; entries before the grid's stay (CLS).

    Args:
        table: (..., extra + rows * columns, D).
        old: Rows and columns it has.
        new: Rows and columns it shall have.
    """
    if old == new:
        return table
    places = old[0] * old[1]
    extra, grid = table[..., :-places, :], table[..., -places:, :]
    width = table.shape[-1]
    maps = grid.reshape(-1, *old, width).permute(0, 3, 1, 2)
    maps = functional.interpolate(maps, size=new, mode="bilinear", align_corners=False)
    resized = maps.permute(0, 2, 3, 1).reshape(*table.shape[:-2], new[0] * new[1], width)
    return torch.cat([extra, resized], dim=-2)


def create_vit(
    name: str,
    size: tuple[int, int],
    *,
    stride: int | None = None,
    drop: float = 0.0,
    drop_path: float = 0.0,
    norm_eps: float | None = None,
    pretrained: str | None = None,
) -> OverlappingViT:
    """A vision transformer for images of one size.

    Args:
        name: timm's name of a plain ViT with a CLS token, e.g. "vit_base_patch16_224".
        size: Height and width of the images.
        stride: Distance of two patches; less than the patch's side lets them overlap. None: the side.
        drop: Dropout after the position table, after attention's projection and in both MLP layers.
        drop_path: Stochastic depth of the last block; it rises linearly from 0 in the first.
        norm_eps: Epsilon of every layer norm; None keeps timm's 1e-6.
        pretrained: "imagenet" (fetched by timm), a local file in timm's naming, or None for random weights.

    Raises:
        UsageError: An unknown name, another kind of network, images smaller than a patch, or ImageNet weights
            that cannot be fetched.
        CheckpointError: A local file that cannot be read or is of another network.
    """
    if name not in timm.list_models():
        raise UsageError(
            f"method.backbone = {name}: unknown vision transformer; {did_you_mean(name, plain_vits())}"
        )
    if name not in timm.list_models("*vit*"):
        raise _not_plain(name)
    net = _create(name, imagenet=pretrained == "imagenet", drop=drop, drop_path=drop_path)
    if pretrained not in (None, "imagenet"):
        load_initial_weights(net, name, Path(str(pretrained)))
    side = net.patch_embed.proj.kernel_size[0]
    stride = side if stride is None else stride
    if not 1 <= stride <= side:
        raise UsageError(f"the stride of {name} must be 1 to {side}, its patch's side, not {stride}")
    if min(size) < side:
        raise UsageError(
            f"data.size = [{size[0]}, {size[1]}]: images of {size[0]}x{size[1]} hold no patch of {name}, which is "
            f"{side}x{side}; set data.size=[{max(size[0], side)},{max(size[1], side)}] or larger"
        )
    made = OverlappingViT(net, size, stride)
    if norm_eps is not None:
        for module in made.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = norm_eps
    return made


def _create(name: str, *, imagenet: bool, drop: float, drop_path: float) -> VisionTransformer:
    rates: dict[str, Any] = {"pos_drop_rate": drop, "proj_drop_rate": drop, "drop_path_rate": drop_path}
    tag = ORIGINAL.get(name, name) if imagenet else name
    try:
        net = timm.create_model(tag, pretrained=imagenet, num_classes=0, **rates)
    except Exception as error:
        if not imagenet:
            raise UsageError(
                f"method.backbone = {name}: timm cannot build it as a vision transformer ({error})"
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"ImageNet weights for {name!r} could not be fetched ({type(error).__name__}: {reason}). Give a "
            "local file of timm's weights (method.pretrained=FILE.pth), or train from scratch "
            "(method.pretrained=null)"
        ) from error
    if isinstance(net, VisionTransformer) and all(
        (
            net.cls_token is not None,
            net.pos_embed is not None,
            net.num_prefix_tokens == 1,
            not net.no_embed_class,
            net.global_pool == "token",
            isinstance(net.norm_pre, nn.Identity),
            isinstance(net.fc_norm, nn.Identity),
        )
    ):
        return net
    raise _not_plain(name)


def _not_plain(name: str) -> UsageError:
    return UsageError(
        f"method.backbone = {name} is no plain vision transformer with one CLS token; {did_you_mean(name, plain_vits())}"
    )
