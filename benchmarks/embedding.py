"""Embedding speed on the CPU in float32: `Embedder` against the published test loop, same weights and files.

    python benchmarks/embedding.py [--images 192] [--backbone resnet50] [--repeats 3]

The published loop: Pillow and torchvision transforms image by image in a DataLoader of 2 processes, batches
of 64, the network as defined (NCHW, batch norms separate), then L2 normalisation. They take turns; the best
of each counts, and their outputs are compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from data_loading import PREPROCESSING, write_images
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ivreid import methods
from ivreid.inference import Embedder
from ivreid.methods import Method


class Files(Dataset):  # type: ignore[type-arg]
    def __init__(self, files: list[Path]) -> None:
        self.files = files
        normalise = transforms.Normalize(PREPROCESSING.mean, PREPROCESSING.std)
        self.steps = transforms.Compose([transforms.Resize((384, 128)), transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.files[row]) as image:
            return self.steps(image.convert("RGB"))


@torch.no_grad()
def published(method: Method, files: list[Path], workers: int) -> np.ndarray:
    out = []
    for images in DataLoader(Files(files), 64, num_workers=workers):
        out.append(nn.functional.normalize(method.embed(images, torch.zeros(len(images), dtype=torch.bool))))
    return torch.cat(out).numpy()


def plausible(method: Method) -> None:
    """Random weights whose batch norms have seen data, so that embeddings differ as trained ones do."""
    generator = torch.Generator().manual_seed(0)
    method.train()
    with torch.no_grad():
        for _ in range(8):
            method.embed(torch.randn(8, 3, 96, 48, generator=generator), torch.zeros(8, dtype=torch.bool))
    method.eval()


def timed(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    started = time.perf_counter()
    out = run()
    return out, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    method = methods.build("iv-reid", {"backbone": options.backbone, "pretrained": None}, 10)
    plausible(method)
    slow, fast = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / s.path for s in write_images(Path(folder), options.images)]
        embedder = Embedder(method, PREPROCESSING, device="cpu", workers=options.workers)
        embedder.embed(files[:8], "visible")
        for _ in range(options.repeats):
            expected, seconds = timed(lambda: published(method, files, options.workers))
            slow.append(options.images / seconds)
            found, seconds = timed(lambda: embedder.embed(files, "visible"))
            fast.append(options.images / seconds)
    others = (expected @ expected.T)[~np.eye(len(expected), dtype=bool)]
    print(
        f"{options.backbone}, {options.images} images at 384x128, {torch.get_num_threads()} threads, float32"
    )
    print(f"published loop {max(slow):8.1f} images/s")
    print(f"ivreid         {max(fast):8.1f} images/s, {max(fast) / max(slow):.2f} times as fast")
    print(
        f"turn by turn   {', '.join(f'{f / s:.2f}' for f, s in zip(fast, slow, strict=True))} times as fast"
    )
    apart = np.abs(expected - found).max()
    print(f"largest difference of L2-normalised embeddings {apart:.1e} (limit 1e-5)")
    print(f"(cosine similarities between different images: {others.min():.3f} to {others.max():.3f})")
    if apart > 1e-5:
        sys.exit("the embeddings differ")


if __name__ == "__main__":
    main()
