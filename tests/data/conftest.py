"""A small set of image files for the data room's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivreid.types import Modality, Sample

SIZE = (48, 16)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for sample in SAMPLES:
        path = root / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(20, 90, size=2)
        coarse = rng.integers(0, 256, (6, 3, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC).save(path)
    return root


def _samples() -> tuple[Sample, ...]:
    out = []
    for pid in range(10, 16):
        for modality, suffix in ((Modality.VISIBLE, "jpg"), (Modality.INFRARED, "png")):
            for frame in range(1, 3 + pid % 4):
                path = f"{modality}/{pid}/{frame:02d}.{suffix}"
                out.append(Sample(path, pid, 1 + (modality is Modality.INFRARED), modality, frame))
    return tuple(out)


SAMPLES = _samples()


@pytest.fixture(scope="session")
def samples() -> tuple[Sample, ...]:
    return SAMPLES
