"""Stand-ins for training and testing that leave the files those leave, in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ivreid.config import Config
from ivreid.config.parse import to_yaml
from ivreid.evaluation.run_folder import RunFolder
from ivreid.models import read_weights, weights_fingerprint, write_weights
from ivreid.models.sealed import write_sealed
from ivreid.protocols import FIGURES, Result, TrialResult, make_protocol, read_results, write_results
from ivreid.training import Summary
from ivreid.training.checkpoint import STATE


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


class FakeTraining:
    """Trains nothing: writes the run folder's files, epoch by epoch, and may be killed in any epoch.

    Args:
        score: The validation figure of a configuration at an epoch (from 0).
        kill: (name of the run folder, epoch) in which the process "dies", before its checkpoint is written.
    """

    def __init__(self, score: Callable[[Config, int], float], kill: tuple[str, int] | None = None) -> None:
        self.score, self.kill = score, kill
        self.calls: list[tuple[str, bool]] = []
        self.epochs: list[tuple[str, int]] = []

    def __call__(
        self, config: Config, *, resume: bool, progress: Any, notice: Any, on_validation: Any = None
    ) -> Summary:
        folder = RunFolder(Path(str(config.out)))
        self.calls.append((folder.path.name, resume))
        if folder.holds_a_run() and not resume:
            raise AssertionError(f"{folder.path} would be refused: it already holds a run")
        folder.last.parent.mkdir(parents=True, exist_ok=True)
        folder.config.write_text(to_yaml(config))
        rows = self._rows(folder)
        for epoch in range(len(rows), config.epochs):
            if self.kill == (folder.path.name, epoch):
                raise Killed
            self.epochs.append((folder.path.name, epoch))
            value = self.score(config, epoch)
            rows.append({"kind": "validation", "epoch": epoch, "step": epoch, "mAP": value})
            folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
            best = max(rows, key=lambda row: row["mAP"])
            seen = torch.tensor([config.seed, config.data.trial or 0, epoch])
            tensors = {"seen": seen, "score": torch.tensor([best["mAP"]])}
            write_weights(folder.weights, tensors, {"method": "fake", "settings": {}, "num_classes": 1})
            position = {"epoch": epoch + 1, "batch": 0, "step": epoch}
            write_sealed(folder.last, STATE, {"seen": seen}, {"position": position})
            if on_validation is not None:
                on_validation(rows[-1])
        return Summary(folder.path, len(rows), max(rows, key=lambda row: row["mAP"]), 0.0)

    @staticmethod
    def _rows(folder: RunFolder) -> list[dict[str, Any]]:
        if not folder.last.exists():
            return []
        return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


class FakeTest:
    """Evaluates nothing: figures follow from the weights' file, the setting and nothing else."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, path: Path, /, *, settings: Sequence[Mapping[str, Any]], **_: Any) -> list[Result]:
        self.calls.append(path.name)
        model = weights_fingerprint(*read_weights(path / "weights.safetensors"))
        trial = int(path.name.removeprefix("trial-")[:2]) if path.name.startswith("trial") else 1
        found = []
        for place, setting in enumerate(settings):
            given = {key: value for key, value in setting.items() if value is not None}
            protocol = make_protocol("regdb", **given, trial=trial)
            value = int(model, 16) / 16 ** len(model) / 2 + 0.1 * place
            found.append(
                Result(
                    protocol="regdb",
                    title=protocol.title,
                    version=1,
                    options={**protocol.options, "metric": "cosine"},
                    queries=9,
                    valid_queries=9,
                    gallery=9,
                    trials=(TrialResult(**dict.fromkeys(FIGURES, value), cmc=(value,)),),
                    fingerprints={"model": model, "split": f"s{trial}"},
                )
            )
        path = path / "results.json"
        kept = read_results(path) if path.exists() else []
        prints = found[0].fingerprints
        write_results(path, [*(one for one in kept if one.fingerprints == prints), *found])
        return found
