"""One model and one filled gallery for the tests of the server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from served import fill, running, write_model


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "G", weights)


@pytest.fixture
def folder(tmp_path: Path, filled: Path) -> Path:
    """A gallery of six crops of its own for each test."""
    return Path(shutil.copytree(filled, tmp_path / "G"))


@pytest.fixture
def server(folder: Path):
    with running(folder) as both:
        yield both


@pytest.fixture
def client(server):
    return server[0]


@pytest.fixture
def service(server):
    return server[1]
