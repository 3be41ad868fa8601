"""A run folder of plausible numbers and little drawings: what a report is tried on without any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ivreid.types import Embeddings, ImageTable, Modality, Sample

CAMERAS = (1, 2, 3, 4, 5, 6)
INFRARED = (3, 6)


def samples(identities: int = 16, images: int = 3) -> list[Sample]:
    """SYSU-MM01's layout: visible cameras 1, 2, 4, 5, infrared 3, 6."""
    return [
        Sample(
            path=f"cam{camid}/{pid:04d}/{frame:04d}.jpg",
            pid=pid,
            camid=camid,
            modality=Modality.INFRARED if camid in INFRARED else Modality.VISIBLE,
            frame=frame,
        )
        for pid in range(7, 7 + 5 * identities, 5)
        for camid in CAMERAS
        for frame in range(1, images + 1)
    ]


def embeddings(rows: list[Sample], seed: int = 3, gap: float = 0.9, noise: float = 0.75) -> Embeddings:
    """Identity centres, a shift between the modalities, one per camera, and noise."""
    rng = np.random.default_rng(seed)
    centres = {pid: rng.normal(size=32) for pid in sorted({s.pid for s in rows})}
    shift, camera = rng.normal(size=32) * gap, rng.normal(size=(7, 32)) * 0.3
    vectors = [
        centres[s.pid]
        + camera[s.camid]
        + (shift if s.modality is Modality.INFRARED else 0)
        + noise * rng.normal(size=32)
        for s in rows
    ]
    return Embeddings(np.array(vectors, dtype=np.float32), ImageTable.from_samples(rows))


def picture(sample: Sample, size: tuple[int, int] = (72, 172)) -> Image.Image:
    """A small drawn person: the identity's colours where visible, grey where infrared."""
    rng = np.random.default_rng(sample.pid)
    shirt, legs, hair = (tuple(int(c) for c in rng.integers(30, 230, 3)) for _ in range(3))
    rng = np.random.default_rng((sample.pid, sample.camid, sample.frame))
    w, h = size
    shade = int(rng.integers(120, 200))
    image = Image.new("RGB", size, (shade, shade - 6, shade - 14))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, int(0.8 * h), w, h), fill=(shade - 40, shade - 42, shade - 45))
    x = w // 2 + int(rng.integers(-6, 7))
    draw.rectangle((x - 14, 0.50 * h, x - 2, 0.94 * h), fill=legs)
    draw.rectangle((x + 2, 0.50 * h, x + 14, 0.94 * h), fill=legs)
    draw.rounded_rectangle((x - 19, 0.2 * h, x + 19, 0.54 * h), 8, fill=shirt)
    draw.ellipse((x - 10, 0.06 * h, x + 10, 0.2 * h), fill=(214, 170, 140))
    draw.pieslice((x - 11, 0.045 * h, x + 11, 0.2 * h), 180, 360, fill=hair)
    if sample.modality is Modality.INFRARED:
        image = image.convert("L").convert("RGB")
    return image.filter(ImageFilter.GaussianBlur(0.8))


