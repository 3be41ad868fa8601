"""A backbone taken apart into its stem and its stages, so that a method can put something between them."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ivreid.errors import UsageError

_PROBE = 96
_NUMBERED = re.compile(r"(layer|s)\d")
_LISTS = ("blocks", "stages")
_HEADS = ("global_pool", "flatten", "fc", "classifier", "head_drop")


class BackboneStages(NamedTuple):
    """A backbone's parts, sharing its parameters; run one after another they are the backbone.

    Attributes:
        stem: What comes before the first stage, e.g. convolution, norm, ReLU and pooling.
        stages: The stages in their order; what comes after the last one belongs to it.
        widths: Channels after the stem and after each stage.
    """

    stem: nn.Module
    stages: tuple[nn.Module, ...]
    widths: tuple[int, ...]


def split_backbone(backbone: nn.Module, name: str) -> BackboneStages:
    """Take a network of `create_backbone` apart; a probe image decides whether the parts are the whole.

    Args:
        backbone: The network; in training mode afterwards where it was before.
        name: Its name, for the message.

    Raises:
        UsageError: A network that is no plain sequence of a stem and stages.
    """
    stem: OrderedDict[str, nn.Module] = OrderedDict()
    tail: OrderedDict[str, nn.Module] = OrderedDict()
    stages: list[nn.Module] = []
    for child_name, child in backbone.named_children():
        if _NUMBERED.fullmatch(child_name):
            stages.append(child)
        elif child_name in _LISTS and not stages:
            stages.extend(child.children())
        elif child_name not in _HEADS:
            (tail if stages else stem)[child_name] = child
    tail = OrderedDict((key, part) for key, part in tail.items() if not isinstance(part, nn.Identity))
    if stages and tail:
        stages[-1] = nn.Sequential(OrderedDict(stage=stages[-1], **tail))
    parts = (nn.Sequential(stem), *stages)
    widths = _probe(backbone, parts) if stages else None
    if widths is None:
        raise UsageError(
            f"method.backbone = {name} cannot be taken apart into a stem and stages; choose a ResNet, RegNet, ConvNeXt, "
            "EfficientNet or MobileNet"
        )
    return BackboneStages(parts[0], tuple(stages), widths)


@torch.no_grad()
def _probe(backbone: nn.Module, parts: tuple[nn.Module, ...]) -> tuple[int, ...] | None:
    """Channels after each part, or None where the parts give another map than the backbone.

    Of an outline without memory (device "meta") the shapes are compared, for there are no values.
    """
    training = backbone.training
    backbone.eval()
    outline = next(backbone.parameters()).is_meta
    with torch.device("cpu"):
        image = torch.randn(1, 3, _PROBE, _PROBE, generator=torch.Generator().manual_seed(0))
    image = image.to("meta") if outline else image
    try:
        expected: Tensor = backbone(image)
        widths, x = [], image
        for part in parts:
            x = part.eval()(x)
            widths.append(int(x.shape[1]))
    except (RuntimeError, TypeError, ValueError):  # a part that needs more than its map
        return None
    finally:
        backbone.train(training)
        for part in parts:
            part.train(training)
    if outline:
        return tuple(widths) if x.shape == expected.shape else None
    # the same operations, but a library may sum in another order at another address
    near = 1e-3 * expected.abs().max().item()
    same = x.shape == expected.shape and torch.allclose(x, expected, rtol=0, atol=near)
    return tuple(widths) if same else None


def after_last_blocks(stage: nn.Module, count: int, make: Callable[[], nn.Module]) -> None:
    """Put a new module behind each of a stage's last `count` blocks, in place; behind all where it has fewer.

    A block's parameters are then named `N.block.*`, the new module's `N.after.*`.

    Args:
        stage: A sequence of blocks, or a module whose `blocks` are one.
        count: How many blocks get one.
        make: Makes one.
    """
    blocks = getattr(stage, "blocks", stage)
    if not isinstance(blocks, nn.Sequential):
        raise UsageError(f"{type(stage).__name__} is no sequence of blocks; choose a ResNet")
    for index in range(max(0, len(blocks) - count), len(blocks)):
        blocks[index] = nn.Sequential(OrderedDict(block=blocks[index], after=make()))
