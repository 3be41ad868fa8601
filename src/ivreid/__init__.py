"""Visible-infrared person re-identification: exact protocols, safe weights, resumable training.

What most people need is here; each name loads its room when first used, so `import ivreid` itself loads
neither torch nor any other heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ivreid.config import load_config
    from ivreid.datasets import Dataset, check_dataset, load_dataset
    from ivreid.datasets.features import read_features, write_features
    from ivreid.demo import run_demo
    from ivreid.doctor import examine_machine
    from ivreid.errors import IvreidError
    from ivreid.evaluation import calibrate, evaluate_run
    from ivreid.inference import Embedder, load
    from ivreid.protocols import Protocol, Result, evaluate, make_protocol
    from ivreid.report import write_report
    from ivreid.retrieval import Ranking, rank
    from ivreid.synthetic import synthesise
    from ivreid.training import train
    from ivreid.types import Embeddings, ImageTable, Modality, Sample

_HOMES = {
    "Dataset": "ivreid.datasets",
    "Embedder": "ivreid.inference",
    "Embeddings": "ivreid.types",
    "ImageTable": "ivreid.types",
    "IvreidError": "ivreid.errors",
    "Modality": "ivreid.types",
    "Protocol": "ivreid.protocols",
    "Ranking": "ivreid.retrieval",
    "Result": "ivreid.protocols",
    "Sample": "ivreid.types",
    "calibrate": "ivreid.evaluation",
    "check_dataset": "ivreid.datasets",
    "evaluate": "ivreid.protocols",
    "evaluate_run": "ivreid.evaluation",
    "examine_machine": "ivreid.doctor",
    "load": "ivreid.inference",
    "load_config": "ivreid.config",
    "load_dataset": "ivreid.datasets",
    "make_protocol": "ivreid.protocols",
    "rank": "ivreid.retrieval",
    "read_features": "ivreid.datasets.features",
    "run_demo": "ivreid.demo",
    "synthesise": "ivreid.synthetic",
    "train": "ivreid.training",
    "write_features": "ivreid.datasets.features",
    "write_report": "ivreid.report",
}

__all__ = [
    "Dataset",
    "Embedder",
    "Embeddings",
    "ImageTable",
    "IvreidError",
    "Modality",
    "Protocol",
    "Ranking",
    "Result",
    "Sample",
    "calibrate",
    "check_dataset",
    "evaluate",
    "evaluate_run",
    "examine_machine",
    "load",
    "load_config",
    "load_dataset",
    "make_protocol",
    "rank",
    "read_features",
    "run_demo",
    "synthesise",
    "train",
    "write_features",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ivreid' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
