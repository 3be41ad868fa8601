"""Visible-infrared person re-identification: exact protocols, safe weights, resumable training.

What most people need is here; each name loads its room when first used, so `import ivreid` itself loads
neither torch nor any other heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ivreid.analysis import compare_results, compare_runs, score_features
    from ivreid.config import load_config
    from ivreid.crops import crop_frames
    from ivreid.data.own_changes import register_augmentation
    from ivreid.datasets import Dataset, check_dataset, load_dataset, register_dataset
    from ivreid.datasets.features import read_features, write_features
    from ivreid.demo import run_demo
    from ivreid.doctor import examine_machine
    from ivreid.errors import IvreidError
    from ivreid.evaluation import calibrate, evaluate_run
    from ivreid.evaluation.model_card import write_model_card
    from ivreid.export import export_model
    from ivreid.gallery import Gallery
    from ivreid.inference import Embedder, embed_folder, load
    from ivreid.inventory import list_runs
    from ivreid.methods import register_method
    from ivreid.methods.checkpoint_import import import_checkpoint
    from ivreid.owndata import Answers, init_dataset
    from ivreid.plugins import load_plugin
    from ivreid.protocols import Protocol, Result, evaluate, make_protocol, register_protocol, score
    from ivreid.report import write_comparison, write_report
    from ivreid.reproduction import reproduce
    from ivreid.retrieval import Ranking, rank
    from ivreid.studies import run_study, tune
    from ivreid.synthetic import synthesise
    from ivreid.training import train
    from ivreid.types import Embeddings, ImageTable, Modality, Sample
    from ivreid.verify import verify_files

_HOMES = {
    "Answers": "ivreid.owndata",
    "Dataset": "ivreid.datasets",
    "Embedder": "ivreid.inference",
    "Embeddings": "ivreid.types",
    "Gallery": "ivreid.gallery",
    "ImageTable": "ivreid.types",
    "IvreidError": "ivreid.errors",
    "Modality": "ivreid.types",
    "Protocol": "ivreid.protocols",
    "Ranking": "ivreid.retrieval",
    "Result": "ivreid.protocols",
    "Sample": "ivreid.types",
    "calibrate": "ivreid.evaluation",
    "check_dataset": "ivreid.datasets",
    "compare_results": "ivreid.analysis",
    "compare_runs": "ivreid.analysis",
    "crop_frames": "ivreid.crops",
    "embed_folder": "ivreid.inference",
    "evaluate": "ivreid.protocols",
    "evaluate_run": "ivreid.evaluation",
    "examine_machine": "ivreid.doctor",
    "export_model": "ivreid.export",
    "import_checkpoint": "ivreid.methods.checkpoint_import",
    "init_dataset": "ivreid.owndata",
    "list_runs": "ivreid.inventory",
    "load": "ivreid.inference",
    "load_config": "ivreid.config",
    "load_dataset": "ivreid.datasets",
    "load_plugin": "ivreid.plugins",
    "make_protocol": "ivreid.protocols",
    "rank": "ivreid.retrieval",
    "read_features": "ivreid.datasets.features",
    "register_augmentation": "ivreid.data.own_changes",
    "register_dataset": "ivreid.datasets",
    "register_method": "ivreid.methods",
    "register_protocol": "ivreid.protocols",
    "reproduce": "ivreid.reproduction",
    "run_demo": "ivreid.demo",
    "run_study": "ivreid.studies",
    "score": "ivreid.protocols",
    "score_features": "ivreid.analysis",
    "synthesise": "ivreid.synthetic",
    "train": "ivreid.training",
    "tune": "ivreid.studies",
    "verify_files": "ivreid.verify",
    "write_comparison": "ivreid.report",
    "write_features": "ivreid.datasets.features",
    "write_model_card": "ivreid.evaluation.model_card",
    "write_report": "ivreid.report",
}

__all__ = [
    "Answers",
    "Dataset",
    "Embedder",
    "Embeddings",
    "Gallery",
    "ImageTable",
    "IvreidError",
    "Modality",
    "Protocol",
    "Ranking",
    "Result",
    "Sample",
    "calibrate",
    "check_dataset",
    "compare_results",
    "compare_runs",
    "crop_frames",
    "embed_folder",
    "evaluate",
    "evaluate_run",
    "examine_machine",
    "export_model",
    "import_checkpoint",
    "init_dataset",
    "list_runs",
    "load",
    "load_config",
    "load_dataset",
    "load_plugin",
    "make_protocol",
    "rank",
    "read_features",
    "register_augmentation",
    "register_dataset",
    "register_method",
    "register_protocol",
    "reproduce",
    "run_demo",
    "run_study",
    "score",
    "score_features",
    "synthesise",
    "train",
    "tune",
    "verify_files",
    "write_comparison",
    "write_features",
    "write_model_card",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ivreid' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
