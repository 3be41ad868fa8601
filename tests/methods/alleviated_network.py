"""The backbone that the published checkpoints of MPANet and SAAI name, written from their names."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50


class Alleviation(nn.Module):
    """g t + (1 - g) IN(t), with the instance norm from its definition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 16
        self.channel_attention = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(width, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, t: Tensor) -> Tensor:
        g = self.channel_attention(t.mean((2, 3), keepdim=True))
        spread = t.var((2, 3), unbiased=False, keepdim=True)
        normed = (t - t.mean((2, 3), keepdim=True)) / (spread + 1e-5).sqrt()
        return g * t + (1 - g) * normed


def alleviated_resnet50(stages: tuple[int, ...] = (3, 4)) -> nn.Module:
    """A torchvision network without its classifier and with stride 1 in its last stage."""
    net = resnet50()
    del net.fc
    net.layer4[0].conv2.stride = net.layer4[0].downsample[0].stride = (1, 1)
    for stage in stages:
        setattr(net, f"MAM{stage}", Alleviation(512 * (stage - 1) if stage == 3 else 2048))
    return net


def feature_map(net: nn.Module, images: Tensor) -> Tensor:
    x = F.max_pool2d(F.relu(net.bn1(net.conv1(images))), 3, 2, 1)
    for stage in (1, 2, 3, 4):
        x = getattr(net, f"layer{stage}")(x)
        if hasattr(net, f"MAM{stage}"):
            x = getattr(net, f"MAM{stage}")(x)
    return x


def add_classifiers(net: nn.Module, width: int, classes: int) -> None:
    for name in (
        "classifier",
        *(f"{m}_classifier{end}" for m in ("visible", "infrared") for end in ("", "_")),
    ):
        setattr(net, name, nn.Linear(width, classes, bias=False))


def centre_terms(x: Tensor, labels: Tensor) -> Iterator[tuple[float, bool]]:
    """Distances of rows to their centres (True), and between centres (False)."""
    centres = {int(y): x[labels == y].mean(0) for y in labels.unique()}
    for row, y in zip(x, labels.tolist(), strict=True):
        yield float((row - centres[y]).norm()), True
    for i, one in centres.items():
        for j, other in centres.items():
            if i != j:
                yield float((one - other).norm()), False


def centre_loss(x: Tensor, labels: Tensor, inner: float, outer: float) -> float:
    """The centre cluster loss by loops."""
    terms = list(centre_terms(x, labels))
    own = [max(d - inner, 0) for d, is_own in terms if is_own]
    between = [max(outer - d, 0) for d, is_own in terms if not is_own]
    return sum(own) / len(own) + sum(between) / len(between)


@torch.no_grad()
def moved_heads(method: nn.Module, seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    """Move the modality classifiers away from their copies; head and copy of each, before the copies follow."""
    heads = {}
    for name in ("visible", "infrared"):
        head = getattr(method.heads, name).weight
        before = getattr(method.heads, f"ema_{name}").weight.clone()
        assert torch.equal(head, before)
        head.add_(torch.randn(head.shape, generator=torch.Generator().manual_seed(seed)))
        heads[name] = (head.detach(), before)
    return heads
