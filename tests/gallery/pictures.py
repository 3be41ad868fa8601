"""Small pictures and a small model for the tests of galleries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ivreid import methods
from ivreid.models import write_weights


def write_model(folder: Path, *, other: int = 0) -> Path:
    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 3 + other)
    card = {**method.card(), "preprocessing": {"size": [32, 16]}}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.safetensors"
    write_weights(path, method.state_dict(), card)
    return path


def draw(path: Path, number: int, **options: object) -> Path:
    """A picture of its own for each number, without losses where the suffix allows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (40, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path
