"""Backbones: the convolutional network that turns an image into a feature map, through timm."""

from __future__ import annotations

import logging
from pathlib import Path

import timm
import torch
from torch import nn

from ivreid.errors import CheckpointError, UsageError, did_you_mean
from ivreid.models.foreign_checkpoint import read_checkpoint
from ivreid.models.torchvision_names import CLASSIFIERS, COUNTER, from_torchvision
from ivreid.paths import user_path

log = logging.getLogger(__name__)

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
"""The networks whose last stride and stem can be chosen."""

A_CNN = "this method needs one, e.g. method.backbone=resnet50"
"""The end of a message about another kind of network."""


def create_backbone(
    name: str,
    *,
    last_stride: int | None = None,
    pretrained: str | None = None,
    stem_relu: bool | None = None,
) -> nn.Module:
    """A convolutional network without pooling and classifier.

    The last stride is changed as in Luo et al., "Bag of Tricks" (CVPRW 2019): stage 4 keeps its input's
    resolution, undilated. timm's own `output_stride=16` dilates the convolutions after it and is another
    network.

    Args:
        name: A timm name of a CNN, e.g. "resnet50" or "mobilenetv3_small_100".
        last_stride: Stride of the last stage, 1 or 2; ResNets of `RESNETS` only. None: 1 there, unchanged
            elsewhere.
        pretrained: "imagenet" (fetched by timm), a local .pth or .safetensors file in torchvision's or timm's
            naming, or None for random weights.
        stem_relu: Whether a ReLU follows the stem's norm; `RESNETS` only. None: yes there, unchanged
            elsewhere.

    Returns:
        A module (B, 3, H, W) -> (B, C, h, w) with C in `.num_features`.

    Raises:
        UsageError: An unknown name, a network without a feature map, an option that does not fit the network,
            or ImageNet weights that cannot be fetched.
        CheckpointError: A local file that cannot be read or is of another network.
    """
    resnet = name in RESNETS
    if not resnet and name not in timm.list_models():
        raise UsageError(
            f"method.backbone = {name}: unknown backbone; {did_you_mean(name, {*RESNETS, *timm.list_models()})}"
        )
    if not resnet and (last_stride is not None or stem_relu is not None):
        option = "last_stride" if last_stride is not None else "stem_relu"
        raise UsageError(
            f"method.{option} can be set for {', '.join(RESNETS)} only, not for {name!r}; leave it out"
        )
    if last_stride not in (None, 1, 2):
        raise UsageError(f"method.last_stride must be 1 or 2, not {last_stride!r}")

    net = _create(name, imagenet=pretrained == "imagenet")
    if pretrained not in (None, "imagenet"):
        load_initial_weights(net, name, Path(str(pretrained)))
    if resnet:
        if last_stride != 2:
            _unstride(net)
        if stem_relu is False:
            net.act1 = nn.Identity()
    return net


def _create(name: str, imagenet: bool) -> nn.Module:
    # torchvision's weights are the ones the field's published ResNet figures start from
    tag = f"{name}.tv_in1k" if imagenet and name in RESNETS else name
    try:
        net: nn.Module = timm.create_model(tag, pretrained=imagenet, num_classes=0, global_pool="")
    except Exception as error:
        if not imagenet:
            raise UsageError(
                f"method.backbone = {name}: timm cannot build it as a feature map ({error})"
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"ImageNet weights for {name!r} could not be fetched ({type(error).__name__}: {reason}). Give a "
            f"local file of torchvision's or timm's weights (method.pretrained=FILE.pth), or train from "
            f"scratch (method.pretrained=null)"
        ) from error
    if name not in RESNETS:
        net.num_features = _channels(net, name)  # type: ignore[assignment]
    return net


def _channels(net: nn.Module, name: str) -> int:
    """C of the feature map, found by trying: timm's `num_features` leaves out a head before the pooling."""
    net.eval()
    try:
        with torch.no_grad():
            shape = tuple(net(torch.zeros(1, 3, 96, 96)).shape)
    except Exception as error:  # a network of fixed input size
        raise UsageError(
            f"method.backbone = {name} takes images of one size only, so it is not a CNN; {A_CNN}"
        ) from error
    finally:
        net.train()
    if len(shape) != 4:
        raise UsageError(
            f"method.backbone = {name} gives no feature map (its output has {len(shape)} dimensions); {A_CNN}"
        )
    return int(shape[1])


def _unstride(net: nn.Module) -> None:
    """Stride 1 in stage 4: `conv2` of a bottleneck or `conv1` of a basic block, and `downsample[0]`."""
    for module in net.layer4[0].modules():  # type: ignore[index, union-attr]
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)


def load_initial_weights(net: nn.Module, name: str, path: Path) -> None:
    """Load a local file of torchvision's or timm's weights; a classifier in it is passed over.

    Raises:
        CheckpointError: A file that cannot be read or is of another network.
    """
    checkpoint = read_checkpoint(user_path(path))
    if checkpoint.remarks:
        log.warning("%s: %s", path, checkpoint.remarks)
    tensors, own = checkpoint.tensors, net.state_dict()
    if any(key not in tensors and not key.endswith(COUNTER) for key in own):
        tensors = from_torchvision(tensors, net, name) or tensors
    missing = [key for key in own if key not in tensors and not key.endswith(COUNTER)]
    unknown = [key for key in tensors if key not in own and not key.startswith(CLASSIFIERS)]
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"holds {unknown[0]!r}, which the network has not"
        hint = (
            "; a trained re-identification model is converted by `ivreid import`"
            if "base.conv1.weight" in tensors
            else ""
        )
        raise CheckpointError(
            f"{path} is not weights of {name}: it {what} "
            f"({len(missing)} missing, {len(unknown)} unknown tensors){hint}"
        )
    for key, value in own.items():
        if key in tensors and tensors[key].shape != value.shape:
            found, wanted = tuple(tensors[key].shape), tuple(value.shape)
            raise CheckpointError(
                f"{path} is not weights of {name}: {key!r} has shape {found}, expected {wanted}"
            )
    net.load_state_dict({key: tensors.get(key, value) for key, value in own.items()})
