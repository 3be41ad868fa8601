"""Exported models, each made once: tracing takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="needs pip install 'ivreid[export]'")
pytest.importorskip("onnxscript", reason="needs pip install 'ivreid[export]'")

from export_models import Models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def model(models: Models) -> Path:
    """A small IV-ReID, exported; its weights lie beside it."""
    return models.exported("iv-reid")
