"""Exported models, each made once: tracing takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivreid.export import export_model
from ivreid.methods import METHODS, build, get_method
from ivreid.models import write_weights
from method_batches import scatter

PREPROCESSING = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3]}


class Models:
    """Weights of small networks and what they were exported to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def weights(self, method: str, **settings: object) -> Path:
        """A weights file of a method with values of its own in every tensor."""
        kind = get_method(method)
        network = build(method, {**kind.small, **settings}, 5, size=kind.small_size)
        path = self.folder / method / "weights.safetensors"
        if not path.exists():
            path.parent.mkdir()
            card = {
                **scatter(network).card(),
                "preprocessing": {**PREPROCESSING, "size": list(kind.small_size)},
                "calibration": {"metric": "cosine", "threshold": {"estimate": 0.25}},
                "train_pids": [1, 2],
            }
            write_weights(path, network.state_dict(), card)
        return path

    def exported(self, method: str, **settings: object) -> Path:
        """The same as an ONNX file."""
        path = self.folder / method / "model.onnx"
        weights = self.weights(method, **settings)
        if not path.exists():
            export_model(weights, path)
        return path


def method_names() -> list[object]:
    """Every method; those whose networks have no parts that others have not are slow tests."""
    fast = {"iv-reid", "deen"}
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in sorted(METHODS)]
