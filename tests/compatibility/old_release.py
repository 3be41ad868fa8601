"""A network and a dataset so small that what a release wrote of them fits into the repository.

`python tests/compatibility/old_release.py FOLDER`, run with the code of a release, writes the fixture of that
release. `tests/fixtures/v0.1.0` was made so with 0.1.0; a fixture is never written again with newer code.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.models import register_model
from torch import Tensor, nn

BACKBONE = "ivreid_fixture"
SPLITS = {"train": range(1, 4), "val": range(4, 7), "test": range(7, 12)}
INFRARED = (3, 6)


class Tiny(nn.Module):
    """Three channels of colour, everywhere: an image's mean and edges are all it can see."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = 3
        self.conv = nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


def register() -> None:
    """Make the network known to timm, once a process."""
    if BACKBONE not in timm.list_models():

        def make(pretrained: bool = False, **_: Any) -> Tiny:
            return Tiny()

        make.__name__ = make.__qualname__ = BACKBONE
        make.__module__ = __name__
        register_model(make)


def write_dataset(root: Path) -> Path:
    """SYSU-MM01's layout; BMP files, so that bytes and fingerprint are the same whatever writes them."""
    for split, pids in SPLITS.items():
        (root / "exp").mkdir(parents=True, exist_ok=True)
        (root / "exp" / f"{split}_id.txt").write_text(",".join(map(str, pids)) + "\n")
        for pid in pids:
            for camera in range(1, 7):
                folder = root / f"cam{camera}" / f"{pid:04d}"
                folder.mkdir(parents=True)
                for frame in (1, 2):
                    y, x, c = np.mgrid[0:16, 0:8, 0:3]
                    pixels = (pid * 53 * (c + 1) + (y // 8) * pid * 29 + x * camera + frame * 7 * y) % 256
                    if camera in INFRARED:
                        pixels = np.repeat(pixels.mean(2, keepdims=True), 3, 2)
                    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{frame:04d}.bmp")
    return root


def configuration() -> dict[str, Any]:
    """Relative paths only: the fixture is opened from anywhere."""
    return {
        "out": "run",
        "device": "cpu",
        "epochs": 2,
        "seed": 3,
        "data": {"dataset": "sysu-mm01", "root": "data", "size": [16, 8], "workers": 0, "cache": False},
        "augment": {"padding": 1},
        "batch": {"identities": 2, "instances": 2},
        "method": {"name": "iv-reid", "backbone": BACKBONE, "pretrained": None},
        "optimizer": {"lr": 0.01},
        "validation": {"every": 1},
    }


SETTINGS = [{"mode": "all", "shots": 1, "draw": "iv-reid"}, {"mode": "indoor", "shots": 1, "draw": "agw"}]


def main(folder: Path) -> None:
    """Train, evaluate and keep what a run leaves (TensorBoard's files and the lock aside)."""
    import ivreid
    from ivreid.cli import main as command

    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    register()
    write_dataset(Path("data"))
    Path("config.yaml").write_text(json.dumps(configuration()))  # JSON is YAML
    for words in ("train config.yaml", "calibrate run --fpr 0.1 --device cpu"):
        with contextlib.suppress(SystemExit):
            command(words.split())
    ivreid.evaluate_run("run", settings=SETTINGS, device="cpu")
    environment = json.loads(Path("run/environment.json").read_text())
    environment["platform"] = "Linux"  # of no use to anyone else
    Path("run/environment.json").write_text(json.dumps(environment, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
