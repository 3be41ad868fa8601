"""Embedding speed of exported models on the CPU: fp32 and int8 by onnxruntime against the weights in torch, one run.

    python benchmarks/export.py [--method iv-reid] [--backbone resnet50] [--images 64] [--repeats 3] [--threads 2]

They take turns on the same pixels; the best of each counts, as images a second of wall time and of CPU time. The
network has random weights whose norms have seen data; int8 is measured on the same images, so its speed is right
and its cosine says only that the machinery is.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from embedding import plausible

from ivreid import methods
from ivreid.data import Preprocessing
from ivreid.export.graph import trace
from ivreid.export.parity import Parity, drawn_pixels
from ivreid.export.quantise import quantised
from ivreid.export.write import export_block
from ivreid.inference import Embedder, load
from ivreid.models import write_weights
from ivreid.models.exported import write_exported


def processor() -> str:
    """The processor's name, and what it has for int8."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    has = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]
    return f"{named}, {', '.join(has) or 'int8 instructions unknown'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="iv-reid")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", default="384x128")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width = map(int, options.size.split("x"))
    how = Preprocessing(size=(height, width))
    method = methods.build(
        options.method, {"backbone": options.backbone, "pretrained": None}, 10, size=how.size
    )
    plausible(method)
    pixels, infrared = drawn_pixels(options.images, how.size, 0), np.arange(options.images) % 2 == 1
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        card = {**method.card(), "preprocessing": how.model_dump(mode="json")}
        write_weights(weights, method.state_dict(), card)
        models: dict[str, Embedder] = {"torch fp32": load(weights, device="cpu")}
        graph = trace(models["torch fp32"])
        _, int8 = next(quantised(graph, pixels[:32], infrared[:32]))
        for name, proto in (("onnxruntime fp32", graph), ("onnxruntime int8", int8)):
            block = export_block(models["torch fp32"], proto, Parity(1, 0))
            write_exported(weights.with_suffix(".onnx"), proto.SerializeToString(), {**card, "export": block})
            models[name] = load(weights.with_suffix(".onnx"))
        rates, vectors = measure(models, pixels, infrared, options.repeats)
    print(
        f"{options.method} {options.backbone}, {options.size}, {options.images} images, {options.threads} threads"
    )
    print(f"{processor()}; load {', '.join(f'{one:.1f}' for one in os.getloadavg())}")
    base = rates["torch fp32"]
    for name, (wall, cpu) in rates.items():
        cosine = np.einsum("nd,nd->n", vectors[name], vectors["torch fp32"]).min()
        print(
            f"{name:17} {wall:7.1f} images/s ({wall / base[0]:.2f}), {cpu:7.1f} images per CPU second "
            f"({cpu / base[1]:.2f}), least cosine {cosine:.6f}"
        )


def measure(
    models: dict[str, Embedder], pixels: np.ndarray, infrared: np.ndarray, repeats: int
) -> tuple[dict[str, tuple[float, float]], dict[str, np.ndarray]]:
    """The best rate of each, by wall and by CPU time, and its embeddings."""
    rates = dict.fromkeys(models, (0.0, 0.0))
    vectors = {name: model._compute(pixels, infrared) for name, model in models.items()}
    for _ in range(repeats):
        for name, model in models.items():
            wall, cpu = time.perf_counter(), time.process_time()
            model._compute(pixels, infrared)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rates[name] = (max(rates[name][0], len(pixels) / wall), max(rates[name][1], len(pixels) / cpu))
    return rates, vectors


if __name__ == "__main__":
    main()
