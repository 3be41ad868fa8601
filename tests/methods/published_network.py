"""Writes checkpoints of a network built like the published one; run as a program, in a process of its own.

It shares no code with the package: its classes live in modules named as the published ones, its convolutions
have biases, its stem has no ReLU, and its blocks are written from the layer names.

Arguments: folder, backbone depth, norm (bn, gn, none), classifier bias (0 or 1).
"""

import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

COUNTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=True)


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, deep: bool) -> None:
        super().__init__()
        outputs = 4 * width if deep else width
        shapes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        if deep:
            shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        self.count = len(shapes)
        for i, shape in enumerate(shapes, 1):
            setattr(self, f"conv{i}", conv(*shape))
            setattr(self, f"bn{i}", nn.BatchNorm2d(shape[1]))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = y.clamp(min=0)
        return (y + (x if self.downsample is None else self.downsample(x))).clamp(min=0)


class ResNet(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs, deep = 64, depth >= 50
        for stage, count in enumerate(COUNTS[depth], 1):
            width, blocks = 32 * 2**stage, []
            for i in range(count):
                stride = 2 if i == 0 and stage in (2, 3) else 1  # stage 4 keeps stride 1
                blocks.append(Block(inputs, width, stride, deep))
                inputs = 4 * width if deep else width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.outputs = inputs

    def forward(self, x):
        x = self.pool(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return x


class Baseline(nn.Module):
    def __init__(self, depth: int, classes: int, norm: str, bias: bool) -> None:
        super().__init__()
        self.base = ResNet(depth)
        width = self.base.outputs
        if norm != "none":
            self.bottleneck = nn.BatchNorm1d(width) if norm == "bn" else nn.GroupNorm(2, width)
        self.share_classifier = nn.Linear(width, classes, bias=bias)
        self.unnamed_head = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, 8), nn.Linear(8, classes))
        self.margin, self.seen = 0.3, {"a", "b"}

    def forward(self, x):
        x = self.base(x).mean(3).mean(2)
        return self.bottleneck(x) if hasattr(self, "bottleneck") else x


def main() -> None:
    folder, depth, norm, bias = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1"
    package = types.ModuleType("model")
    for name, classes in (("baseline", [Baseline]), ("resnet", [ResNet, Block])):
        module = types.ModuleType(f"model.{name}")
        for cls in classes:
            cls.__module__ = module.__name__
            setattr(module, cls.__name__, cls)
        setattr(package, name, module)
        sys.modules[module.__name__] = module
    sys.modules["model"] = package

    torch.manual_seed(0)
    net = Baseline(depth, 11, norm, bias)
    for name, tensor in net.state_dict().items():
        if name.endswith("weight") and tensor.ndim == 1:
            tensor.copy_(0.5 + torch.rand(tensor.shape))
        elif name.endswith("bias"):
            tensor.copy_(torch.randn(tensor.shape))
    images = nn.functional.interpolate(2 * torch.randn(6, 3, 6, 3), size=(96, 48), mode="bilinear")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.9  # running statistics like a trained network's, or all images look alike
    with torch.no_grad():
        net(images)
        f = net.eval()(images)
    np.savez(
        folder / "wanted.npz", images=images.numpy(), normalised=(f / f.norm(dim=1, keepdim=True)).numpy()
    )
    torch.save(net, folder / "module.pth")
    if depth == 18:
        torch.save(net, folder / "module-legacy.pth", _use_new_zipfile_serialization=False)
        torch.save(net.state_dict(), folder / "state.pth")
        torch.save(nn.DataParallel(net).state_dict(), folder / "parallel.pth")


if __name__ == "__main__":
    main()
