"""The tiny dataset and runs on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import tiny_tree, write_dataset

from ivreid.config import Config, make_config


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset's folder."""
    return write_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture
def tiny_config(tiny: Path, tmp_path: Path) -> Callable[..., Config]:
    """`tiny_config(epochs=2, ...)`: the tiny configuration with sections changed."""

    def make(**changes: Any) -> Config:
        tree = tiny_tree(tiny, tmp_path / "run")
        for key, value in changes.items():
            tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
        return make_config(tree)

    return make