def result(
    base: float = 0.46,
    *,
    mode: str = "all",
    shots: int = 1,
    trials: int = 10,
    rerank: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """A result as JSON, figures that hang together and spread like the real ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(trials):
        first = base + 0.014 * rng.normal()
        cmc = [1 - (1 - first) * float(np.exp(-0.2 * (k**0.85))) for k in range(20)]
        figures = {f"rank{k}": cmc[k - 1] for k in (1, 5, 10, 20)}
        rows.append({**figures, "mAP": 0.95 * first, "mINP": 0.7 * first, "cmc": cmc})
    names = [k for k in rows[0] if k != "cmc"]
    return {
        "protocol": "sysu-mm01",
        "title": f"SYSU-MM01, {mode} search, {shots}-shot, draw agw, cosine distance, CMC by identity",
        "version": 1,
        "options": {"mode": mode, "shots": shots, "draw": "agw", "metric": "cosine"},
        "queries": 96,
        "valid_queries": 96 if mode == "all" else 60,
        "gallery": 64 * shots,
        "trials": rows,
        "mean": {n: float(np.mean([r[n] for r in rows])) for n in names},
        "std": {n: float(np.std([r[n] for r in rows])) for n in names},
        "fingerprints": {"dataset": "0123456789abcdef", "model": "fedcba9876543210"},
        "rerank": rerank,
        "tta": None,
        "notes": ["draw agw: the authors' rand_perm_cam.mat was not given"],
    }


def row(value: float, **names: Any) -> dict[str, Any]:
    """A row of a breakdown."""
    return {**names, "valid_queries": 48.0, "rank1": value, "mAP": 0.94 * value, "mINP": 0.7 * value}


def extras() -> dict[str, Any]:
    """Intervals, breakdown and verification, as results carry them."""
    names = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")
    intervals = {
        n: {"estimate": 0.5, "low": 0.45 + i / 50, "high": 0.51 + i / 50, "confidence": 0.95}
        for i, n in enumerate(names)
    }
    sides = [("infrared", "visible", 0.46), ("infrared", "infrared", 0.81), ("visible", "visible", 0.88)]
    breakdown = {
        "query_cameras": [row(0.44, camera=3), row(0.49, camera=6)],
        "camera_pairs": [row(0.3 + 0.03 * (q + g), query=q, gallery=g) for q in (3, 6) for g in (1, 2, 4, 5)],
        "places": [
            row(0.5, query=q, gallery=g) for q in ("indoor", "outdoor") for g in ("indoor", "outdoor")
        ],
        "modalities": [row(v, query=q, gallery=g) for q, g, v in sides],
        "hardest": [row(0.01 * pid, pid=pid) for pid in (7, 12, 22)],
    }
    fpr = [0.0, *np.geomspace(1e-4, 1, 60).tolist()]
    roc = {"fpr": fpr, "tpr": [f**0.3 for f in fpr]}
    verification = {
        "equal_error_rate": 0.12,
        "area": 0.94,
        "tpr_at_fpr": {"0.001": 0.3, "0.01": 0.62},
        "roc": roc,
    }
    return {"intervals": intervals, "breakdown": breakdown, "verification": verification}


def results() -> list[dict[str, Any]]:
    """Four settings and a re-ranked row."""
    return [
        {**result(0.463, seed=1), **extras()},
        {**result(0.56, shots=10, seed=2), **extras()},
        result(0.52, mode="indoor", seed=3),
        result(0.61, mode="indoor", shots=10, seed=4),
        result(0.60, rerank="k-reciprocal", seed=5),
    ]


def metrics(steps: int = 900, every: int = 90, seed: int = 0) -> list[dict[str, Any]]:
    """A training log that goes down and a validation that goes up."""
    rng = np.random.default_rng(seed)
    out: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        t = step / steps
        size = np.exp(0.12 * rng.normal())
        terms = {
            "identity": float(4.6 * np.exp(-3 * t) * size + 0.2),
            "modality": float(7.5 * np.exp(-2.2 * t) * size + 0.4),
            "mutual": float(0.6 * t * np.exp(-2 * t) * size + 0.02),
            "triplet": float(1.4 * np.exp(-1.4 * t) * size),
        }
        out.append(
            {
                "kind": "step", "step": step, "epoch": step // 45 + 1, "loss": sum(terms.values()),
                "terms": terms,
                "lr": 1e-3 * min(1.0, step / 90), "grad_norm": float(9 * np.exp(-t) * size),
                "images_per_second": float(118 + 6 * rng.normal()),
                "data_wait": float(abs(0.02 + 0.01 * rng.normal())),
            }
        )  # fmt: skip
        if step % every == 0:
            r1 = 0.55 * (1 - np.exp(-3 * t)) + 0.015 * float(rng.normal())
            out.append(
                {
                    "kind": "validation",
                    "step": step,
                    "epoch": step // 45,
                    "rank1": r1,
                    "mAP": 0.93 * r1,
                    "mINP": 0.7 * r1,
                }
            )
    return out


CONFIG = """seed: 2019
epochs: 20
data:
  dataset: folder
  root: {root}
  size: [192, 96]
method:
  name: iv-reid
validation:
  select: validation
"""


def write_run(folder: Path, identities: int = 16, images: int = 3) -> Path:
    """A whole run folder with its dataset beside it; returns the run folder."""
    run, root = folder / "run", folder / "data"
    rows = samples(identities, images)
    for sample in rows:
        path = root / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(sample).save(path)
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(CONFIG.format(root=root))
    versions = {"python": "3.11.7", "ivreid": "0.1.0", "torch": "2.13.0"}
    environment = {"versions": versions, "git_revision": None, "device": "cpu", "threads": 2}
    (run / "environment.json").write_text(json.dumps(environment))
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics()))
    (run / "results.json").write_text(json.dumps(results()))
    write_features(run / "features.npz", embeddings(rows))
    return run


def write_features(path: Path, values: Embeddings) -> None:
    """The features file, by its published layout."""
    table = values.images
    modality = np.where(table.infrared, "infrared", "visible")
    np.savez(
        path, embeddings=values.vectors, pids=table.pids, camids=table.camids, frames=table.frames,
        modality=modality, paths=np.array(table.paths),
    )  # fmt: skip
